from __future__ import annotations

import numpy as np
import pytest
from hpatches_oracle import matching, retrieval, verification
from numpy.typing import NDArray

from tiepoint.data.readers.hpatches import STRIPS
from tiepoint.errors import InputError
from tiepoint.evaluation.distances import METRICS
from tiepoint.evaluation.hpatches.measures import AP_RULES, match, retrieve, summarize, verify
from tiepoint.evaluation.hpatches.tasks import (
    RetrievalTask,
    VerificationTask,
    generate_retrieval,
    generate_verification,
)

COUNTS = {"i_a": 9, "v_b": 14, "v_c": 11}
POOLS = (7, 12, 25, 60)


def made(ties: bool, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Descriptors whose strips differ from their reference; of few small integers, distances are often equal."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, count in COUNTS.items():
        reference = rng.standard_normal((count, 6))
        strips = reference + 0.6 * rng.standard_normal((len(STRIPS), count, 6))
        strips[0] = reference
        found[name] = (np.round(strips / 1.5) if ties else strips).astype(np.float32)
        found[name][:, 3] = 0  # as of a constant patch
    return found


def tasks() -> tuple[VerificationTask, RetrievalTask]:
    contrasts = [np.full(count, 20.0) for count in COUNTS.values()]
    return generate_verification(COUNTS, 60), generate_retrieval(contrasts, 8, 22)


@pytest.mark.parametrize("rule", AP_RULES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("ties", [False, True])
def test_verification_is_its_definition(ties: bool, metric: str, rule: str) -> None:
    descriptors, (task, _) = made(ties), tasks()
    expected = verification(descriptors, task, metric, rule)
    found = verify(descriptors, task, metric=metric, rule=rule)
    assert [(noise, kind) for noise in "eht" for kind in found[noise]] == list(expected)
    for (noise, kind), (ap, auc) in expected.items():
        assert found[noise][kind] == pytest.approx({"ap": ap, "auc": auc}, abs=1e-12)
    means = np.mean(list(expected.values()), axis=0)
    assert (found["mean_ap"], found["mean_auc"]) == pytest.approx(tuple(means), abs=1e-12)


@pytest.mark.parametrize("rule", AP_RULES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("ties", [False, True])
def test_matching_is_its_definition(ties: bool, metric: str, rule: str) -> None:
    descriptors = made(ties)
    scores = match(descriptors, metric=metric, rule=rule)
    found = {
        (sequence, noise, image): score[row, image - 1, 0]
        for sequence, score in scores.items()
        for row, noise in enumerate("eht")
        for image in range(1, 6)
    }
    assert found == pytest.approx(matching(descriptors, metric, rule), abs=1e-12)


@pytest.mark.parametrize("rule", AP_RULES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("ties", [False, True])
def test_retrieval_is_its_definition(ties: bool, metric: str, rule: str) -> None:
    descriptors, (_, task) = made(ties), tasks()
    found = retrieve(descriptors, task, pools=POOLS, metric=metric, rule=rule)
    np.testing.assert_allclose(found, retrieval(descriptors, task, POOLS, metric, rule), atol=1e-12)
    assert (np.diff(found, axis=1) <= 1e-12).all()  # a larger pool is never easier


def test_ties_count_against_verification_and_for_retrieval() -> None:
    constant = {name: np.ones_like(strips) for name, strips in made(False).items()}
    task, asked = tasks()
    found = verify(constant, task)
    for score in (found[noise][kind] for noise in "eht" for kind in ("inter", "intra")):
        assert score["auc"] == 0.0
        assert score["ap"] < 0.11  # the matches come last: 12 after 60
    assert (retrieve(constant, asked, pools=POOLS) == 1.0).all()
    for sequence, score in match(constant).items():
        np.testing.assert_allclose(score[..., 1], 1 / COUNTS[sequence])


def test_distractors_of_the_querys_sequence_do_not_count() -> None:
    descriptors = made(False)
    queries = np.array([[1, 0]])
    own = RetrievalTask(queries, np.array([[1, i] for i in range(1, 14)] + [[0, 0]]), "official")
    other = RetrievalTask(queries, np.array([[0, 0]]), "official")
    np.testing.assert_array_equal(retrieve(descriptors, own, pools=POOLS), retrieve(descriptors, other, pools=POOLS))


def test_image_5_counts_in_matching_and_retrieval_and_never_in_verification() -> None:
    descriptors, spoilt = made(False), made(False)
    for strips in spoilt.values():
        for noise in "eht":
            strips[STRIPS.index(f"{noise}5")] = 0
    task, asked = tasks()
    assert verify(descriptors, task) == verify(spoilt, task)
    changed = [(match(descriptors)[name] != match(spoilt)[name]).any(axis=2) for name in COUNTS]
    assert np.all(changed, axis=(0, 1)).tolist() == [False] * 4 + [True]
    assert (retrieve(descriptors, asked, pools=POOLS) != retrieve(spoilt, asked, pools=POOLS)).all()


def test_averaging_weighs_pairs_or_types_of_sequence() -> None:
    scores = {name: np.full((3, 5, 2), ap) for name, ap in {"i_a": 0.9, "v_b": 0.3, "v_c": 0.6}.items()}
    python, article = summarize(scores), summarize(scores, "article")
    assert python["e"] == pytest.approx({"ap": 0.6, "success": 0.6, "i": 0.9, "v": 0.45})
    assert article["t"] == pytest.approx({"ap": 0.675, "success": 0.6, "i": 0.9, "v": 0.45})
    assert (python["mean_ap"], article["mean_ap"]) == pytest.approx((0.6, 0.675))
    views = summarize({name: scores[name] for name in ("v_b", "v_c")}, "article")
    assert views["h"] == pytest.approx({"ap": 0.45, "success": 0.45, "v": 0.45})
    with pytest.raises(InputError, match=r"i_\.\.\. or v_"):
        summarize({"graf": np.full((3, 5, 2), 0.5)}, "article")
    with pytest.raises(InputError, match="averaging 'matlab': there are python, article"):
        summarize(scores, "matlab")  # type: ignore[arg-type]


def test_what_cannot_be_measured_is_refused() -> None:
    descriptors, (task, asked) = made(False), tasks()
    few = VerificationTask(task.positive[:4], task.inter[:4], task.intra[:4], "official")
    with pytest.raises(InputError, match="4 matches, needs at least 5"):
        verify(descriptors, few)
    for pools in ((), (5, 10), (20, 10), (10, 10)):
        with pytest.raises(InputError, match="rising sizes above 5"):
            retrieve(descriptors, asked, pools=pools)
    with pytest.raises(InputError, match="all distractors are of a query's own sequence"):
        RetrievalTask(np.array([[0, 0], [1, 0]]), np.array([[1, 2], [1, 3]]), "generated")
