from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from homography_accuracy import (
    CORNER_LIMITS_PX,
    THRESHOLDS_PX,
    PairAccuracy,
    homography_accuracy,
    matching_accuracy,
    mean_accuracy,
    pair_accuracy,
)
from hypothesis import given
from hypothesis import strategies as st

from tiepoint.errors import InputError

TRUTH = np.array([[0.9, -0.2, 40.0], [0.15, 1.05, -12.0], [2e-4, 1e-4, 1.0]])
SIZE = (640, 480)


def matches(count: int, off: np.ndarray | float = 0.0, seed: int = 0) -> np.ndarray:
    """Points of a, and by OpenCV their places in b, moved by `off` px in a random direction."""
    random = np.random.default_rng(seed)
    a = random.uniform(0, SIZE, (count, 2))
    b = cv2.perspectiveTransform(a[None], TRUTH)[0] if count else a
    angles = random.uniform(0, 2 * np.pi, count)
    return np.hstack([a, b + np.multiply(off, [np.cos(angles), np.sin(angles)]).T])


def test_shares_are_counted_as_by_hand() -> None:
    points = matches(6, np.array([0.2, 0.9, 1.1, 2.9, 6.9, 300.0]))
    expected = [2 / 6, 3 / 6, *[4 / 6] * 4, *[5 / 6] * 4]
    np.testing.assert_allclose(matching_accuracy(points, TRUTH), expected)
    np.testing.assert_allclose(matching_accuracy(points, 7 * TRUTH, (1.0, 500.0)), [2 / 6, 1.0])


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(0, 99))
def test_shares_agree_with_a_loop(steps: list[int], seed: int) -> None:
    offs = [0.7 * step + 0.01 for step in steps]  # off any threshold, where rounding would decide
    points = matches(len(offs), np.array(offs) if offs else 0.0, seed)
    found = matching_accuracy(points, TRUTH)
    for threshold, share in zip(THRESHOLDS_PX, found, strict=True):
        count = 0
        for xa, ya, xb, yb in points:
            x, y, w = TRUTH @ [xa, ya, 1]
            count += math.dist((x / w, y / w), (xb, yb)) <= threshold
        assert share == pytest.approx(count / len(offs) if offs else 0)
    assert (np.diff(found) >= 0).all()


def test_a_point_beyond_the_horizon_is_wrong() -> None:
    matrix = np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]])
    assert matching_accuracy([[200.0, 10.0, -200.0, -10.0]], matrix).tolist() == [0.0] * 10


def test_homographies_are_counted_and_none_is_infinitely_wrong() -> None:
    np.testing.assert_allclose(homography_accuracy([0.5, 1.0, 4.0, math.inf]), [0.5, 0.5, 0.75, 0.75])
    assert homography_accuracy([math.inf]).tolist() == [0.0] * len(CORNER_LIMITS_PX)
    for wrong in ([], [1.0, math.nan], [[1.0]]):
        with pytest.raises(InputError, match="missing or NaN"):
            homography_accuracy(wrong)


def test_right_matches_give_the_true_homography() -> None:
    points = matches(200, 0.3)
    points[:80, 2:] = np.random.default_rng(1).uniform(0, SIZE, (80, 2))
    found = pair_accuracy(points, TRUTH, SIZE)
    assert (found.matches, found.right) == (200, 120 + round(matching_accuracy(points[:80], TRUTH)[2] * 80))
    assert found.shares[2] == found.right / 200
    assert found.corner_error < 0.5
    assert pair_accuracy(points, TRUTH, SIZE, thresholds=(1.0,)).shares.shape == (1,)


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_matches_give_no_homography(count: int) -> None:
    found = pair_accuracy(matches(count).reshape(-1, 4), TRUTH, SIZE)
    assert (found.matches, found.right, found.corner_error) == (count, count, math.inf)
    assert found.shares.tolist() == [float(count > 0)] * 10


def test_pairs_count_alike_however_many_matches_they_have() -> None:
    pairs = [PairAccuracy(1000, 10, np.array([0.01, 0.2]), 2.0), PairAccuracy(10, 10, np.array([0.99, 1.0]), 0.9)]
    found = mean_accuracy(pairs)
    assert (found.pairs, found.matches, found.right) == (2, 505, 10)
    np.testing.assert_allclose(found.matching, [0.5, 0.6])
    np.testing.assert_allclose(found.homography, [0.5, 1, 1, 1])
    np.testing.assert_allclose(mean_accuracy(pairs, limits=(2.0,)).homography, [1.0])
    with pytest.raises(InputError, match="missing"):
        mean_accuracy([])


@pytest.mark.parametrize(
    ("points", "truth", "words"),
    [
        (np.zeros((3, 2)), TRUTH, r"shape \(3, 2\): give finite \(M, 4\)"),
        (np.full((3, 4), np.nan), TRUTH, "finite"),
        (np.zeros((3, 4)), np.eye(2), r"truth has shape \(2, 2\)"),
        (np.zeros((3, 4)), np.full((3, 3), np.inf), "finite"),
    ],
)
def test_bad_input_is_refused(points: np.ndarray, truth: np.ndarray, words: str) -> None:
    for measure in (matching_accuracy, lambda p, t: pair_accuracy(p, t, SIZE)):
        with pytest.raises(InputError, match=words):
            measure(points, truth)
