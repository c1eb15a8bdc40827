"""`tiepoint data homography`: image sequences with known homographies to strips in the layout of HPatches."""

from pathlib import Path

from tyro.conf import Positional

from tiepoint.cli.output import note, progress_bar, publish
from tiepoint.data.builders.options import HomographyOptions

EXAMPLES = {
    "sequences --viewpoint wall --out strips": "Cut one sequence of changing viewpoint.",
    "sequences --viewpoint graf wall --illumination leuven --out strips": "Cut sequences of both kinds.",
}


def main(
    root: Positional[Path],
    /,
    *,
    out: Path,
    viewpoint: tuple[str, ...] = (),
    illumination: tuple[str, ...] = (),
    json: bool = False,
    cut: HomographyOptions = HomographyOptions(),
) -> None:
    """Cut strips in the layout of HPatches from image sequences with known homographies.

    Args:
        root: Folder of the sequences. Each is a folder with the images 1 to 6 and the files H_1_2 to H_1_6.
        viewpoint: Sequences whose viewpoint changes, written as v_<sequence>.
        illumination: Sequences whose light changes, written as i_<sequence>.
        cut: Which patches are cut.
    """
    from tiepoint.data.builders.homography import build_homography
    from tiepoint.errors import InputError

    if both := sorted({*viewpoint} & {*illumination}):
        raise InputError(f"sequence {both[0]}: is named under --viewpoint and --illumination: keep one")
    kinds = dict.fromkeys(viewpoint, "v") | dict.fromkeys(illumination, "i")
    with progress_bar("cutting sequences") as advance:
        strips = build_homography(root, kinds, out, options=cut, progress=advance)
    table = (f"Strips in {out}", ("sequence", "patches a strip"), list(strips.counts.items()))
    publish({"directory": str(out), "patches": strips.counts}, json, [table])
    note(out, then=f"tiepoint evaluate hpatches {out}, or tiepoint data hpatches {out} --out PATCHES")
