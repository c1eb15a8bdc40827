"""The tasks of HPatches: the pairs to verify, and the queries and distractors of retrieval. Matching needs none.

Where the official files are not at hand they are drawn, as the benchmark's own code does, number by number: numpy's
legacy generator, seed 42, the same calls in the same order. With the test list in the order of splits.json they agree
with the first rows of official files, as far as that can be told without the data. Whole files were never compared, so
bit-equality is not claimed; and with another order, or with data that are not complete, the tasks are others, if as
hard. Results on drawn tasks say so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError

Origin = Literal["official", "generated"]
Table = NDArray[np.int64]
KINDS = ("pos", "neg_inter", "neg_intra")
PAIR_COLUMNS = ("s1", "t1", "idx1", "s2", "t2", "idx2")
PATCH_COLUMNS = ("s", "idx")
SEED = 42
PAIRS, QUERIES, DISTRACTORS = 1_000_000, 10_000, 20_000
IMAGES, TYPES = 6, 5  # images 0..4 are drawn: image 5 never takes part
MIN_CONTRAST = 10.0  # standard deviation of a query or distractor, grey values


@dataclass(frozen=True)
class VerificationTask:
    """Pairs of patches (K, 6): sequence, image 0..5, patch, twice. A sequence is its position in the test list."""

    positive: Table
    inter: Table  # another patch of a random sequence
    intra: Table  # another patch of the same sequence
    origin: Origin


@dataclass(frozen=True)
class RetrievalTask:
    """Patches of reference images (K, 2): sequence, as its position in the test list, and patch.

    Raises InputError if there are queries without any distractor of another sequence: they would count as answered.
    """

    queries: Table
    distractors: Table  # their order counts: smaller pools hold the first ones
    origin: Origin

    def __post_init__(self) -> None:
        sequences = np.unique(self.distractors[:, 0])
        if len(sequences) == 1 and sequences[0] in self.queries[:, 0]:
            fault = "all distractors are of a query's own sequence, where they do not count"
            raise InputError(f"retrieval: {fault}: give two sequences")


def read_or_generate(
    folder: str | Path | None, split: str, counts: Mapping[str, int], reference: Callable[[str], NDArray[np.uint8]]
) -> tuple[VerificationTask, RetrievalTask]:
    """Read the tasks of a split, and draw what the folder of official files does not hold; without one draw both.

    `counts` are the patches of each sequence of the test list, in the list's order, here and below. `reference` gives
    the reference patches (n, S, S) of a sequence, where queries are drawn. Raises InputError for a folder that holds
    neither task, or as reading and drawing.
    """
    verification = read_verification(folder, split, counts) if folder else None
    retrieval = read_retrieval(folder, split, counts) if folder else None
    if folder and not verification and not retrieval:
        raise InputError(f"{folder}: holds no task files of split {split}: give the benchmark's folder tasks/")
    if not retrieval:
        retrieval = generate_retrieval([reference(name).std(axis=(1, 2)) for name in counts])
    return verification or generate_verification(counts), retrieval


def read_verification(folder: str | Path, split: str, counts: Mapping[str, int]) -> VerificationTask | None:
    """Read verif_pos_split-NAME.csv, verif_neg_inter_... and verif_neg_intra_...; None if the folder holds none.

    Raises InputError if one of the files is missing, of another form or length, or names a patch that there is not.
    """
    paths = [Path(folder) / f"verif_{kind}_split-{split}.csv" for kind in KINDS]
    if not _complete(paths):
        return None
    positive, inter, intra = (_read(path, PAIR_COLUMNS, counts) for path in paths)
    for path, table in zip(paths[1:], (inter, intra), strict=True):
        if len(table) != len(positive):
            raise InputError(f"{path}: {len(table)} pairs where {paths[0].name} has {len(positive)}")
    return VerificationTask(positive, inter, intra, "official")


def read_retrieval(folder: str | Path, split: str, counts: Mapping[str, int]) -> RetrievalTask | None:
    """Read retr_queries_split-NAME.csv and retr_distractors_split-NAME.csv. As `read_verification`."""
    paths = [Path(folder) / f"retr_{kind}_split-{split}.csv" for kind in ("queries", "distractors")]
    if not _complete(paths):
        return None
    queries, distractors = (_read(path, PATCH_COLUMNS, counts) for path in paths)
    return RetrievalTask(queries, distractors, "official")


def generate_verification(counts: Mapping[str, int], pairs: int = PAIRS) -> VerificationTask:
    """Draw `pairs` matches and as many non-matches of two kinds, all three with the same first patches.

    For each pair a sequence, two different patches of it and two different images out of 0..4: the match takes the
    first patch twice, "intra" the two patches, "inter" the first and one of a sequence drawn anew, possibly the same.
    A million pairs take about half a minute, since the official draw shuffles a whole sequence for every pair. Raises
    InputError for a sequence of one patch alone.
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

    inter, intra = table(other, other_patch), table(sequence, patches[:, 1])
    return VerificationTask(table(sequence, patches[:, 0]), inter, intra, "generated")


