"""`tiepoint match`: the matches of two images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from tiepoint.cli.output import emit, progress_bar

EXAMPLES = (
    ("tiepoint match left.png right.png --out pair", "Match two images and draw the matches."),
    (
        "tiepoint match left.png right.png --describer rootsift --json",
        "Print the matches of another describer as JSON.",
    ),
)


def main(
    a: Annotated[Path, tyro.conf.Positional],
    b: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    describer: str = "sdgmnet",
    relater: str | None = None,
    spectra: tuple[str, str] | None = None,
    candidates: int = 5,
    least_probability: float = 0.5,
    rotations: int = 1,
    ratio: float = 0.9,
    ratio_rule: Literal["second", "apart"] = "second",
    detector: str = "sift",
    affine: bool = False,
    max_keypoints: int = 8000,
    even: bool = False,
    contrast_threshold: float = 0.01,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Match the keypoints of two images: mutual nearest neighbours that pass the ratio test.

    With --relater, pairs of the nearest that are each other's most probable.

    Args:
        a: first image
        b: second image
        describer: name or path of a describer
        relater: name or path of a relater, which chooses among the nearest and gives each match its probability
        spectra: of A and of B, by the names that the relater knows; its own order without it
        candidates: with --relater, nearest neighbours of each keypoint that are related, at most
        least_probability: with --relater, of a match, 0 to 1
        rotations: turns of B that are tried, for describers of upright patches and images in any direction; 1 for none
        ratio: largest ratio of L2 distances to the nearest and the second nearest; 1 switches the test off. With
            --relater, candidates are those that it calls as near as the nearest
        ratio_rule: take the second nearest, or the nearest that lies 10 px apart from the first
        detector: sift, gradient, phase, orb, fast, gftt, mser, akaze, grid, or kornia's harris, hessian or dog
        affine: measure the affine shape of keypoints, for strong changes of viewpoint
        max_keypoints: of each image, the strongest first
        even: keep keypoints that are strong where they stand and lie evenly, not the strongest
        contrast_threshold: of the keypoint detector; lower it for images of little contrast
        out: folder for result.json and matches.png; nothing is written without it
        json: print one JSON object, with a row xa, ya, xb, yb, similarity, and with --relater probability, a match
    """
    from tiepoint.files import locked, write_json
    from tiepoint.images.pixels import write_image
    from tiepoint.images.raster import read_image
    from tiepoint.matching.match import match
    from tiepoint.report.draw import draw_matches

    with locked(out):
        with progress_bar("matching", quiet=json) as advance:
            found = match(
                a, b, describer, ratio=ratio, ratio_rule=ratio_rule, detector=detector, affine=affine,
                max_keypoints=max_keypoints, even=even, contrast_threshold=contrast_threshold, rotations=rotations,
                relater=relater, candidates=candidates, spectra=spectra, least_probability=least_probability,
                progress=advance,
            )  # fmt: skip
        result = {"a": str(a), "b": str(b), **found.to_json()}
        if out is not None:
            write_image(out / "matches.png", draw_matches(read_image(a).pixels, read_image(b).pixels, found.points))
            write_json(out / "result.json", result)
    if not json:
        del result["points"]
        if found.matches.probability is not None and len(found.matches):
            low, high = (float(v) for v in (found.matches.probability.min(), found.matches.probability.max()))
            result["probabilities"] = f"{low:.2f} to {high:.2f}"
    emit(result, json, title="Matches")
    return 0
