"""Generalised least squares against its textbook form, and the choice of the transform."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiepoint.geometry.gls import PARAMETERS, REACH, SMOOTH, TYPICAL_BEND, evidence, fit_gls
from tiepoint.geometry.least_squares import least_squares
from tiepoint.geometry.robust import MODELS, Model, apply, corner_error, estimate
from tiepoint.geometry.select_model import select_model

SIZE = (640, 480)
CENTRE, HALF = np.array([319.5, 239.5]), 400.0
TURN = 1.1 * np.array([[math.cos(0.2), -math.sin(0.2)], [math.sin(0.2), math.cos(0.2)]])
TRUTHS: dict[Model, np.ndarray] = {
    "similarity": np.vstack([np.column_stack([TURN, [9, -20]]), [0, 0, 1]]),
    "affine": np.vstack([np.column_stack([TURN @ [[1.03, 0.02], [0.02, 0.97]], [9, -20]]), [0, 0, 1]]),
    "homography": np.array([[1.08, -0.22, 9], [0.22, 1.08, -20], [5e-5, -4e-5, 1]]),
}


def covariance(a: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of the errors at points a, but for a factor, entry by entry as the module writes it."""
    count = len(a)
    result = np.empty((count, count))
    for i in range(count):
        for k in range(count):
            apart = math.dist(a[i], a[k]) / HALF
            result[i, k] = SMOOTH * math.exp(-(apart**2) / (2 * REACH**2)) + (weights.mean() / weights[i]) * (i == k)
    return result


