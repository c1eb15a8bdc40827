"""Task files of HPatches: the pairs to verify, and the queries and distractors of retrieval.

Matching needs none. `generate` draws what the user has no files for.
"""

from __future__ import annotations

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
            raise InputError(
                "retrieval: all distractors are of a query's own sequence, where they do not count: give two sequences"
            )


def read_verification(folder: str | Path, split: str, counts: Mapping[str, int]) -> VerificationTask | None:
    """Read verif_pos_split-NAME.csv, verif_neg_inter_... and verif_neg_intra_...; None if the folder holds none.

    Args:
        folder: of the task files.
        split: its name.
        counts: patches of each sequence of the test list, in the list's order.

    Raises:
        InputError: one of the files is missing, of another form or length, or names a patch that there is not.
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
    except ValueError as error:  # UnicodeDecodeError included
        raise (
            error if isinstance(error, InputError) else InputError(f"{path}: not a table of tasks ({error})")
        ) from None
    if table.shape[1:] != (len(columns),):
        raise InputError(f"{path}: every line must hold {','.join(columns)}")
    _check(path, table, columns, np.array(list(counts.values())))
    return table


def _check(path: Path, table: Table, columns: Sequence[str], counts: NDArray[np.int64]) -> None:
    wrong = np.zeros(len(table), dtype=bool)
    for k, column in enumerate(columns):
        if column.startswith("s"):
            wrong |= table[:, k] < 0
        elif column.startswith("t"):
            wrong |= (table[:, k] < 0) | (table[:, k] > 5)
        else:
            sequence = columns.index("s" + column.removeprefix("idx"))
            wrong |= (table[:, k] < 0) | (table[:, k] >= counts[table[:, sequence]])
    if wrong.any():
        raise InputError(
            f"{path}: line {int(wrong.argmax()) + 2} names a patch that the data lack: are they complete, and is it "
            "the task file of this split?"
        )
