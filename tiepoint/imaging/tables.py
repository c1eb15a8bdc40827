"""Tie points as a table."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tiepoint.files import write_text
from tiepoint.imaging.register import Registration

COLUMNS = ("xa", "ya", "xb", "yb", "residual")


def table(registration: Registration) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the columns, and a row a tie point: xa, ya, xb, yb in pixels with centres at integers, residual in
    pixels of b, and probability where the registration has one.
    """
    names = list(COLUMNS)
    parts = [registration.tie_points, np.asarray(registration.residuals, dtype=np.float64)[:, None]]
    if registration.probabilities is not None:
        names.append("probability")
        parts.append(np.asarray(registration.probabilities, dtype=np.float64)[:, None])
    return names, np.hstack(parts)


def write_csv(path: str | Path, registration: Registration) -> None:
    """Write `table` as CSV with a header line; a refused registration gives the header alone."""
    names, rows = table(registration)
    text = io.StringIO()
    np.savetxt(text, rows, fmt=["%.4f"] * 5 + ["%.6f"] * (len(names) - 5), delimiter=",")
    write_text(path, ",".join(names) + "\n" + text.getvalue())
