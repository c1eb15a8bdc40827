from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tiepoint.features import phase
from tiepoint.features.phase import moments

Texture = Callable[..., np.ndarray]


def by_the_equations(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The module's equations in double precision over the whole image, which the Fourier transform wraps around."""
    fy, fx = np.meshgrid(*(np.fft.fftfreq(n) for n in image.shape), indexing="ij")
    radius, theta = np.hypot(fx, fy), np.arctan2(fy, fx)
    radius[0, 0] = 1
    a = b = c = np.zeros(image.shape)
    spectrum = np.fft.fft2(image)
    for o in range(6):
        turn = math.pi * o / 6
        apart = np.abs(np.angle(np.exp(1j * (theta - turn))))
        angular = np.where(apart * 3 < math.pi, (1 + np.cos(np.minimum(apart * 3, math.pi))) / 2, 0)
        responses = []
        for s in range(4):
            radial = np.exp(-(np.log(radius * 3 * 1.6**s) ** 2) / (2 * math.log(0.75) ** 2))
            radial /= 1 + (radius / 0.45) ** 30
            radial[0, 0] = 0
            responses.append(np.fft.ifft2(spectrum * radial * angular))
        total = sum(abs(r) for r in responses)
        mean = sum(responses)
        unit = mean / (abs(mean) + 1e-4)
        energy = sum((r * unit.conj()).real - abs((r * unit.conj()).imag) for r in responses)
        tau = np.median(abs(responses[0])) / math.sqrt(math.log(4)) * sum(1.6**-s for s in range(4))
        threshold = tau * (math.sqrt(math.pi / 2) + math.sqrt((4 - math.pi) / 2))
        share = (total / (np.max([abs(r) for r in responses], axis=0) + 1e-4) - 1) / 3
        congruency = np.maximum(energy - threshold, 0) / (total + 1e-4) / (1 + np.exp(3 * (0.5 - share)))
        a = a + (congruency * math.cos(turn)) ** 2
        b = b + 2 * congruency**2 * math.cos(turn) * math.sin(turn)
        c = c + (congruency * math.sin(turn)) ** 2
    root = np.sqrt(b**2 + (a - c) ** 2)
    return (a + c + root) / 6, (a + c - root) / 6


def test_it_follows_the_equations(texture: Texture) -> None:
    image = texture(3)[:140, :180].copy()
    # The reference sees the same mirrored surroundings; only its noise is estimated over a little more.
    pad = phase.MARGIN_PX
    expected = by_the_equations(np.pad(image.astype(float), pad, mode="reflect"))
    for ours, theirs in zip(moments(image), expected, strict=True):
        inner = theirs[pad:-pad, pad:-pad]
        np.testing.assert_allclose(ours, inner, atol=0.02 * inner.max())
        assert np.corrcoef(ours.ravel(), inner.ravel())[0, 1] > 0.999


def test_tiles_leave_no_seams(texture: Texture, monkeypatch: pytest.MonkeyPatch) -> None:
    image = texture(3)[:170, :230].copy()
    whole = moments(image)
    monkeypatch.setattr(phase, "TILE_PX", 70)
    monkeypatch.setattr(phase, "NOISE_TILES", 100)
    for tiled, expected in zip(moments(image), whole, strict=True):
        assert tiled.shape == image.shape
        # Tiles weigh the noise of their margins too: what differs is the threshold, not what lies at the seams.
        assert np.abs(tiled - expected).max() < 0.05 * expected.max()
        assert np.corrcoef(tiled.ravel(), expected.ravel())[0, 1] > 0.999


def test_contrast_brightness_and_its_sign_do_not_matter(texture: Texture) -> None:
    image = texture(4)[:100, :120].copy().astype(np.float32)
    greater, smaller = moments(image)
    for other in (0.4 * image + 60, 255 - image):
        np.testing.assert_allclose(moments(other)[0], greater, atol=2e-3)
        np.testing.assert_allclose(moments(other)[1], smaller, atol=2e-3)
    assert greater.max() > 0.05
    assert (smaller <= greater).all()
    assert smaller.min() > -1e-6
    assert greater.dtype == smaller.dtype == np.float32


def test_edges_have_a_greater_moment_and_corners_both() -> None:
    image = np.full((120, 120), 60, dtype=np.uint8)
    image[50:, 50:] = 190
    greater, smaller = moments(image)
    assert greater[85:95, 48:52].max(axis=1).min() > 10 * greater[20:30, 20:30].max()
    y, x = np.unravel_index(smaller[16:-16, 16:-16].argmax(), (88, 88))
    assert math.dist((x + 16, y + 16), (49.5, 49.5)) < 2.5
    assert smaller[85:95, 48:52].max() < 0.5 * smaller.max()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2), (64, 64)])
def test_flat_and_tiny_images_have_none(shape: tuple[int, int]) -> None:
    for moment in moments(np.full(shape, 90, dtype=np.uint8)):
        assert moment.shape == shape
        assert np.abs(moment).max() < 1e-3
