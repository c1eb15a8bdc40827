"""`tiepoint data homography`: image sequences with known homographies to strips in the layout of HPatches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from tiepoint.cli.output import emit, emit_table, progress_bar

EXAMPLES = (
    ("tiepoint data homography sequences --viewpoint wall --out strips", "Cut one sequence of changing viewpoint."),
    (
        "tiepoint data homography sequences --viewpoint graf wall --illumination leuven --out strips",
        "Cut sequences of both kinds.",
    ),
)


def main(
    root: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    viewpoint: tuple[str, ...] = (),
    illumination: tuple[str, ...] = (),
    count: int = 1000,
    contrast: float = 0.02,
    min_distance: float = 8.0,
    support: float = 10.0,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Cut strips in the layout of HPatches from image sequences with known homographies.

    Args:
        root: folder of the sequences, each a folder with the images 1 to 6 and the files H_1_2 to H_1_6
        out: folder to write; must not exist
        viewpoint: sequences whose viewpoint changes, written as v_<sequence>
        illumination: sequences whose light changes, written as i_<sequence>
        count: most patches a strip
        contrast: SIFT's threshold; lower finds more keypoints
        min_distance: between keypoints, px
        support: side of a patch in sigmas
        seed: of the noise on the keypoints' frames
        json: print one JSON object
    """
    from tiepoint.data.builders.homography import build
    from tiepoint.errors import InputError

    both = sorted({*viewpoint} & {*illumination})
    if both:
        raise InputError(f"sequence {both[0]}: is named under --viewpoint and --illumination: keep one")
    kinds = dict.fromkeys(viewpoint, "v") | dict.fromkeys(illumination, "i")
    with progress_bar("cutting sequences", quiet=json) as advance:
        strips = build(
            root, kinds, out, count=count, contrast=contrast, min_distance=min_distance,
            support=support, seed=seed, progress=advance,
        )  # fmt: skip
    if json:
        emit({"directory": str(out), "patches": strips.counts}, json, title="")
    else:
        emit_table(f"Strips in {out}", ("sequence", "patches a strip"), list(strips.counts.items()))
    return 0
