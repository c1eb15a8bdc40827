from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.interpolate import interp1d
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from tiepoint.errors import InputError
from tiepoint.evaluation import RULES, average_precision, fdr95, fpr95, fpr95_matrix, roc, roc_auc, top1
from tiepoint.evaluation.metrics import fpr_at, matrix_scores

Case = tuple[NDArray[np.int64], NDArray[np.float64]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Labels and scores of 2 to 120 pairs; few distinct scores make ties the rule."""
    size = draw(st.integers(2, 120))
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)))
    assume(0 < labels.sum() < size)
    distinct = draw(st.sampled_from([3, 10, 1000]))
    scores = np.array(draw(st.lists(st.integers(-distinct, distinct), min_size=size, max_size=size))) / 8
    return labels, scores


def many(seed: int, size: int = 2000, ties: bool = False) -> Case:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    scores = rng.normal(labels * 1.5, 1.0)
    return labels, np.round(scores, 1) if ties else scores


def reference_roc(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> list[tuple[Fraction, Fraction]]:
    """(FPR, TPR) at every distinct threshold, exact, by counting."""
    matches, others = scores[labels == 1], scores[labels == 0]
    points = [(Fraction(0), Fraction(0))]
    for threshold in sorted(set(scores), reverse=True):
        false, hits = int((others >= threshold).sum()), int((matches >= threshold).sum())
        points.append((Fraction(false, len(others)), Fraction(hits, len(matches))))
    return points


def reference(labels: NDArray[np.int64], scores: NDArray[np.float64], rule: str) -> float:
    """Each rule read aloud."""
    goal = Fraction(19, 20)
    points = reference_roc(labels, scores)
    if rule == "interpolate":
        after = next(i for i, (_, tpr) in enumerate(points) if tpr >= goal)
        (x0, y0), (x1, y1) = points[after - 1], points[after]
        return float(x0 + (x1 - x0) * (goal - y0) / (y1 - y0))
    if rule == "nearest":
        return float(min(points, key=lambda point: (abs(point[1] - goal), point[1], point[0]))[0])
    matches = sorted(scores[labels == 1], reverse=True)
    others = [s for s, label in zip(scores, labels, strict=True) if not label]
    if rule == "hardnet":  # pessimistic: among equal scores the non-matches come first
        ranked = sorted(zip(scores, labels, strict=True), key=lambda item: (-item[0], item[1]))
        hits = 0
        for index, (_, label) in enumerate(ranked):
            hits += label
            if Fraction(int(hits), len(matches)) >= goal:
                return sum(1 for _, label in ranked[:index] if not label) / len(others)
    threshold = matches[min(math.ceil(goal * len(matches)), len(matches) - 1)]
    return sum(-s <= -threshold for s in others) / len(others)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=150, deadline=None)
@given(case=cases())
def test_each_rule_is_its_definition(rule: str, case: Case) -> None:
    assert fpr95(*case, rule=rule) == pytest.approx(reference(*case, rule), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_interpolate_is_scikit_learns_curve_interpolated_by_scipy(seed: int, drop: bool, ties: bool) -> None:
    labels, scores = many(seed, ties=ties)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=drop)
    assert fpr95(labels, scores) == pytest.approx(float(interp1d(tpr, fpr)(0.95)), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_roc_is_scikit_learns(case: Case) -> None:
    expected = roc_curve(*case, drop_intermediate=False)
    for ours, theirs in zip(roc(*case), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_average_precision_and_auc_are_scikit_learns(case: Case) -> None:
    assert average_precision(*case) == pytest.approx(average_precision_score(*case), abs=1e-12)
    assert roc_auc(*case) == pytest.approx(roc_auc_score(*case), abs=1e-12)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=50, deadline=None)
@given(case=cases(), seed=st.integers(0, 1000))
def test_order_and_monotone_changes_of_scale_do_not_matter(rule: str, case: Case, seed: int) -> None:
    labels, scores = case
    order = np.random.default_rng(seed).permutation(len(labels))
    value = fpr95(labels, scores, rule=rule)
    assert fpr95(labels[order], scores[order], rule=rule) == value
    assert fpr95(labels, np.exp(scores / 50) * 3 - 7, rule=rule) == value
    assert fpr95(labels.astype(bool), scores.astype(np.float32), rule=rule) == value


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_rules_are_ordered_and_rates(case: Case) -> None:
    values = {rule: fpr95(*case, rule=rule) for rule in RULES}
    assert all(0 <= value <= 1 for value in values.values())
    assert values["interpolate"] <= values["hardnet"] + 1e-12
    assert values["hardnet"] <= values["hynet"]


def test_a_curve_made_by_hand() -> None:
    """20 matches at 20, 19, ... 1; non-matches beat 0, 18, 19 or all of them."""
    labels = np.array([1] * 20 + [0] * 4)
    scores = np.array([*range(20, 0, -1), 21, 2.5, 1.5, 0.5])
    assert fpr95(labels, scores, rule="hardnet") == 0.5  # the 19th match scores 2; 21 and 2.5 come before it
    assert fpr95(labels, scores, rule="interpolate") == 0.5
    assert fpr95(labels, scores, rule="hynet") == 0.75  # the 20th match scores 1; 1.5 beats it, too
    assert fpr95(labels, scores, rule="nearest") == 0.5
    assert fdr95(labels, scores) == pytest.approx(2 / 21)


@pytest.mark.parametrize("rule", RULES)
def test_perfect_reversed_and_constant_scores(rule: str) -> None:
    labels = np.repeat([1, 0], 40)
    assert fpr95(labels, labels * 1.0, rule=rule) == 0.0
    assert fpr95(labels, -labels * 1.0, rule=rule) == 1.0
    constant = fpr95(labels, np.zeros(80), rule=rule)
    assert constant == pytest.approx(0.95 if rule == "interpolate" else 1.0)


def test_fdr_is_matchnets_error_and_no_fpr() -> None:
    labels, scores = many(3)
    fpr, tpr, _ = roc(labels, scores)
    at = np.flatnonzero(tpr >= 0.95)[0]
    false, hits = fpr[at] * (labels == 0).sum(), tpr[at] * (labels == 1).sum()
    assert fdr95(labels, scores) == pytest.approx(false / (false + hits))
    assert fdr95(labels, scores) != pytest.approx(fpr95(labels, scores), rel=0.05)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("decimals", [1, 8])
def test_a_matrix_gives_what_its_flat_pairs_give(rule: str, grouped: bool, decimals: int) -> None:
    rng = np.random.default_rng(5)
    similarity = np.round(rng.normal(size=(60, 60)) + 1.5 * np.eye(60), decimals).astype(np.float32)
    groups = rng.integers(0, 4, 60) if grouped else None
    kept = np.ones((60, 60), dtype=bool) if groups is None else groups[:, None] == groups[None, :]
    assert fpr95_matrix(similarity, groups, rule) == fpr95(np.eye(60, dtype=int)[kept], similarity[kept], rule=rule)


def test_fpr_at_recalls_lies_on_the_curve() -> None:
    labels, scores = many(7, ties=True)
    recalls = np.array([0.01, 0.5, 0.9, 0.95, 1.0])
    fpr, tpr, _ = roc(labels, scores)
    expected = [fpr[np.flatnonzero(tpr >= recall - 1e-12)[0]] for recall in recalls]
    np.testing.assert_allclose(fpr_at(scores[labels == 1], scores[labels == 0], recalls), expected, atol=1e-12)


def test_top1_counts_a_tie_as_a_miss() -> None:
    similarity = np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.8, 0.1, 0.3]])
    assert top1(similarity) == pytest.approx(1 / 3)
    assert top1(np.eye(4)) == 1.0
    assert top1(np.ones((4, 4))) == 0.0


@pytest.mark.parametrize("metric", [fpr95, fdr95, roc, roc_auc, average_precision])
@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 0, 1], [0.1, float("nan"), 0.2], "1 of 3 scores are NaN"),
        ([1, 0, 2], [0.1, 0.2, 0.3], "0 or 1"),
        ([1, 0, float("nan")], [0.1, 0.2, 0.3], "0 or 1"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "one class"),
        ([0, 0], [0.1, 0.2], "one class"),
        ([], [], "one class"),
        ([1, 0, 1], [0.1, 0.2], "one length"),
        ([[1, 0]], [[0.1, 0.2]], "one length"),
        ([1, 0], ["a", "b"], "real numbers"),
    ],
)
def test_what_cannot_be_measured_is_refused(metric, labels: list, scores: list, message: str) -> None:  # type: ignore[no-untyped-def, type-arg]
    with pytest.raises(InputError, match=message):
        metric(labels, scores)


def test_unknown_rules_and_wrong_matrices_are_refused() -> None:
    with pytest.raises(InputError, match="interpolate, hardnet, hynet, nearest"):
        fpr95([1, 0], [1.0, 0.0], rule="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\(2, 3\)"):
        matrix_scores(np.zeros((2, 3)))
    with pytest.raises(InputError, match="NaN"):
        matrix_scores(np.full((2, 2), np.nan))
    with pytest.raises(InputError, match="no non-match"):
        matrix_scores(np.eye(3), np.arange(3))


def test_integer_and_infinite_scores_are_ordered_too() -> None:
    labels = np.array([1, 1, 0, 0])
    assert fpr95(labels, np.array([3, 2, 1, 0], dtype=np.uint8)) == 0.0
    assert average_precision(labels, np.array([3, 2, 1, 0], dtype=np.uint8)) == 1.0
    assert fpr95(labels, np.array([np.inf, 1.0, 0.0, -np.inf])) == 0.0
