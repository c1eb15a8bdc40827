"""The table of a batch of registrations, in memory, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from tiepoint.batch.pair_list import Pair
from tiepoint.files import write_json, write_text
from tiepoint.names import cell
from tiepoint.parsed import Count, Number, Share
from tiepoint.version import __version__

Line = tuple[Number, Number, Number]
COLUMNS = ("name", "a", "b", "accepted", "confidence", "reasons", "inliers", "rms", "matrix", "seconds", "error")


class Result(TypedDict):
    """What a row needs of the result of a pair that an earlier run registered."""

    accepted: bool
    confidence: Share
    reasons: list[str]
    inliers: Count
    rms: Number | None
    matrix: tuple[Line, Line, Line] | None
    seconds: Number
    made_from: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """What became of a pair. Without a registration there are no numbers."""

    name: str  # of the pair and of its folder
    a: str  # path of the image that was registered; empty if it is missing
    b: str  # path of the one it was registered to; likewise
    accepted: bool = False  # the verdict; False where there is none
    confidence: float | None = None  # see `Registration`
    reasons: tuple[str, ...] = ()  # why it was refused
    inliers: int | None = None  # tie points
    rms: float | None = None  # of their residuals, pixels of b; None if refused
    matrix: tuple[tuple[float, ...], ...] | None = None  # (3, 3), maps a pixel (x, y, 1) of a to b; None if refused
    seconds: float = 0.0
    error: str | None = None  # type and message of what made the pair fail
    reused: bool = False  # whether an earlier run had done it

    @classmethod
    def of(cls, pair: Pair, result: Mapping[str, Any], reused: bool = False) -> Row:
        """The row of a pair whose `Registration.to_json`, with the seconds, is `result`."""
        matrix = result["matrix"]
        return cls(
            pair.name, str(pair.a or ""), str(pair.b or ""), bool(result["accepted"]), float(result["confidence"]),
            tuple(result["reasons"]), int(result["inliers"]), result["rms"],
            None if matrix is None else tuple(map(tuple, matrix)), float(result["seconds"]), None, reused,
        )  # fmt: skip

    @classmethod
    def failed(cls, pair: Pair, error: str, seconds: float = 0.0) -> Row:
        """The row of a pair without a registration."""
        return cls(pair.name, str(pair.a or ""), str(pair.b or ""), seconds=seconds, error=error)

    @property
    def verdict(self) -> Literal["accepted", "refused", "failed"]:
        """In one word."""
        return "failed" if self.error is not None else "accepted" if self.accepted else "refused"

    def to_json(self) -> dict[str, Any]:
        """Plain values by the names of COLUMNS."""
        values = asdict(self)
        return {name: values[name] for name in COLUMNS}


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many pairs there are of each verdict, and how many an earlier run had done."""
    found = Counter(row.verdict for row in rows)
    return {
        "pairs": len(rows), "accepted": found["accepted"], "refused": found["refused"], "failed": found["failed"],
        "reused": sum(row.reused for row in rows),
    }  # fmt: skip


def write_summary(out: Path, rows: Sequence[Row], of: int) -> None:
    """Write summary.csv and summary.json of the rows so far, of which there will be `of`.

    In the CSV reasons stand between "; ", and the nine numbers of a matrix, row by row, between spaces. Text in which a
    spreadsheet would see a formula starts with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        matrix = " ".join(repr(value) for line in row.matrix or () for value in line)
        cells = row.to_json() | {"reasons": "; ".join(row.reasons), "matrix": matrix}
        cells |= {name: cell(cells[name] or "") for name in ("name", "a", "b", "reasons", "error")}
        cells["accepted"] = str(row.accepted).lower()
        writer.writerow(["" if cells[name] is None else cells[name] for name in COLUMNS])
    summary = {"tiepoint": __version__, "of": of, **counts(rows), "rows": [row.to_json() for row in rows]}
    write_json(out / "summary.json", summary)
    write_text(out / "summary.csv", text.getvalue())
