"""`tiepoint data colmap`: COLMAP projects to a PatchSet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from tiepoint.cli.output import emit, progress_bar

EXAMPLES = (
    ("tiepoint data colmap my-project --out patches", "Cut the patches of one project."),
    ("tiepoint data colmap scenes/* --out patches --workers 4", "Cut those of several projects into one set."),
)


def main(
    projects: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    *,
    out: Path,
    support: float = 12.0,
    margin: float = 1.75,
    licence: str = "unknown",
    workers: int = 2,
    json: bool = False,
) -> int:
    """Cut a patch at every observation of COLMAP projects and write them as a PatchSet.

    Args:
        projects: folders with images/, sparse/ and database.db
        out: folder to write; must not exist
        support: width in sigmas that a describer shall see
        margin: stored width over support; more than 1 leaves room for frame noise in training
        licence: of the images, recorded in the manifest
        workers: threads
        json: print one JSON object
    """
    from tiepoint.data.builders.colmap import build_colmap

    with progress_bar("cutting patches", quiet=json) as advance:
        patch_set = build_colmap(
            projects, out, support=support, margin=margin, licence=licence, workers=workers, progress=advance
        )
    counts = patch_set.manifest["counts"]
    emit({"directory": str(out), **counts}, json, title=f"PatchSet {out}")
    return 0
