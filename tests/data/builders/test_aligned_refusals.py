"""Pairs of images that cannot be built: one line that names the file, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from aligned_images import WIDTH, images, write_pair

from tiepoint.data.builders.aligned import build_aligned
from tiepoint.errors import InputError


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: (s / "2_nir.png").write_bytes((s / "2_nir.png").read_bytes()[:900]), r"2_nir\.png: is truncated"),
        (lambda s: (s / "2_nir.png").write_text("no image"), r"2_nir\.png: truncated or not an image"),
        (lambda s: (s / "2_nir.png").write_bytes(b""), r"2_nir\.png: is empty"),
        (lambda s: (s / "2_nir.png").unlink(), r"2_vis\.png: there are 0 files 2_nir"),
        (
            lambda s: cv2.imwrite(str(s / "2_nir.png"), images(2)[1][:-1]),
            r"2_vis\.png and 2_nir\.png: are 180 x 160 and 180 x 159 px",
        ),
        (lambda s: np.savetxt(s / "2_vis_to_nir.txt", np.diag([1, 1, 0])), r"2_vis_to_nir\.txt: the matrix cannot be"),
        (
            lambda s: np.savetxt(s / "2_vis_to_nir.txt", [[1, 0, 500], [0, 1, 0], [0, 0, 1]]),
            r"2_vis\.png and 2_nir\.png: their transform puts no patch inside both images",
        ),
        (
            lambda s: np.savetxt(s / "2_vis_to_nir.txt", [[1, 0, 0], [0, 1, 0], [-2 / (WIDTH - 1), 0, 1]]),
            r"2_vis\.png to 2_nir\.png: the matrix maps the first image's centre to infinity",
        ),
    ],
)
def test_a_damaged_pair_is_named(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    for name in ("1", "2"):
        write_pair(tmp_path / "in", name, int(name))
    damage(tmp_path / "in")
    for color in (False, True):
        with pytest.raises(InputError, match=message):
            build_aligned(tmp_path / "in", tmp_path / "out", color=color)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_no_keypoint_in_any_pair(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for spectrum in ("vis", "nir"):
        cv2.imwrite(str(tmp_path / "in" / f"1_{spectrum}.png"), np.full((200, 200), 7, np.uint8))
    with pytest.raises(InputError, match="no keypoint is left in any pair: lower the contrast, the border"):
        build_aligned(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spectra": ("vis", "vis")}, "spectra are vis, vis: name two different ones"),
        ({"spectra": ("vis", "")}, "name two different ones"),
        ({"spectra": ("vis", "nir", "ir")}, "spectra are vis, nir, ir"),
        ({"keypoints": "both"}, "keypoints is 'both': must be first or second"),
        ({"max_keypoints": 0}, "max_keypoints is 0, must be from 1"),
        ({"features": -1}, "features is -1"),
        ({"contrast": float("nan")}, "contrast is nan"),
        ({"contrast": 1.5}, "contrast is 1.5, must be from 0 to 1"),
        ({"min_distance": -1.0}, "min_distance is -1"),
        ({"border": 31}, "border is 31, must be from 32"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    write_pair(tmp_path / "in", "1")
    with pytest.raises(InputError, match=message):
        build_aligned(tmp_path / "in", tmp_path / "out", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
