from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.evaluation.hpatches.tasks import generate_retrieval, generate_verification, read_or_generate

COUNTS = {"a": 30, "b": 12, "c": 45}
# The first queries of the benchmark's retr_queries_split-a.csv: place in the split's test list, patch.
OFFICIAL = [
    (38, 3), (28, 2), (14, 324), (7, 1263), (20, 604), (38, 795), (18, 534), (22, 1821), (10, 317), (10, 86),
    (23, 1074), (35, 1493), (39, 831), (23, 1066), (2, 1227), (21, 346), (1, 1081), (23, 58), (29, 679), (37, 1709),
]  # fmt: skip


def rows(table: NDArray[np.int64]) -> list[tuple[int, ...]]:
    return [tuple(row) for row in table.tolist()]


def test_pairs_are_what_they_claim() -> None:
    task = generate_verification(COUNTS, 4000)
    assert task.origin == "generated"
    s1, t1, i1, s2, t2, i2 = task.positive.T
    assert (s1 == s2).all()
    assert (i1 == i2).all()
    assert (t1 != t2).all()
    assert set(t1) == set(t2) == {0, 1, 2, 3, 4}  # image 5 is never drawn
    for other in (task.inter, task.intra):
        np.testing.assert_array_equal(other[:, [0, 1, 2, 4]], task.positive[:, [0, 1, 2, 4]])
        assert (other[:, 5] < np.array(list(COUNTS.values()))[other[:, 3]]).all()
    assert (task.intra[:, 3] == s1).all()
    assert (task.intra[:, 5] != i1).all()
    assert (task.inter[:, 3] == s1).mean() == pytest.approx(1 / 3, abs=0.05)  # may be the same sequence
    assert np.bincount(s1) / 4000 == pytest.approx([1 / 3] * 3, abs=0.05)


def test_pairs_follow_the_benchmarks_draws_one_by_one() -> None:
    np.random.seed(42)  # noqa: NPY002
    names = list(COUNTS)
    sequence = np.random.choice(names, 50)  # noqa: NPY002
    lengths = [COUNTS[s] for s in sequence]
    patches = [np.random.choice(np.arange(k), 2, replace=False) for k in lengths]  # noqa: NPY002
    types = [np.random.choice(np.arange(5), 2, replace=False) for _ in lengths]  # noqa: NPY002
    other = np.random.choice(names, 50)  # noqa: NPY002
    far = [np.random.randint(COUNTS[s]) for s in other]  # noqa: NPY002
    task = generate_verification(COUNTS, 50)
    np.testing.assert_array_equal(task.positive[:, 0], [names.index(s) for s in sequence])
    np.testing.assert_array_equal(task.intra[:, [2, 5]], patches)
    np.testing.assert_array_equal(task.positive[:, [1, 4]], types)
    np.testing.assert_array_equal(task.inter[:, 3], [names.index(s) for s in other])
    np.testing.assert_array_equal(task.inter[:, 5], far)


def test_the_first_queries_are_the_official_ones() -> None:
    lengths = np.full(40, 2000)
    lengths[[10, 14, 18, 35]] = 430, 1102, 720, 1500  # the few whose length decides a draw among these
    task = generate_retrieval([np.full(length, 50.0) for length in lengths])
    assert rows(task.queries[:20]) == OFFICIAL
    assert (len(task.queries), len(task.distractors)) == (10_000, 20_000)


def test_queries_and_distractors_have_contrast_and_come_once() -> None:
    rng = np.random.default_rng(0)
    contrasts = [rng.uniform(0, 30, count) for count in (200, 150, 300)]
    task = generate_retrieval(contrasts, 60, 150)
    queries, distractors = rows(task.queries), rows(task.distractors)
    assert len(set(queries)) == len(queries) == 60
    assert len(set(distractors)) == len(distractors) == 150
    assert not set(queries) & set(distractors)
    assert all(contrasts[s][i] > 10 for s, i in queries + distractors)
    assert rows(generate_retrieval(contrasts, 60, 150).queries) == queries


def test_few_patches_give_short_lists_and_none_an_error() -> None:
    few = generate_retrieval([np.full(6, 20.0), np.full(7, 20.0)], 10, 100)
    assert len(few.queries) == 4
    assert len(few.distractors) == 9
    for contrasts in ([np.full(50, 10.0)], [np.full(2, 20.0)]):
        with pytest.raises(InputError, match="contrast above 10"):
            generate_retrieval(contrasts, 4, 100)
    with pytest.raises(InputError, match="v_b: has a single patch"):
        generate_verification({"v_a": 4, "v_b": 1}, 10)


def test_both_tasks_are_drawn_where_there_is_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiepoint.evaluation.hpatches.tasks.generate_verification", lambda counts: counts)
    patches = np.random.default_rng(0).integers(0, 255, (40, 65, 65)).astype(np.uint8)
    patches[::2] //= 8  # a standard deviation of 9: too flat
    verification, retrieval = read_or_generate(None, "full", {"v_a": 40, "v_b": 40}, lambda name: patches)
    assert verification == {"v_a": 40, "v_b": 40}
    chosen = np.concatenate([retrieval.queries, retrieval.distractors])
    assert (chosen[:, 1] % 2 == 1).all()
