"""Downsampled images are means of what they show, and their cells lie where both images do."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiepoint.geometry.robust import apply
from tiepoint.images.downsampled import Downsampled
from tiepoint.images.raster import Raster, Reader
from tiepoint.images.sources import ArraySource
from tiepoint.images.window import Window
from tiepoint.registration.coarse_to_fine import MAX_STEP, levels
from tiepoint.registration.windows import CELLS, Pair, plan


def reader(image: np.ndarray, mask: np.ndarray | None = None) -> Reader:
    return Reader(ArraySource("image", image[None], ("1",), mask=mask))


def brute_force(image: np.ndarray, mask: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the valid pixels of each block, NaN without one, and whether half are; for whole blocks."""
    rows, columns = (length // factor for length in image.shape)
    means, valid = np.full((rows, columns), np.nan), np.zeros((rows, columns), bool)
    for y in range(rows):
        for x in range(columns):
            block = slice(y * factor, (y + 1) * factor), slice(x * factor, (x + 1) * factor)
            if mask[block].any():
                means[y, x] = image[block][mask[block]].mean()
            valid[y, x] = mask[block].mean() >= 0.5
    return means, valid


@settings(deadline=None, max_examples=40)
@given(st.integers(5, 60), st.integers(5, 60), st.integers(1, 9), st.integers(1, 40), st.integers(0, 9))
def test_a_pixel_is_the_mean_of_the_valid_pixels_it_shows(
    height: int, width: int, factor: int, tile: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(0, 60_000, (height, width)).astype(np.uint16)
    mask = random.random((height, width)) < random.choice([0.5, 0.9])
    mask[0, 0] = True
    reduced = Downsampled(reader(image, mask), factor, tile)
    found = reduced.read()
    assert found.pixels.shape == reduced.shape == (-(-height // factor), -(-width // factor))
    means, valid = brute_force(image, mask, factor)
    whole = slice(0, means.shape[0]), slice(0, means.shape[1])
    held = ~np.isnan(means)
    np.testing.assert_allclose(found.pixels[whole][held], means[held], rtol=1e-4)
    assert np.isfinite(found.pixels).all()
    np.testing.assert_array_equal((np.ones(reduced.shape, bool) if found.mask is None else found.mask)[whole], valid)


@pytest.mark.parametrize("factor", [1, 3, 7])
def test_a_window_is_a_part_of_the_whole(texture: Callable[..., np.ndarray], factor: int) -> None:
    reduced = Downsampled(reader(texture(2, 301, 200)), factor, 64)
    whole, window = reduced.read(), Window(5, 9, 30, 18)
    part = reduced.read(window)
    np.testing.assert_array_equal(part.pixels, whole.pixels[window.slices])
    assert part.limits == (0, 255)
    assert np.ptp(whole.limits) < 255  # means spread less


@pytest.mark.parametrize("factor", [1, 2, 5])
def test_pixels_lie_where_those_they_show_lie(factor: int) -> None:
    x = np.tile(np.arange(60, dtype=np.float32), (40, 1))
    reduced = Downsampled(reader(x), factor)
    means = reduced.read().pixels[3]
    mapped = apply(reduced.up, np.column_stack([np.arange(len(means)), np.full(len(means), 3)]))
    np.testing.assert_allclose(mapped[:, 0], means, atol=1e-4)
    np.testing.assert_allclose(mapped[:, 1], 3 * factor + (factor - 1) / 2)


@given(st.integers(1, 10_000))
def test_sizes_grow_step_by_step_to_the_full_one(factor: int) -> None:
    found = (factor, *levels(factor))
    assert found[-2:] == (1, 1)
    assert all(after <= before <= MAX_STEP * after for before, after in pairwise(found))


def test_cells_are_apart_and_lie_where_both_images_are_valid(texture: Callable[..., np.ndarray]) -> None:
    image = texture(1, 300, 240).astype(np.float32)
    mask = np.ones(image.shape, bool)
    mask[:, :100] = False
    shift, up, border = np.array([[1, 0, 60.0], [0, 1, 0], [0, 0, 1]]), np.diag([4.0, 4, 1]), 8
    cells = plan(Raster(image, None, (0, 255)), Raster(image, mask, (0, 255)), shift, up, border)
    assert 0.5 * CELLS**2 / 2 < len(cells) <= CELLS**2
    taken = np.zeros((240, 300), dtype=int)
    for cell in cells:
        low, high = ((edge / 4 + 0.5).astype(int) for edge in (cell.low, cell.high))
        taken[low[1] : high[1], low[0] : high[0]] += 1
        assert (cell.low < cell.place).all()
        assert (cell.place < cell.high).all()
        assert cell.place[0] / 4 >= 100
    assert taken.max() == 1
    assert not taken[:border].any()
    assert not taken[-border:].any()
    assert not plan(Raster(image, None, (0, 255)), Raster(image, None, (0, 255)), shift, up, 150)
    away = np.array([[1, 0, 900.0], [0, 1, 0], [0, 0, 1]])
    assert not plan(Raster(image, None, (0, 255)), Raster(image, None, (0, 255)), away, up, border)


def test_a_chip_shows_the_same_of_both_images(texture: Callable[..., np.ndarray]) -> None:
    image = texture(5, 300, 240)
    moved = np.array([[1.0, 0, -40], [0, 1, -20], [0, 0, 1]])
    pair = Pair(Downsampled(reader(image), 1), Downsampled(reader(image[20:, 40:]), 1), moved)
    chip = pair.chip(np.array([50.0, 60]), np.array([90.0, 80]))
    assert chip is not None
    np.testing.assert_array_equal(chip.b.pixels, image[80:100, 90:130])
    x, y = apply(np.linalg.inv(chip.matrix), [[0, 0]])[0].round().astype(int)
    np.testing.assert_array_equal(chip.a.pixels[y : y + 20, x : x + 40], chip.b.pixels)
    assert chip.a.pixels.shape == (20 + 64, 40 + 64)  # a margin of 32 px
    assert pair.chip(np.array([-50.0, 0]), np.array([-10.0, 20])) is None
    beyond = Pair(pair.a, pair.b, np.array([[1, 0, 0], [0, 1, 0], [1 / 100, 0, 1.0]]))
    assert beyond.chip(np.array([90.0, 60]), np.array([130.0, 80])) is None
