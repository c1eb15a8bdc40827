"""`tiepoint data colmap`: COLMAP projects to a PatchSet."""

from pathlib import Path

from tyro.conf import Positional

from tiepoint.cli.output import emit, note, progress_bar

EXAMPLES = {
    "my-project --out patches": "Cut the patches of one project.",
    "scenes/* --out patches --workers 4": "Cut those of several projects into one set.",
}


def main(
    projects: Positional[tuple[Path, ...]],
    /,
    *,
    out: Path,
    support: float = 12.0,
    margin: float = 1.75,
    licence: str = "unknown",
    workers: int = 2,
    json: bool = False,
) -> None:
    """Cut a patch at every observation of COLMAP projects and write them as a PatchSet.

    Args:
        projects: COLMAP projects: folders with images/, sparse/ and database.db.
        support: Width, in sigmas of the keypoint, of the patch that a describer sees.
        margin: Stored width over that width. More than 1 leaves room for the frame noise of training.
        licence: Licence of the images, recorded in the manifest.
        workers: Number of threads.
    """
    from tiepoint.data.builders.colmap import build_colmap

    with progress_bar("cutting patches") as advance:
        patch_set = build_colmap(
            projects, out, support=support, margin=margin, licence=licence, workers=workers, progress=advance
        )
    counts = patch_set.manifest["counts"]
    emit({"directory": str(out), **counts}, json, title=f"PatchSet {out}")
    note(out, then=f"tiepoint data info {out} --sheet {out}.png")
