from __future__ import annotations

import numpy as np
import pytest
from hpatches_oracle import matching, retrieval, verification
from numpy.typing import NDArray

from tiepoint.data.readers.hpatches import STRIPS
from tiepoint.errors import InputError
from tiepoint.evaluation.distances import METRICS
from tiepoint.evaluation.hpatches.generate import generate_retrieval, generate_verification
from tiepoint.evaluation.hpatches.matching import MatchingScore, match, summarize
from tiepoint.evaluation.hpatches.ranking import AP_RULES
from tiepoint.evaluation.hpatches.retrieval import retrieve
from tiepoint.evaluation.hpatches.tasks import RetrievalTask, VerificationTask
from tiepoint.evaluation.hpatches.verification import verify

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
    scores = verify(descriptors, task, metric=metric, rule=rule)
    assert [(s.noise, s.negatives) for s in scores] == list(expected)
    for score, (ap, auc) in zip(scores, expected.values(), strict=True):
        assert score.ap == pytest.approx(ap, abs=1e-12)
        assert score.auc == pytest.approx(auc, abs=1e-12)


@pytest.mark.parametrize("rule", AP_RULES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("ties", [False, True])
def test_matching_is_its_definition(ties: bool, metric: str, rule: str) -> None:
    descriptors = made(ties)
    scores = match(descriptors, metric=metric, rule=rule)
    found = {(s.sequence, s.noise, s.image): s.ap for s in scores}
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
    for score in verify(constant, task):
        assert score.auc == 0.0
        assert score.ap < 0.11  # the matches come last: 12 after 60
    assert (retrieve(constant, asked, pools=POOLS) == 1.0).all()
    assert all(score.success == pytest.approx(1 / COUNTS[score.sequence]) for score in match(constant))


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
    assert match(descriptors) != match(spoilt)
    assert (retrieve(descriptors, asked, pools=POOLS) != retrieve(spoilt, asked, pools=POOLS)).all()


def test_averaging_weighs_pairs_or_types_of_sequence() -> None:
    aps = {"i_a": 0.9, "v_b": 0.3, "v_c": 0.6}
    scores = [MatchingScore(s, n, i, ap, ap) for s, ap in aps.items() for n in "eht" for i in range(1, 6)]
    python, article = summarize(scores), summarize(scores, "article")
    assert python["e"] == pytest.approx({"ap": 0.6, "success": 0.6, "i": 0.9, "v": 0.45})
    assert article["t"] == pytest.approx({"ap": 0.675, "success": 0.6, "i": 0.9, "v": 0.45})
    views = summarize([s for s in scores if s.sequence != "i_a"], "article")
    assert views["h"] == pytest.approx({"ap": 0.45, "success": 0.45, "v": 0.45})
    with pytest.raises(InputError, match=r"i_\.\.\. or v_"):
        summarize([MatchingScore("graf", "e", 1, 0.5, 0.5)], "article")
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
