"""Warped images against scipy's interpolation, and what has no value is said to have none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from tiepoint.errors import InputError
from tiepoint.images.raster import Raster, as_raster
from tiepoint.images.resample import warp_image

MATRICES = {
    "homography": [[0.98, -0.17, 46.0], [0.16, 1.02, -31.0], [8e-5, -5e-5, 1.0]],
    "negative": [[-0.98, 0.17, -46.0], [-0.16, -1.02, 31.0], [-8e-5, 5e-5, -1.0]],
    "turned": [[0, -1, 500], [1, 0, 0.25], [0, 0, 1]],
    "smaller": [[0.05, 0, 3], [0, 0.05, 4], [0, 0, 1]],
    "larger": [[7, 0.5, -900], [0, 7, -900], [0, 0, 1]],
    "horizon": [[1, 0, 0], [0, 1, 0], [2e-3, 0, 0.2]],
}


def image(dtype: Any = np.float32) -> np.ndarray:
    return (np.random.default_rng(0).random((480, 610)) * 250).astype(dtype)


def truth(pixels: np.ndarray, matrix: Any, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    u, v, w = np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), np.stack([x, y, np.ones_like(x)]))
    w[w == 0] = 1e-300
    inside = (np.abs(u / w - (pixels.shape[1] - 1) / 2) <= (pixels.shape[1] - 1) / 2) & (
        np.abs(v / w - (pixels.shape[0] - 1) / 2) <= (pixels.shape[0] - 1) / 2
    )
    forward = np.einsum("j,jhw->hw", np.asarray(matrix, dtype=float)[2], np.stack([u / w, v / w, np.ones_like(x)]))
    sign = np.sign(np.asarray(matrix)[2] @ [304.5, 239.5, 1])
    inside &= sign * forward > 0
    return map_coordinates(pixels.astype(np.float64), [v / w, u / w], order=1, mode="nearest"), inside


@pytest.mark.parametrize("name", sorted(MATRICES))
def test_pixels_are_scipys(name: str) -> None:
    shape = (530, 600)
    pixels, mask = warp_image(as_raster(image()), MATRICES[name], shape, fill=-1)
    expected, inside = truth(image(), MATRICES[name], shape)
    assert inside.sum() > 100
    assert (mask != inside).sum() <= 2  # rounding at the border
    both = mask & inside
    np.testing.assert_allclose(pixels[both], expected[both], atol=1e-3)
    assert (pixels[~mask] == -1).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_identity_changes_nothing(dtype: Any) -> None:
    pixels, mask = warp_image(as_raster(image(dtype)), np.eye(3), (480, 610))
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, image(dtype))
    assert mask.all()


def test_what_touches_a_pixel_that_is_not_valid_has_no_value() -> None:
    valid = np.ones((480, 610), dtype=bool)
    valid[100, 200] = False
    source = Raster(image(), valid, (0, 1))
    _, mask = warp_image(source, np.eye(3), (480, 610))
    np.testing.assert_array_equal(mask, valid)
    shifted = np.array([[1, 0, 0.25], [0, 1, 0], [0, 0, 1]])
    _, mask = warp_image(source, shifted, (480, 610))
    assert list(zip(*np.nonzero(~mask[:, 1:]), strict=True)) == [(100, 199), (100, 200)]  # of the columns from 1
    assert not mask[:, 0].any()


def test_images_that_do_not_meet_are_all_fill() -> None:
    pixels, mask = warp_image(as_raster(image(np.uint16)), [[1, 0, 9000], [0, 1, 0], [0, 0, 1]], (50, 60), fill=7)
    assert not mask.any()
    assert (pixels == 7).all()


@pytest.mark.parametrize(
    ("matrix", "words"),
    [(np.ones((3, 3)), "no inverse"), (np.full((3, 3), np.nan), "finite"), (np.eye(2), "3 x 3")],
)
def test_a_useless_matrix_is_refused(matrix: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        warp_image(as_raster(image()), matrix, (50, 60))
