from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tiepoint.evaluation.registration.aligned_pairs import image_pairs, small_warp


def test_pairs_are_the_images_with_a_partner_by_path(tmp_path: Path) -> None:
    for name in ("b/1_vis", "b/1_nir", "a/2_vis", "a/2_nir", "3_vis", "4_nir", "a_vis_vis", "a_vis_nir", "a_nir_nir"):
        path = tmp_path / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "b" / "1_vis.png").touch()
    found = [tuple(str(path.relative_to(tmp_path)) for path in pair) for pair in image_pairs(tmp_path, "vis", "nir")]
    assert found == [("a/2_vis.jpg", "a/2_nir.jpg"), ("a_vis_vis.jpg", "a_vis_nir.jpg"), ("b/1_vis.jpg", "b/1_nir.jpg")]
    assert image_pairs(tmp_path / "none", "vis", "nir") == []


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
