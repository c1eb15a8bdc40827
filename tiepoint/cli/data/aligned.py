"""`tiepoint data aligned`: images of two spectra, aligned or with their transforms, to a PatchSet."""

from pathlib import Path

from tyro.conf import Positional

from tiepoint.cli.output import emit, note, progress_bar
from tiepoint.data.builders.options import AlignedOptions

EXAMPLES = {
    "my-images --spectra vis nir --out patches": "Cut patches from images named ID_vis.png and ID_nir.png.",
    "pairs.csv --spectra vis ir --stretch --out patches": "Take the images from a table and stretch thermal ones.",
}


def main(
    source: Positional[Path],
    /,
    *,
    out: Path,
    spectra: tuple[str, str] = ("vis", "nir"),
    licence: str = "unknown",
    json: bool = False,
    cut: AlignedOptions = AlignedOptions(),
) -> None:
    """Cut upright patches of the same points from pairs of images of two spectra and write them as a PatchSet.

    Args:
        source: Folder with ID_<first>.* and ID_<second>.*, and for images that are not aligned
            ID_<first>_to_<second>.txt with the 3x3 matrix; subfolders are categories. Or a table (.csv) with the
            columns first, second and, if wanted, transform and category.
        spectra: Names of the first and the second spectrum, as in the names of the files.
        licence: Licence of the images, recorded in the manifest.
        cut: Which patches are cut.
    """
    from tiepoint.data.builders.aligned import build_aligned

    with progress_bar("cutting patches") as advance:
        patch_set = build_aligned(source, out, spectra=spectra, options=cut, licence=licence, progress=advance)
    without = len(patch_set.manifest["provenance"]["without_keypoints"])
    counts = {**patch_set.manifest["counts"], "without_keypoints": without}
    emit({"directory": str(out), **counts}, json, title=f"PatchSet {out}")
    note(out, then=f"tiepoint data info {out} --sheet {out}.png")
