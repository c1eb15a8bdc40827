"""`tiepoint data aligned`: images of two spectra, aligned or with their transforms, to a PatchSet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from tiepoint.cli.output import emit, progress_bar
from tiepoint.data.builders.options import AlignedOptions

EXAMPLES = (
    (
        "tiepoint data aligned my-images --spectra vis nir --out patches",
        "Cut patches from images named ID_vis.png and ID_nir.png.",
    ),
    (
        "tiepoint data aligned pairs.csv --spectra vis ir --stretch --out patches",
        "Take the images from a table and stretch thermal ones.",
    ),
)


def main(
    source: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    spectra: tuple[str, str] = ("vis", "nir"),
    licence: str = "unknown",
    json: bool = False,
    cut: AlignedOptions = AlignedOptions(),
) -> int:
    """Cut upright patches of the same points from pairs of images of two spectra and write them as a PatchSet.

    Args:
        source: folder with ID_<first>.* and ID_<second>.* and, of images not aligned, ID_<first>_to_<second>.txt with
            the 3x3 matrix, subfolders being categories; or a .csv table with the columns first, second, and if wanted
            transform and category
        out: folder to write; must not exist
        spectra: names of the first and second spectrum, as in the files' names
        licence: of the images, recorded in the manifest
        json: print one JSON object
        cut: which patches are cut
    """
    from tiepoint.data.builders.aligned import build_aligned

    with progress_bar("cutting patches", quiet=json) as advance:
        patch_set = build_aligned(source, out, spectra=spectra, options=cut, licence=licence, progress=advance)
    without = len(patch_set.manifest["provenance"]["without_keypoints"])
    counts = {**patch_set.manifest["counts"], "without_keypoints": without}
    emit({"directory": str(out), **counts}, json, title=f"PatchSet {out}")
    return 0
