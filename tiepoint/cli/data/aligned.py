"""`tiepoint data aligned`: images of two spectra, aligned or with their transforms, to a PatchSet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from tiepoint.cli.output import emit, progress_bar

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
    keypoints: Literal["first", "second"] = "first",
    max_keypoints: int = 250,
    features: int = 3000,
    contrast: float = 0.02,
    min_distance: float = 8.0,
    border: int = 40,
    color: bool = False,
    stretch: bool = False,
    licence: str = "unknown",
    json: bool = False,
) -> int:
    """Cut upright patches of the same places from pairs of images of two spectra and write them as a PatchSet.

    Args:
        source: folder with ID_<first>.* and ID_<second>.* and, of images not aligned, ID_<first>_to_<second>.txt with
            the 3x3 matrix, subfolders being categories; or a .csv table with the columns first, second, and if wanted
            transform and category
        out: folder to write; must not exist
        spectra: names of the first and second spectrum, as in the files' names
        keypoints: the image that is searched for them
        max_keypoints: most of a pair
        features: most that SIFT returns, before any is dropped; 0 for all
        contrast: SIFT's threshold; lower finds more keypoints
        min_distance: of two keypoints in x or in y, px
        border: px without keypoints, at least 32
        color: store RGB instead of grey
        stretch: map each image's 0.1 to 99.9 percentiles to the whole range of 16 bits, as for thermal images
        licence: of the images, recorded in the manifest
        json: print one JSON object
    """
    from tiepoint.data.builders.aligned import build

    with progress_bar("cutting patches", quiet=json) as advance:
        patch_set = build(
            source, out, spectra=spectra, keypoints=keypoints, max_keypoints=max_keypoints, features=features,
            contrast=contrast, min_distance=min_distance, border=border, color=color, stretch=stretch, licence=licence,
            progress=advance,
        )  # fmt: skip
    without = len(patch_set.manifest["provenance"]["without_keypoints"])
    counts = {**patch_set.manifest["counts"], "without_keypoints": without}
    emit({"directory": str(out), **counts}, json, title=f"PatchSet {out}")
    return 0
