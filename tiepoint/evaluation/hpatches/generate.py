"""Drawing the tasks of HPatches where the official files are not at hand.

The draws follow the benchmark's own, number by number: numpy's legacy generator, seed 42, the same calls in the same
order. With the test list in the order of splits.json they agree with the first rows of official files, as far as that
can be told without the data. Whole files were never compared, so bit-equality is not claimed; and with another order,
or with data that are not complete, the tasks are others, if as hard. Results on drawn tasks say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.evaluation.hpatches.tasks import RetrievalTask, Table, VerificationTask, read_retrieval, read_verification

SEED = 42
PAIRS, QUERIES, DISTRACTORS = 1_000_000, 10_000, 20_000
TYPES = 5  # images 0..4 are drawn: image 5 never takes part
MIN_CONTRAST = 10.0  # standard deviation of a query or distractor, grey values


def read_or_generate(
    folder: str | Path | None,
    split: str,
    counts: Mapping[str, int],
    reference: Callable[[str], NDArray[np.uint8]],
) -> tuple[VerificationTask, RetrievalTask]:
    """Read the tasks of a split, and draw what the folder does not hold.

    Args:
        folder: of official task files; None draws both tasks.
        split: its name.
        counts: patches of each sequence of the test list, in the list's order.
        reference: gives the reference patches (n, S, S) of a sequence; called where queries are drawn.

    Raises:
        InputError: a folder that holds neither task, or as reading and drawing.
    """
    verification = read_verification(folder, split, counts) if folder else None
    retrieval = read_retrieval(folder, split, counts) if folder else None
    if folder and not verification and not retrieval:
        raise InputError(f"{folder}: holds no task files of split {split}: give the benchmark's folder tasks/")
    if not retrieval:
        retrieval = generate_retrieval([reference(name).std(axis=(1, 2)) for name in counts])
    return verification or generate_verification(counts), retrieval


def generate_verification(counts: Mapping[str, int], pairs: int = PAIRS) -> VerificationTask:
    """Draw matches and two kinds of non-matches, all three with the same first patches.

    For each pair a sequence, two different patches of it and two different images out of 0..4: the match takes the
    first patch twice, "intra" the two patches, "inter" the first and one of a sequence drawn anew, possibly the same.
    A million pairs take about half a minute, since the official draw shuffles a whole sequence for every pair.

    Args:
        counts: patches of each sequence of the test list, in the list's order.
        pairs: of each kind.

    Raises:
        InputError: a sequence of one patch alone.
    """
    for name, count in counts.items():
        if count < 2:
            raise InputError(f"{name}: has a single patch, verification draws two of a sequence: leave it out")
    lengths = np.array(list(counts.values()))
    rng = np.random.RandomState(SEED)
    sequence = rng.choice(len(lengths), pairs)
    patches = _first_two(rng, lengths[sequence])
    types = _first_two(rng, np.full(pairs, TYPES))
    other = rng.choice(len(lengths), pairs)
    other_patch = rng.randint(lengths[other])

    def table(second: NDArray[np.int64], patch: NDArray[np.int64]) -> Table:
        return np.stack([sequence, types[:, 0], patches[:, 0], second, types[:, 1], patch], axis=1)

    return VerificationTask(
        table(sequence, patches[:, 0]), table(other, other_patch), table(sequence, patches[:, 1]), "generated"
    )


def _first_two(rng: np.random.RandomState, lengths: NDArray[np.int64]) -> Table:
    """Two different numbers below each length (K, 2), the first of a permutation: so the official draw has them."""
    drawn = np.empty((len(lengths), 2), dtype=np.int64)
    for row, length in enumerate(lengths.tolist()):
        drawn[row] = rng.permutation(length)[:2]
    return drawn


def generate_retrieval(
    contrasts: Sequence[NDArray[np.floating]], queries: int = QUERIES, distractors: int = DISTRACTORS
) -> RetrievalTask:
    """Draw queries and distractors among the patches of reference images whose contrast exceeds MIN_CONTRAST.

    No patch comes twice, in either list or in both. Small data give shorter lists, and a third of the patches at most
    are queries, so that distractors remain.

    Args:
        contrasts: for each sequence of the test list (n,) standard deviations of its reference patches, grey values.
        queries: at most.
        distractors: at most.

    Raises:
        InputError: no query or no distractor was found.
    """
    lengths = np.array([len(values) for values in contrasts])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    high = np.concatenate(contrasts) > MIN_CONTRAST
    rng = np.random.RandomState(SEED)

    def draw(count: int) -> NDArray[np.int64]:
        """Rows of all reference patches in the order drawn, without the flat ones and without repetitions."""
        sequence = rng.choice(len(lengths), count)
        rows = starts[sequence] + rng.randint(lengths[sequence])
        rows = rows[high[rows]]
        return np.asarray(rows[np.sort(np.unique(rows, return_index=True)[1])])

    first, second = draw(4 * queries), draw(10 * distractors)
    asked = first[: min(queries, int(high.sum()) // 3)]
    others = second[~np.isin(second, asked)][:distractors]
    if not len(asked) or not len(others):
        raise InputError(f"retrieval: too few reference patches with a contrast above {MIN_CONTRAST:g} grey values")

    def table(rows: NDArray[np.int64]) -> Table:
        sequence = np.searchsorted(starts, rows, side="right") - 1
        return np.stack([sequence, rows - starts[sequence]], axis=1)

    return RetrievalTask(table(asked), table(others), "generated")
