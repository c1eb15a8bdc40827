"""`tiepoint data phototour`: UBC PhotoTour, or patches in its layout, to a PatchSet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from tiepoint.cli.output import emit, progress_bar

EXAMPLES = (
    ("tiepoint data phototour data/liberty --out phototour-liberty", "Read a published set."),
    ("tiepoint data phototour my-patches --out patches --name mine", "Read patches of one's own in the same layout."),
)


def main(
    source: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    name: str | None = None,
    licence: str = "unknown",
    json: bool = False,
) -> int:
    """Write a set of UBC PhotoTour, or one that others publish in its layout, as a PatchSet with its lists of pairs.

    Args:
        source: the zip as distributed, a folder of pages and info.txt, or torchvision's cache (.pt)
        out: folder to write; must not exist
        name: of the set; one of the six published names must be complete; default: the source's name
        licence: recorded in the manifest
        json: print one JSON object
    """
    from tiepoint.data.readers.phototour import build_phototour

    with progress_bar("reading patches", quiet=json) as advance:
        patch_set = build_phototour(source, out, name=name, licence=licence, progress=advance)
    counts = {**patch_set.manifest["counts"], "pairs": patch_set.manifest["provenance"]["pairs"]}
    if not json:
        counts["pairs"] = ", ".join(f"{key}: {number:,}" for key, number in counts["pairs"].items()) or "none"
    emit({"directory": str(out), **counts}, json, title=f"PatchSet {out}")
    return 0