def places(truth: np.ndarray, noise: float, seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of a, of b with errors alike where they are near, and weights."""
    random = np.random.default_rng(seed)
    a, weights = random.uniform((0, 0), (639, 479), (count, 2)), random.uniform(0.2, 1, count)
    errors = np.linalg.cholesky(covariance(a, weights)) @ random.normal(scale=noise, size=(count, 2))
    return a, apply(truth, a) + errors, weights


def by_the_book(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """The affine map of least generalised squares, and the log odds of an affine map against a similarity."""
    unit = (a - CENTRE) / HALF
    x, y = unit[:, 0], unit[:, 1]
    one, none = np.ones(len(a)), np.zeros(len(a))
    design = np.vstack([np.column_stack([x, y, one, none, none, none]), np.column_stack([none, none, none, x, y, one])])
    whole = np.kron(np.eye(2), covariance(a, weights))
    inverse = np.linalg.inv(whole)
    target = b.T.ravel()
    best = np.linalg.solve(design.T @ inverse @ design, design.T @ inverse @ target)
    missed = target - design @ best
    variance = missed @ inverse @ missed / (2 * len(a) - 6)
    matrix = np.vstack([best.reshape(2, 3), [0, 0, 1]]) @ [
        [1 / HALF, 0, -CENTRE[0] / HALF], [0, 1 / HALF, -CENTRE[1] / HALF], [0, 0, 1],
    ]  # fmt: skip
    # Marginal likelihoods: a wide prior of the similarity, and one of the bend or none.
    scale = complex(best[0] + best[4], best[3] - best[1]) / 2
    z = x + 1j * y
    alike = np.column_stack([np.r_[np.real(c), np.imag(c)] for c in (z, 1j * z, one, 1j * one)])
    bends = np.column_stack([np.r_[np.real(c), np.imag(c)] for c in (scale * z.conj(), 1j * scale * z.conj())])
    plain = variance * whole + 1e7 * alike @ alike.T
    likelihoods = []
    for total in (plain + TYPICAL_BEND**2 * bends @ bends.T, plain):
        likelihoods.append(-0.5 * (np.linalg.slogdet(total)[1] + target @ np.linalg.solve(total, target)))
    return matrix, likelihoods[0] - likelihoods[1]


@pytest.mark.parametrize("truth", ["similarity", "affine"])
def test_fit_and_evidence_are_those_of_the_textbook(truth: Model) -> None:
    for seed in range(4):
        a, b, weights = places(TRUTHS[truth], 1.0, seed)
        start = least_squares(a, b, "affine")
        assert start is not None
        found = fit_gls(a, b, "affine", start, SIZE, threshold=100, weights=weights)
        assert found is not None
        matrix, odds = by_the_book(a, b, weights)
        assert corner_error(found, matrix, *SIZE) < 1e-2
        spoken = evidence(a, b, "affine", found, SIZE, threshold=100, weights=weights)
        assert list(spoken) == ["similarity", "affine"]
        # Ours are linear about the bend that was found, the book's about none.
        assert spoken["affine"] - spoken["similarity"] == pytest.approx(odds, abs=0.03, rel=0.02)


@pytest.mark.parametrize("model", MODELS)
def test_it_errs_less_than_least_squares_where_errors_are_alike(model: Model) -> None:
    ours, plain = [], []
    for seed in range(20):
        a, b, weights = places(TRUTHS[model], 0.5, seed)
        start = least_squares(a, b, model)
        assert start is not None
        found = fit_gls(a, b, model, start, SIZE, threshold=100, weights=weights)
        assert found is not None
        ours.append(corner_error(found, TRUTHS[model], *SIZE))
        plain.append(corner_error(start, TRUTHS[model], *SIZE))
    assert np.mean(ours) < np.mean(plain)


@settings(deadline=None, max_examples=40)
@given(
    st.floats(-math.pi, math.pi), st.floats(0.3, 3), st.floats(-300, 300), st.floats(-0.2, 0.2), st.floats(-0.2, 0.2),
    st.floats(-3e-4, 3e-4), st.floats(-3e-4, 3e-4),
)  # fmt: skip
def test_exact_correspondences_give_their_homography(
    turn: float, zoom: float, shift: float, stretch: float, shear: float, p: float, q: float
) -> None:
    c, s = zoom * math.cos(turn), zoom * math.sin(turn)
    truth = np.array([[c, -s, shift], [s, c, -shift], [0, 0, 1]]) @ [[1 + stretch, shear, 0], [0, 1, 0], [p, q, 1]]
    a = np.random.default_rng(0).uniform((0, 0), (639, 479), (40, 2))
    found = fit_gls(a, apply(truth, a), "homography", truth, SIZE, threshold=1)
    assert found is not None
    assert corner_error(found, truth, *SIZE) < 1e-3 * corner_error(truth, np.diag([1e-9, 1e-9, 1]), *SIZE)


@pytest.mark.parametrize("truth", MODELS)
def test_the_model_of_the_truth_is_chosen(truth: Model) -> None:
    for seed in range(10):
        a, b, weights = places(TRUTHS[truth], 0.15, seed, 120)
        fit, model = select_model(a, b, size=SIZE, weights=weights)
        assert model == truth
        assert fit.matrix is not None
        assert corner_error(fit.matrix, TRUTHS[truth], *SIZE) < 1.5
        assert fit.inliers.all()


def test_outliers_and_what_bends_as_chance_would_leave_a_similarity() -> None:
    for seed in range(10):
        a, b, weights = places(TRUTHS["similarity"], 0.7, seed, 120)
        b[:40] = np.random.default_rng(seed).uniform((0, 0), SIZE, (40, 2))
        fit, model = select_model(a, b, size=SIZE, weights=weights)
        assert model == "similarity"
        assert fit.matrix is not None
        assert corner_error(fit.matrix, TRUTHS["similarity"], *SIZE) < 5


def test_few_correspondences_keep_the_robust_fit_of_the_simplest() -> None:
    a, b, _ = places(TRUTHS["similarity"], 0.1, 0, 7)
    fit, model = select_model(a, b, size=SIZE)
    assert model == "similarity"
    plain = estimate(a, b, "similarity", size=SIZE)
    np.testing.assert_array_equal(fit.matrix, plain.matrix)
    assert fit_gls(a, b, "similarity", TRUTHS["similarity"], SIZE, threshold=3) is None
    fit, model = select_model(a[:3], b[:3])
    assert (fit.matrix, fit.reason, model) == (None, "fewer than 4 different matches", "homography")


def test_thousands_of_matches_are_thinned() -> None:
    a, b, _ = places(TRUTHS["homography"], 0.1, 0, 300)
    many = np.tile(np.hstack([a, b]), (10, 1)) + np.random.default_rng(1).normal(scale=0.3, size=(3000, 4))
    fit, model = select_model(many[:, :2], many[:, 2:], size=SIZE)
    assert model == "homography"
    assert fit.matrix is not None
    assert corner_error(fit.matrix, TRUTHS["homography"], *SIZE) < 1
    assert len(fit.inliers) == 3000
    assert fit.inliers.mean() > 0.99


def test_parameters_are_those_of_the_models() -> None:
    assert {model: PARAMETERS[model] for model in MODELS} == {"similarity": 4, "affine": 6, "homography": 8}
