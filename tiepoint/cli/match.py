"""`tiepoint match`: the matches of two images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from tiepoint.cli.output import emit, progress_bar


def main(
    a: Annotated[Path, tyro.conf.Positional],
    b: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    describer: str = "sdgmnet",
    ratio: float = 0.9,
    max_keypoints: int = 8000,
    contrast_threshold: float = 0.01,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Match the keypoints of two images: mutual nearest neighbours that pass the ratio test.

    Args:
        a: first image
        b: second image
        describer: name or path of a describer
        ratio: largest ratio of L2 distances to the nearest and the second nearest; 1 switches the test off
        max_keypoints: of each image, the strongest first
        contrast_threshold: of the keypoint detector; lower it for images of little contrast
        out: folder for result.json and matches.png; nothing is written without it
        json: print one JSON object, with a row xa, ya, xb, yb, similarity for each match
    """
    from tiepoint.files import write_json
    from tiepoint.imaging.draw import draw_matches
    from tiepoint.imaging.io import read_grey, write_image
    from tiepoint.imaging.match import match

    with progress_bar("matching", quiet=json) as advance:
        found = match(
            a, b, describer, ratio=ratio, max_keypoints=max_keypoints, contrast_threshold=contrast_threshold,
            progress=advance,
        )  # fmt: skip
    result = {"a": str(a), "b": str(b), **found.to_json()}
    if out is not None:
        write_image(out / "matches.png", draw_matches(read_grey(a), read_grey(b), found.points))
        write_json(out / "result.json", result)
    if not json:
        del result["points"]
    emit(result, json, title="Matches")
    return 0
