from __future__ import annotations

import numpy as np
import pytest

from tiepoint.features.corners import find_peaks


def bump(x: float, y: float) -> np.ndarray:
    rows, columns = np.mgrid[:20, :24]
    return (10 - (columns - x) ** 2 - 0.5 * (rows - y) ** 2).astype(np.float32)


@pytest.mark.parametrize(("x", "y"), [(11.0, 9.0), (11.3, 9.4), (10.6, 8.75)])
def test_a_parabola_is_placed_exactly(x: float, y: float) -> None:
    points, values = find_peaks(bump(x, y), 0.0)
    np.testing.assert_allclose(points, [(x, y)], atol=1e-5)
    assert values[0] == bump(x, y).max()


def test_only_the_largest_within_the_radius_counts() -> None:
    response = np.zeros((20, 20), dtype=np.float32)
    response[5, 5], response[5, 7], response[12, 5] = 3, 2, 1
    assert len(find_peaks(response, 0.0, radius=1)[0]) == 3
    np.testing.assert_array_equal(find_peaks(response, 0.0, radius=2)[0], [(5, 5), (5, 12)])
    np.testing.assert_array_equal(find_peaks(response, 1.0, radius=2)[0], [(5, 5)])


def test_the_rim_and_flat_maps_have_none() -> None:
    response = np.zeros((9, 9), dtype=np.float32)
    response[0, 4] = 1
    assert len(find_peaks(response, 0.0)[0]) == 0
    assert len(find_peaks(np.zeros((9, 9), dtype=np.float32), 0.0)[0]) == 0
    assert find_peaks(np.ones((2, 9), dtype=np.float32), 0.0)[0].shape == (0, 2)
