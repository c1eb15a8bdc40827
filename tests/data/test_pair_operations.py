"""Each operation of the pairs' augmentation by itself, against OpenCV and SciPy."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.stats import binomtest, kstest
from torch import Tensor

from tiepoint.data import pair_augmentation
from tiepoint.data.pair_augmentation import (
    BLUR,
    CROP,
    GAMMA,
    NOISE,
    SCALE_X,
    SCALE_Y,
    SHIFT_X,
    SHIFT_Y,
    PairAugmentation,
    augment_pairs,
)

PUBLISHED = PairAugmentation("published")
CORRECTED = PairAugmentation("corrected")
KGL = PairAugmentation("corrected", scale=(0.95, 1.10), crop=0.1)
SIDE = 24


def texture() -> np.ndarray:
    """Smooth noise in 0..1, without symmetry."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32), (0, 0), 2)
    return (noise - noise.min()) / (noise.max() - noise.min())


def charts(count: int) -> Tensor:
    """Patches (count, 3, SIDE, SIDE): x and y in sides from the centre, plus 1/2; and a texture."""
    axis = ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    return torch.from_numpy(np.stack([x, y, texture()])).expand(count, 3, SIDE, SIDE)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Tensor, PairAugmentation], np.ndarray]:
    """Augment patches by one given operation and no joint one."""

    def run(operation: int, patches: Tensor, how: PairAugmentation) -> np.ndarray:
        def some_of(kinds: int, count: int, generator: torch.Generator) -> Tensor:
            rounds = torch.full((2, count), -1)
            if kinds > 5:
                rounds[1] = operation
            return rounds

        monkeypatch.setattr(pair_augmentation, "_some_of", some_of)
        result, _ = augment_pairs(patches, patches, how, torch.Generator().manual_seed(0))
        return result.numpy()

    return run


def recovered(shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and extent (N, 2) of what is seen of the charts (N, 3, S, S), from their inner part, which no fill
    reaches."""
    inner = slice(SIDE // 4, SIDE - SIDE // 4)
    axis = (np.arange(SIDE)[inner] + 0.5) / SIDE - 0.5
    profiles = [shown[:, 0, SIDE // 2, inner], shown[:, 1, inner, SIDE // 2]]
    fits = [np.polyfit(axis, profile.T.astype(np.float64), 1) for profile in profiles]
    return np.stack([fit[1] - 0.5 for fit in fits], 1), np.stack([fit[0] for fit in fits], 1)


def uniform(values: np.ndarray, low: float, high: float) -> bool:
    inside = values.min() > low - 1e-4 and values.max() < high + 1e-4
    return bool(inside and kstest(values, "uniform", args=(low, high - low)).pvalue > 1e-3)


@pytest.mark.parametrize("operation", [SCALE_X, SCALE_Y, SHIFT_X, SHIFT_Y, CROP])
def test_geometric_operations(only: Callable[..., np.ndarray], operation: int) -> None:
    shown = only(operation, charts(400), KGL)
    centre, extent = recovered(shown)
    axis = operation in (SCALE_Y, SHIFT_Y)
    if operation == CROP:
        # How far each side was moved out, in sides of the patch.
        for moved in (*(extent / 2 - centre - 0.5).T, *(extent / 2 + centre - 0.5).T):
            assert uniform(moved, -0.1, 0.1)
    elif operation in (SCALE_X, SCALE_Y):
        assert uniform(1 / extent[:, int(axis)], 0.95, 1.10)
        np.testing.assert_allclose(extent[:, 1 - axis], 1, atol=1e-5)
        np.testing.assert_allclose(centre, 0, atol=1e-5)
    else:
        assert uniform(centre[:, int(axis)], -0.05, 0.05)
        np.testing.assert_allclose(centre[:, 1 - axis], 0, atol=1e-5)
        np.testing.assert_allclose(extent, 1, atol=1e-5)
    pixels = np.arange(SIDE)
    for k in range(20):
        start = (centre[k] + 0.5) * SIDE - 0.5 - extent[k] * (SIDE - 1) / 2  # where the first pixel looks
        x, y = (start[a] + extent[k, a] * pixels for a in range(2))
        rows, columns = np.meshgrid(y, x, indexing="ij")
        exact = map_coordinates(texture(), [rows, columns], order=1, mode="reflect")
        np.testing.assert_allclose(shown[k, 2], exact, atol=1e-4)
        matrix = np.array([[extent[k, 0], 0, start[0]], [0, extent[k, 1], start[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(texture(), matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REFLECT)
        np.testing.assert_allclose(shown[k, 2], warped, atol=0.01)  # OpenCV may look up at 1/32 px


def test_gamma(only: Callable[..., np.ndarray]) -> None:
    shown = only(GAMMA, charts(400), CORRECTED)
    patch = charts(1)[0].numpy()
    gammas = np.log(shown[:, 0, 0, SIDE // 4]) / np.log(patch[0, 0, SIDE // 4])
    assert uniform(gammas, 0.5, 1.5)
    np.testing.assert_allclose(shown, patch[None] ** gammas[:, None, None, None], atol=1e-5)


def test_noise(only: Callable[..., np.ndarray]) -> None:
    noise = only(NOISE, torch.full((200, 2, 8, 8), 0.5), CORRECTED) - 0.5
    assert kstest(noise.ravel(), "norm", args=(0, 5.1 / 255)).pvalue > 1e-3
    assert abs(np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.05
    clipped = only(NOISE, torch.ones(50, 1, 8, 8), CORRECTED)
    assert clipped.max() == 1
    assert 0.4 < (clipped == 1).mean() < 0.6


def test_blur(only: Callable[..., np.ndarray]) -> None:
    dot = torch.zeros(SIDE, SIDE)
    dot[SIDE // 2, SIDE // 2] = 1
    patches = torch.stack([dot, torch.from_numpy(texture())]).expand(1000, 2, SIDE, SIDE)
    shown = only(BLUR, patches, CORRECTED)
    peak, beside = shown[:, 0, SIDE // 2, SIDE // 2], shown[:, 0, SIDE // 2, SIDE // 2 + 1]
    with np.errstate(divide="ignore"):
        sigmas = np.sqrt(0.5 / np.log(peak.astype(np.float64) / beside))
    wide = sigmas > 0.1  # weights beside the peak underflow below that
    assert binomtest(int(wide.sum()), len(sigmas), 0.9).pvalue > 1e-3
    assert uniform(sigmas[wide], 0.1, 1)
    for k in np.nonzero(wide)[0][:20]:
        np.testing.assert_allclose(shown[k, 1], cv2.GaussianBlur(texture(), (5, 5), sigmas[k]), atol=1e-5)
    np.testing.assert_allclose(shown[~wide], patches[~wide].numpy(), atol=1e-6)
    np.testing.assert_array_equal(only(BLUR, patches[:5], PUBLISHED), patches[:5].numpy())
