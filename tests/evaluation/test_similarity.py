from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from synthetic import colmap_project, pixel_describer, small_patch_set

from tiepoint.evaluation.distances import similarity_matrix, similarity_rows
from tiepoint.evaluation.scenes import evaluate_scenes
from tiepoint.evaluation.verification import evaluate_pairs


def vectors(seed: int, count: int, unit: bool, scale: float = 1.0) -> NDArray[np.float32]:
    raw = np.random.default_rng(seed).standard_normal((count, 16))
    if unit:
        raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    return (scale * raw).astype(np.float32)


def long_describer(patches: torch.Tensor) -> torch.Tensor:
    """Unit vectors, each made longer by up to a half: the inner product no longer orders as the distance."""
    return pixel_describer(patches) * (1 + 0.5 * patches.mean(dim=(1, 2, 3))[:, None])


@pytest.mark.parametrize("scale", [1.0, 0.9995, 1.0005])
def test_unit_vectors_keep_the_inner_product_to_the_bit(scale: float) -> None:
    a, b = vectors(0, 40, True, scale), vectors(1, 40, True, scale)
    np.testing.assert_array_equal(similarity_matrix(a, b), a @ b.T)
    np.testing.assert_array_equal(similarity_rows(a, b), np.einsum("nd,nd->n", a, b))


@pytest.mark.parametrize("scale", [0.01, 1.002, 300.0])
def test_other_vectors_give_minus_half_the_squared_distance(scale: float) -> None:
    a, b = vectors(0, 40, False, scale), vectors(1, 30, False, scale)
    expected = -cdist(a, b, "sqeuclidean") / 2
    np.testing.assert_allclose(similarity_matrix(a, b), expected, rtol=1e-6)
    np.testing.assert_allclose(similarity_rows(a[:30], b), expected.diagonal(), rtol=1e-6)


def test_one_vector_that_is_not_unit_moves_all_scores() -> None:
    a, b = vectors(0, 5, True), vectors(1, 5, True)
    a[3] *= 2
    np.testing.assert_allclose(similarity_matrix(a, b), -cdist(a, b, "sqeuclidean") / 2, rtol=1e-6)
    np.testing.assert_allclose(similarity_matrix(b, a), -cdist(b, a, "sqeuclidean") / 2, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), unit=st.booleans(), scale=st.sampled_from([0.1, 1.0, 50.0]))
def test_the_nearest_is_the_most_similar(seed: int, unit: bool, scale: float) -> None:
    a, b = vectors(seed, 8, unit, scale), vectors(seed + 1, 9, unit, scale)
    np.testing.assert_array_equal(similarity_matrix(a, b).argmax(axis=1), cdist(a, b).argmin(axis=1))


def test_close_descriptors_far_from_the_origin_keep_their_order() -> None:
    a = np.full((3, 16), 1000, dtype=np.float32)
    b = a + np.array([[1], [2], [3]], dtype=np.float32) / 1024
    assert (np.diff(similarity_rows(a, b)) < 0).all()
    assert (np.diff(similarity_matrix(a, b)[0]) < 0).all()


def test_pairs_of_a_describer_without_unit_length_are_compared_by_distance(tmp_path: Path) -> None:
    data = small_patch_set(tmp_path / "set", points=30, noise=60.0)
    result = evaluate_pairs(data, {"long": long_describer}, count=200)["long"]["random"]
    unit = evaluate_pairs(data, {"unit": pixel_describer}, count=200)["unit"]["random"]
    assert (result.scores <= 0).all()
    assert unit.scores.max() > 0
    # The same pairs: the distance of the long vectors, from the angle of the unit ones, is between these bounds.
    assert (result.scores <= unit.scores - 1).all()


def test_scenes_measure_a_describer_without_unit_length(tmp_path: Path) -> None:
    scene = colmap_project(tmp_path / "plane", points=60, cameras=3)
    describers = {"tripled": lambda p: 3 * pixel_describer(p), "unit": pixel_describer}
    tripled, unit = evaluate_scenes([scene.directory], describers, levels=["hard"])
    assert tripled.fpr95 == pytest.approx(unit.fpr95, abs=1e-3)  # the order is that of the angles all the same
    assert tripled.top1 == unit.top1
