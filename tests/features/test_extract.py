from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from tiepoint.features.extract import extract
from tiepoint.features.frames import compose

Texture = Callable[..., np.ndarray]


def ramp(dtype: type = np.float32) -> np.ndarray:
    y, x = np.mgrid[:200, :240]
    return (3 * x + 7 * y).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("turn", [0.0, 0.7, -2.1])
@pytest.mark.parametrize("sigma", [2.0, 5.0, 9.0])
def test_a_ramp_is_cut_exactly(dtype: type, turn: float, sigma: float) -> None:
    size, support = 64, 12.0
    patch = extract(ramp(dtype), compose([(120.0, 100.0)], [sigma], [turn]), size=size, support=support)[0, 0]
    u = (np.arange(size) + 0.5) / size - 0.5
    across, down = np.meshgrid(u * support * sigma, u * support * sigma)
    x = 120 + math.cos(turn) * across + math.sin(turn) * down
    y = 100 - math.sin(turn) * across + math.cos(turn) * down
    # warpAffine rounds positions to 1/32 px, the ramp rises by 10 a pixel at most, uint16 rounds by half.
    limit = 10 / 32 + (0.5 if dtype == np.uint16 else 0.0) * (1 + (sigma > 5.4))
    inside = (x > 8) & (x < 231) & (y > 8) & (y < 191)  # away from the border, which the pyramid blurs with
    assert inside.mean() > 0.9
    assert np.abs(patch - (3 * x + 7 * y))[inside].max() <= limit
    assert patch.dtype == dtype


def test_a_patch_of_one_sample_a_pixel_is_the_image(texture: Texture) -> None:
    image = texture()
    patch = extract(image, compose([(99.5, 79.5)], [64 / 12], [0.0]))[0, 0]
    np.testing.assert_array_equal(patch, image[48:112, 68:132])


def test_a_quarter_turn_of_the_frame_turns_the_patch(texture: Texture) -> None:
    image = texture()
    upright = extract(image, compose([(99.5, 79.5)], [64 / 12], [0.0]))[0, 0]
    turned = extract(image, compose([(99.5, 79.5)], [64 / 12], [math.pi / 2]))[0, 0]
    np.testing.assert_array_equal(turned, np.rot90(upright, -1))


def test_a_checkerboard_vanishes_where_samples_are_far_apart() -> None:
    board = (np.add.outer(np.arange(600), np.arange(600)) % 2 * 255).astype(np.uint8)
    patch = extract(board, compose([(300.0, 300.0)], [40.0], [0.3]))[0, 0]
    assert patch.std() < 1
    assert abs(float(patch.mean()) - 127.5) < 2


@pytest.mark.parametrize("factor", [1.3, 2.0, 3.1, 6.0])
def test_no_frequency_above_the_patchs_limit_folds_back(factor: float) -> None:
    """A wave of 1.5 times the patch's Nyquist frequency is seen at most at a third of its height."""
    period = factor * 2 / 1.5
    wave = (100 * np.sin(2 * np.pi * np.arange(800) / period)).astype(np.float32)
    patch = extract(np.tile(wave, (800, 1)), compose([(400.0, 400.0)], [factor * 64 / 12], [0.0]))[0, 0]
    assert patch.std() <= 100 / math.sqrt(2) * (0.75 if factor < 2 else 1 / 3)


def against_kornia(image: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """32-sample patches of both, samples `step` pixels apart, as rows.

    kornia takes the level floor(log2(step)) of its own float32 step, so at a power of two rounding would choose it: its
    frames are wider by 1/2000, at most 1/30 px at a patch's edge. Ours is ceil(log2(step) - 1e-6), and exact there.
    """
    kornia_feature = pytest.importorskip("kornia.feature")
    rng = np.random.default_rng(0)
    centres = rng.uniform((250, 190), (390, 290), (40, 2))
    cut = compose(centres, np.full(40, step * 32 / 12), rng.uniform(-math.pi, math.pi, 40))
    lafs = cut.copy()
    lafs[:, :, :2] *= 12 / 2 * 1.0005  # kornia's frame is half a side long
    grey = torch.from_numpy(image)[None, None].float() / 255
    theirs = kornia_feature.extract_patches_from_pyramid(grey, torch.from_numpy(lafs)[None].float(), 32)
    ours = extract(image, cut, size=32).astype(np.float64) / 255
    return ours.reshape(40, -1), theirs.reshape(40, -1).numpy().astype(np.float64)


@pytest.mark.parametrize(("step", "share"), [(0.5, 0.02), (0.8, 0.02), (1.0, 0.02), (2.0, 0.07), (4.0, 0.07)])
def test_agrees_with_kornia_where_both_take_the_same_level(texture: Texture, step: float, share: float) -> None:
    ours, theirs = against_kornia(texture(5, 640, 480), step)
    differences = np.abs(ours - theirs).mean(axis=1) / theirs.std(axis=1)
    assert differences.mean() < share


@pytest.mark.parametrize("step", [1.3, 1.7, 2.5, 3.5])
def test_between_levels_kornia_takes_the_sharper_and_we_the_one_free_of_aliasing(texture: Texture, step: float) -> None:
    ours, theirs = against_kornia(texture(5, 640, 480), step)
    correlations = [np.corrcoef(x, y)[0, 1] for x, y in zip(ours, theirs, strict=True)]
    assert np.mean(correlations) > 0.96
    assert (ours.std(axis=1) < theirs.std(axis=1)).mean() > 0.9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_depth_is_kept(dtype: type, texture: Texture) -> None:
    image = texture().astype(dtype) * (1 if dtype == np.uint8 else 200)
    patch = extract(image, compose([(200.0, 150.0)], [5.0], [0.4]))
    assert patch.dtype == dtype
    assert patch.max() > (40000 if dtype != np.uint8 else 150)


def test_three_bands_are_cut_alike(texture: Texture) -> None:
    image = texture()
    planes = np.stack([image, 255 - image, image // 2])
    cut = compose([(100.0, 100.0), (300.0, 200.0)], [4.0, 15.0], [0.1, 2.0])
    np.testing.assert_array_equal(extract(planes, cut)[:, 0], extract(image, cut)[:, 0])
    assert extract(planes, cut).shape == (2, 3, 64, 64)


def test_beyond_the_image_the_border_pixel_is_repeated() -> None:
    image = np.zeros((80, 80), dtype=np.uint8)
    image[0, :] = 200
    patch = extract(image, compose([(40.0, 0.0)], [64 / 12], [0.0]))[0, 0]
    assert (patch[:31] == 200).all()


def test_a_patch_far_larger_than_the_image_is_its_mean(texture: Texture) -> None:
    image = cv2.resize(texture(), (64, 64))
    patch = extract(image, compose([(32.0, 32.0)], [500.0], [0.0]))[0, 0]
    assert patch.std() < 5


def test_no_frames_give_no_patches(texture: Texture) -> None:
    assert extract(texture(), np.empty((0, 2, 3))).shape == (0, 1, 64, 64)


def test_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8, uint16 or float32"):
        extract(np.zeros((50, 50)), compose([(9, 9)], [1], [0]))