def generate_retrieval(
    contrasts: Sequence[NDArray[np.floating]], queries: int = QUERIES, distractors: int = DISTRACTORS
) -> RetrievalTask:
    """Draw queries and distractors among the patches of reference images whose contrast exceeds MIN_CONTRAST.

    `contrasts` holds for each sequence of the test list (n,) standard deviations of its reference patches, grey values.
    No patch comes twice, in either list or in both. Small data give shorter lists than asked for, and a third of the
    patches at most are queries, so that distractors remain. Raises InputError if no query or no distractor was found.
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


def _first_two(rng: np.random.RandomState, lengths: NDArray[np.int64]) -> Table:
    """Two different numbers below each length (K, 2), the first of a permutation: so the official draw has them."""
    drawn = np.empty((len(lengths), 2), dtype=np.int64)
    for row, length in enumerate(lengths.tolist()):
        drawn[row] = rng.permutation(length)[:2]
    return drawn


def _complete(paths: Sequence[Path]) -> bool:
    missing = [path for path in paths if not path.is_file()]
    if missing and len(missing) < len(paths):
        raise InputError(f"{missing[0]} is missing: the task needs {', '.join(path.name for path in paths)}")
    return not missing


def _read(path: Path, columns: Sequence[str], counts: Mapping[str, int]) -> Table:
    codes = {name: code for code, name in enumerate(counts)}
    converters: dict[int | str, Callable[[str], int]] = {
        k: lambda name: codes.get(name, -1) for k, column in enumerate(columns) if column.startswith("s")
    }
    try:
        with path.open(encoding="utf-8") as file:
            header, start = file.readline().strip(), file.tell()
            if header != ",".join(columns) or not file.readline().strip():
                raise InputError(f"{path}: must hold a line {','.join(columns)} and tasks below it")
            file.seek(start)
            table = np.loadtxt(
                file, dtype=np.int64, delimiter=",", ndmin=2, comments=None, converters=converters, encoding="utf-8"
            )
    except InputError:
        raise
    except ValueError as error:  # UnicodeDecodeError included
        raise InputError(f"{path}: not a table of tasks ({error})") from None
    if table.shape[1:] != (len(columns),):
        raise InputError(f"{path}: every line must hold {','.join(columns)}")
    wrong = (table < 0).any(axis=1)
    for k, column in enumerate(columns):
        if column.startswith("t"):
            wrong |= table[:, k] >= IMAGES
        elif column.startswith("idx"):
            sequence = columns.index("s" + column.removeprefix("idx"))
            wrong |= table[:, k] >= np.array(list(counts.values()))[table[:, sequence]]
    if wrong.any():
        doubt = "are they complete, and is it the task file of this split?"
        raise InputError(f"{path}: line {int(wrong.argmax()) + 2} names a patch that the data lack: {doubt}")
    return table
