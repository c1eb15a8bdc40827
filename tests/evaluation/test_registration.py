from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tiepoint.evaluation.registration import small_warp


@given(st.integers(0, 2**32 - 1), st.integers(10, 2000), st.integers(10, 2000))
def test_a_small_warp_is_a_similarity_within_its_limits(seed: int, height: int, width: int) -> None:
    matrix = small_warp(np.random.default_rng(seed), (height, width))
    linear = matrix[:2, :2]
    scale = np.sqrt(np.linalg.det(linear))
    np.testing.assert_allclose(linear.T @ linear, scale**2 * np.eye(2), atol=1e-9)
    assert 0.9 <= scale <= 1.1
    assert abs(np.degrees(np.arctan2(linear[0, 1], linear[0, 0]))) <= 15
    centre = np.array([(width - 1) / 2, (height - 1) / 2, 1])
    assert (np.abs((matrix @ centre - centre)[:2]) <= [0.1 * width + 1e-9, 0.1 * height + 1e-9]).all()
    np.testing.assert_array_equal(matrix, small_warp(np.random.default_rng(seed), (height, width)))
