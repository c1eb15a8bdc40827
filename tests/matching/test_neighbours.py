"""The k nearest neighbours, against all distances; the ratio to the first apart through `match`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_memory import bytes_of

from tiepoint.errors import InputError
from tiepoint.features.describe import describe
from tiepoint.matching import match as rules
from tiepoint.matching.match import match
from tiepoint.matching.neighbours import RowMatches, mutual_nearest, nearest

Pair = tuple[np.ndarray, np.ndarray]


def drawn(count: int, seed: int, unit: bool, dimension: int = 5) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0.3, 1, (count, dimension))
    return (values / np.linalg.norm(values, axis=1, keepdims=True) if unit else values).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(1, 9), st.booleans(), st.integers(0, 9999)
)
def test_the_nearest_are_those_of_all_distances(n: int, m: int, k: int, chunk: int, unit: bool, seed: int) -> None:
    a, b = drawn(n, seed, unit), drawn(m, seed + 1, unit)
    indices, similarity = nearest(a, b, k, chunk)
    assert indices.shape == similarity.shape == (n, min(k, m))
    assert (indices.dtype, similarity.dtype) == (np.int64, np.float32)
    distances = np.linalg.norm(a[:, None].astype(np.float64) - b, axis=2)
    found = np.take_along_axis(distances, indices, axis=1)
    np.testing.assert_allclose(found, np.sort(distances, axis=1)[:, :k], atol=1e-5)
    assert all(len(set(row.tolist())) == len(row) for row in indices)
    expected = np.einsum("nd,nkd->nk", a, b[indices]) if unit else -(found**2) / 2
    np.testing.assert_allclose(similarity, expected, atol=1e-5)
    assert (np.diff(similarity, axis=1) <= 0).all()


def test_two_nearest_both_ways_make_the_mutual_matches() -> None:
    a, b = drawn(300, 0, True), drawn(200, 1, True)
    there, back = nearest(a, b, 1)[0][:, 0], nearest(b, a, 1)[0][:, 0]
    expected = [(i, int(j)) for i, j in enumerate(there) if back[j] == i]
    assert mutual_nearest(a, b, 1.0).indices.tolist() == [list(pair) for pair in expected]


def test_empty_sets_have_no_neighbours() -> None:
    assert nearest(drawn(3, 0, True), np.empty((0, 5), np.float32), 4)[0].shape == (3, 0)
    assert nearest(np.empty((0, 5), np.float32), drawn(3, 0, True), 2)[1].shape == (0, 2)


def test_tensors_and_half_precision_are_taken() -> None:
    a, b = drawn(50, 0, True), drawn(60, 1, True)
    expected = nearest(a, b, 3)
    for given_ in (torch.from_numpy, lambda x: x.astype(np.float16)):
        assert (nearest(given_(a), given_(b), 3)[0] == expected[0]).mean() > 0.95


@pytest.mark.parametrize(
    ("a", "b", "k", "words"),
    [
        (drawn(3, 0, True), drawn(3, 0, True), 0, "k is 0"),
        (drawn(3, 0, True), drawn(3, 0, True, 6), 1, "one describer for both"),
        (drawn(3, 0, True), np.full((2, 5), np.nan, np.float32), 1, "descriptors b are not finite"),
        (drawn(3, 0, True)[0], drawn(3, 0, True), 1, r"give \(N, D\)"),
    ],
)
def test_wrong_input_is_refused(a: np.ndarray, b: np.ndarray, k: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        nearest(a, b, k)


@pytest.mark.slow
def test_ten_of_ten_thousand_by_ten_thousand_fit_in_150_megabytes() -> None:
    assert bytes_of("nearest", "(result[0][:, 0] == torch.arange(10000).numpy()).all()", ", 10") < 150e6


def test_matches_keep_their_probability() -> None:
    plain = RowMatches(np.array([[0, 1], [2, 3]]), np.ones(2, np.float32), np.ones(2, np.float32))
    assert plain.take(np.array([True, False])).probability is None
    known = RowMatches(plain.indices, plain.similarity, plain.ratio, np.array([0.6, 0.9], np.float32))
    assert known.take(np.array([1])).probability == pytest.approx([0.9])


def test_the_ratio_rule_of_match_is_the_one_to_the_first_apart(pair: Pair) -> None:
    """Every keypoint of b has a double 1 px beside it."""
    a, b = (describe(image, "rootsift", max_keypoints=300) for image in pair)
    beside = np.repeat(b.frames, 2, axis=0)
    beside[1::2, 0, 2] += 1
    b = replace(b, frames=beside, descriptors=np.repeat(b.descriptors, 2, axis=0))
    second, apart = match(a, b, ratio=0.8), match(a, b, ratio=0.8, ratio_rule="fginn")
    expected = mutual_nearest(a.descriptors, b.descriptors, 0.8, places=(a.points, b.points))
    rows = {tuple(row) for row in expected.indices.tolist()}
    assert {tuple(row) for row in apart.rows.indices.tolist()} <= rows
    assert len(second) == 0
    assert len(apart) > 100
    with pytest.raises(InputError, match="no ratio_rule 'third': there are snn, fginn"):
        rules.match(a, b, ratio_rule="third")  # type: ignore[arg-type]
