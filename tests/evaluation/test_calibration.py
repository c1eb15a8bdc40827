from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from tiepoint.errors import InputError
from tiepoint.evaluation.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    expected_calibration_error,
    fit_temperature,
    sigmoid,
)

Case = tuple[NDArray[np.int64], NDArray[np.float64]]


def drawn(seed: int, temperature: float, size: int = 3000) -> Case:
    """Labels that follow sigmoid(logit / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3 * temperature, size)
    return (rng.random(size) < 1 / (1 + np.exp(-logits / temperature))).astype(np.int64), logits


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_is_the_best_of_a_fine_grid(temperature: float) -> None:
    labels, logits = drawn(0, temperature)
    grid = np.geomspace(MIN_TEMPERATURE, MAX_TEMPERATURE, 3001)
    losses = [np.logaddexp(0, np.where(labels == 1, -logits, logits) / t).mean() for t in grid]
    found = fit_temperature(labels, logits)
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=2e-3)  # neighbours differ by 2e-3
    assert found == pytest.approx(temperature, rel=0.1)


def test_the_temperature_lowers_the_loss_that_scikit_learn_computes() -> None:
    labels, logits = drawn(1, 3.0)
    best = fit_temperature(labels, logits)
    at = {t: log_loss(labels, sigmoid(logits / t)) for t in (best, 1.0, 0.99 * best, 1.01 * best)}
    assert min(at, key=lambda t: at[t]) == best


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(0.1, 10), size=st.integers(4, 200))
def test_the_temperature_follows_the_scale_of_the_logits(seed: int, factor: float, size: int) -> None:
    labels, logits = drawn(seed, 1.0, size)
    assume(0 < labels.sum() < size)
    one = fit_temperature(labels, logits)
    assume(min(one, factor * one) > 1.01 * MIN_TEMPERATURE and max(one, factor * one) < 0.99 * MAX_TEMPERATURE)
    assert fit_temperature(labels, factor * logits) == pytest.approx(factor * one, rel=1e-6)


@settings(max_examples=100, deadline=None)
@given(data=st.lists(st.tuples(st.integers(0, 1), st.floats(-1e30, 1e30)), min_size=2, max_size=30))
def test_the_temperature_is_bounded_whatever_the_logits(data: list[tuple[int, float]]) -> None:
    labels, logits = (np.array(column) for column in zip(*data, strict=True))
    assume(0 < labels.sum() < len(labels))
    assert MIN_TEMPERATURE <= fit_temperature(labels, logits) <= MAX_TEMPERATURE


def test_without_a_minimum_the_temperature_is_a_bound_or_one() -> None:
    labels = [0, 0, 1, 1]
    assert fit_temperature(labels, [-3.0, -0.1, 0.1, 9.0]) == MIN_TEMPERATURE  # separable
    assert fit_temperature(labels, [9.0, 0.1, -0.1, -3.0]) == MAX_TEMPERATURE  # the opposite
    assert fit_temperature(labels, [1.0, -1.0, 1.0, -1.0]) == MAX_TEMPERATURE  # nothing
    assert fit_temperature(labels, [0.0, 0.0, 0.0, 0.0]) == 1.0


def test_calibration_error_of_an_example_worked_by_hand() -> None:
    # Two bins. Lower: 0.1, 0.3 and 0.2 with one match: |0.6 - 1|; upper: 0.5 and 0.9, both match: |1.4 - 2|.
    labels, probabilities = [0, 1, 0, 1, 1], [0.1, 0.3, 0.2, 0.5, 0.9]
    assert expected_calibration_error(labels, probabilities, bins=2) == pytest.approx((0.4 + 0.6) / 5)
    assert expected_calibration_error(labels, probabilities, bins=1) == pytest.approx(abs(2.0 - 3) / 5)
    assert expected_calibration_error([1, 0], [0.9, 1.0], bins=2) == pytest.approx(0.45)  # 1 is in the last bin
    assert expected_calibration_error([0, 1], [0.0, 1.0]) == 0
    assert expected_calibration_error([1, 0], [0.0, 1.0]) == 1


@settings(max_examples=100, deadline=None)
@given(
    data=st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=60),
    bins=st.integers(1, 20),
)
def test_calibration_error_is_its_definition(data: list[tuple[int, float]], bins: int) -> None:
    total = 0.0
    for k in range(bins):
        inside = [(label, p) for label, p in data if min(math.floor(p * bins), bins - 1) == k]
        if inside:
            share, mean = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            total += len(inside) / len(data) * abs(mean - share)
    labels, probabilities = zip(*data, strict=True)
    assert expected_calibration_error(labels, probabilities, bins) == pytest.approx(total, abs=1e-12)


def test_the_right_temperature_calibrates() -> None:
    labels, logits = drawn(2, 4.0, 20_000)
    before = expected_calibration_error(labels, sigmoid(logits))
    after = expected_calibration_error(labels, sigmoid(logits / fit_temperature(labels, logits)))
    assert before > 0.08
    assert after < 0.015


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(InputError, match="one class alone"):
        fit_temperature([1, 1], [0.5, 2.0])
    with pytest.raises(InputError, match="1 of 2 logits are NaN or infinite"):
        fit_temperature([0, 1], [math.inf, 2.0])
    with pytest.raises(InputError, match=r"labels \(2,\) and logits \(3,\)"):
        fit_temperature([0, 1], [0.0, 1.0, 2.0])
    with pytest.raises(InputError, match="labels must be 0 or 1"):
        expected_calibration_error([0, 2], [0.1, 0.2])
    with pytest.raises(InputError, match="not empty"):
        expected_calibration_error([], [])
    with pytest.raises(InputError, match=r"probability 1\.5"):
        expected_calibration_error([0, 1], [0.1, 1.5])
    with pytest.raises(InputError, match="probability nan"):
        expected_calibration_error([0, 1], [0.1, math.nan])
    with pytest.raises(InputError, match="bins is 0"):
        expected_calibration_error([0, 1], [0.1, 0.2], bins=0)


def test_sigmoid_takes_any_logit() -> None:
    np.testing.assert_array_equal(sigmoid([-np.inf, -1e30, 0.0, 1e30, np.inf]), [0, 0, 0.5, 1, 1])
