from __future__ import annotations

import numpy as np
import pytest

from tiepoint.errors import InputError
from tiepoint.evaluation.hpatches.descriptors import apply, zca


def test_unclipped_directions_are_whitened_and_the_others_shrunk_alike() -> None:
    rng = np.random.default_rng(0)
    scales = np.geomspace(10, 0.1, 10)
    turn = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    train = (rng.standard_normal((4000, 10)) * scales @ turn.T + 5).astype(np.float32)
    whitening = zca(train, "it")
    np.testing.assert_allclose(whitening, whitening.T, atol=1e-9)
    spread = np.linalg.eigvalsh(np.cov(train.astype(float) @ whitening, rowvar=False))
    np.testing.assert_allclose(spread[-4:], 1, rtol=1e-3)  # the sorted 6th of 0..9 and those above it
    clipped = np.sort(np.linalg.eigvalsh(np.cov(train, rowvar=False)))
    np.testing.assert_allclose(spread[:6], clipped[:6] / clipped[6], rtol=2e-3)


def test_a_strip_is_centred_by_its_own_mean_and_gets_unit_length() -> None:
    rng = np.random.default_rng(1)
    whitening = zca(rng.standard_normal((500, 8)).astype(np.float32), "it")
    strip = rng.standard_normal((20, 8)).astype(np.float32)
    found = apply(whitening, strip)
    white = (strip - strip.mean(axis=0)) @ whitening
    expected = np.array([np.sign(row) * np.abs(row) ** 0.5 for row in white])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(apply(7 * whitening, strip + np.float32(3)), found, atol=1e-5)
    assert found.dtype == np.float32


def test_equal_descriptors_become_zeros_not_nan() -> None:
    whitening = zca(np.random.default_rng(1).standard_normal((500, 8)).astype(np.float32), "it")
    assert (apply(whitening, np.ones((5, 8), dtype=np.float32)) == 0).all()


def test_descriptors_of_few_directions_are_refused() -> None:
    train = np.zeros((50, 10), dtype=np.float32)
    with pytest.raises(InputError, match="it: its 50 train descriptors vary along too few directions"):
        zca(train, "it")
    train[:, :3] = np.random.default_rng(0).standard_normal((50, 3))
    with pytest.raises(InputError, match="too few directions"):
        zca(train, "it")
