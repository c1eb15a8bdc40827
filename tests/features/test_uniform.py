from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tiepoint.errors import InputError
from tiepoint.features import uniform as module
from tiepoint.features.uniform import select_uniform, suppression_radii


def brute_radii(points: np.ndarray) -> np.ndarray:
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    apart[np.triu_indices(len(points))] = np.inf
    return apart.min(axis=1, initial=np.inf)


def clustered() -> tuple[np.ndarray, np.ndarray]:
    """1,800 strong points in one corner, 600 weak ones everywhere in 1000x1000 px."""
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(150, 30, (1800, 2)), rng.uniform(0, 1000, (600, 2))])
    return points, np.concatenate([rng.uniform(0.5, 1, 1800), rng.uniform(0, 0.5, 600)])


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(0, 60), st.just(2)), elements=st.integers(0, 12).map(float)),
    st.integers(0, 70),
    st.randoms(use_true_random=False),
)
def test_it_is_a_subset_of_the_count_by_falling_response(points: np.ndarray, count: int, random: object) -> None:
    rng = np.random.default_rng(random.randint(0, 2**32))  # type: ignore[attr-defined]
    responses = rng.integers(0, 9, len(points)).astype(float)
    chosen = select_uniform(points, responses, count)
    assert len(chosen) == min(count, len(points))
    assert len(set(chosen.tolist())) == len(chosen)
    assert (np.diff(responses[chosen]) <= 0).all()
    np.testing.assert_array_equal(chosen, select_uniform(points, responses, count))
    assert set(chosen.tolist()) <= set(select_uniform(points, responses, count + 1).tolist())
    if count and len(points):
        assert chosen[0] == responses.argmax()


@given(hnp.arrays(np.float64, st.tuples(st.integers(2, 80), st.just(2)), elements=st.integers(0, 30).map(float)))
def test_radii_are_those_of_brute_force(points: np.ndarray) -> None:
    np.testing.assert_allclose(suppression_radii(points), brute_radii(points), atol=1e-4)


@pytest.mark.parametrize("order", ["random", "rising outwards", "falling outwards", "one place"])
def test_radii_of_many_points_are_exact(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DISTANCES", 4000)  # several blocks
    points = np.random.default_rng(1).normal(5000, 900, (700, 2))
    if order == "one place":
        points[:] = points[0]
    elif order != "random":
        distance = np.linalg.norm(points - 5000, axis=1)
        points = points[np.argsort(distance if order == "falling outwards" else -distance)]
    np.testing.assert_allclose(suppression_radii(points), brute_radii(points), atol=1e-2)


def test_chosen_points_keep_the_smallest_radius_between_them() -> None:
    points, responses = clustered()
    chosen = points[select_uniform(points, responses, 200)]
    apart = np.linalg.norm(chosen[:, None] - chosen[None], axis=2) + np.diag(np.full(200, np.inf))
    smallest = np.sort(brute_radii(points[np.argsort(-responses)]))[-200]
    assert apart.min() >= smallest - 1e-3


def test_it_covers_more_than_the_strongest() -> None:
    points, responses = clustered()
    cells = [
        set(map(tuple, (points[rows] // 100).astype(int)))
        for rows in (select_uniform(points, responses, 200), np.argsort(-responses)[:200])
    ]
    assert len(cells[0]) > 80
    assert len(cells[1]) < 20


def test_equal_responses_are_spread_too() -> None:
    points, _ = clustered()
    cells = set(map(tuple, (points[select_uniform(points, np.ones(len(points)), 200)] // 100).astype(int)))
    assert len(cells) > 80


@pytest.mark.parametrize(
    ("points", "responses", "count", "words"),
    [
        (np.zeros((3, 3)), np.zeros(3), 1, "give \\(N, 2\\)"),
        (np.zeros((3, 2)), np.zeros(2), 1, "give \\(N, 2\\)"),
        (np.full((3, 2), np.nan), np.zeros(3), 1, "not finite"),
        (np.zeros((3, 2)), np.full(3, np.inf), 1, "not finite"),
        (np.zeros((3, 2)), np.zeros(3), -1, "count is -1"),
    ],
)
def test_bad_input_is_refused(points: np.ndarray, responses: np.ndarray, count: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        select_uniform(points, responses, count)
