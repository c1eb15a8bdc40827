"""`tiepoint register PAIRS.csv` and `tiepoint register DIR_A DIR_B`: many pairs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiepoint.cli.output import emit, emit_table, progress_bar
from tiepoint.errors import InputError

if TYPE_CHECKING:
    from tiepoint.imaging.by_size import Large


def many(a: Path, b: Path) -> bool:
    """Whether two arguments mean many pairs: folders both. Raises InputError for a folder and a file, or a table."""
    if a.is_dir() != b.is_dir():
        folder, file = (a, b) if a.is_dir() else (b, a)
        raise InputError(f"{folder} is a folder and {file} is none: name two images or two folders")
    if table := next((path for path in (a, b) if path.suffix.lower() == ".csv"), None):
        raise InputError(f"{table}: a table of pairs stands alone: leave the other argument out")
    return a.is_dir()


def run(
    a: Path,
    b: Path | None,
    out: Path | None,
    describer: str,
    settings: Mapping[str, Any],
    *,
    report: Path | None,
    warped: Path | None,
    large: Large,
    workers: int,
    cache: bool,
    json: bool,
) -> int:
    """Register the pairs of table `a`, or of the folders `a` and `b`. Returns 0 if all are accepted, else 1."""
    if b is None and a.suffix.lower() != ".csv":
        raise InputError(f"{a}: stands alone and is no table of pairs (.csv): name a second image or folder")
    if out is None:
        raise InputError("many pairs need a folder for their results: name one with --out")

    from tiepoint.export.ties import write_placed
    from tiepoint.imaging.batch import register_many
    from tiepoint.imaging.pairs import pair_folders, read_table
    from tiepoint.imaging.summary import counts

    start = time.perf_counter()
    pairs = read_table(a) if b is None else pair_folders(a, b)
    with progress_bar("registering", quiet=json) as advance:
        rows = register_many(
            pairs, out, describer, report=None if report is None else str(report),
            warped=None if warped is None else str(warped), export=write_placed, large=large, workers=workers,
            cache=cache, progress=advance, **settings,
        )  # fmt: skip
    result = {"out": str(out), **counts(rows), "seconds": round(time.perf_counter() - start, 3)}
    if json:
        emit({**result, "rows": [row.to_json() for row in rows]}, True, title="")
    else:
        table = []
        for row in rows:
            why = row.error or "; ".join(row.reasons)
            numbers = (row.confidence, row.inliers, row.rms, row.seconds)
            table.append((row.name, row.verdict, why, *("" if value is None else value for value in numbers)))
        emit_table("Pairs", ("name", "verdict", "why", "confidence", "inliers", "rms", "seconds"), table, words=3)
        emit(result, False, title="Registered")
    return 0 if all(row.accepted for row in rows) else 1
