"""Figures of evaluations. matplotlib is imported when a figure is drawn, without pyplot and its global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.files import atomic_file

FORMATS = (".png", ".pdf", ".svg")


class Curve(NamedTuple):
    """A ROC curve, FPR (K,) and TPR (K,) rising in 0..1, with its label and the FPR95 that the legend states."""

    label: str
    fpr: NDArray[np.floating]
    tpr: NDArray[np.floating]
    fpr95: float


def check_suffix(path: Path) -> None:
    """Raise InputError if `path` has none of FORMATS; call it before the work whose figure goes there."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: no figure has this suffix: use {', '.join(FORMATS)}")


def plot_roc(curves: Sequence[Curve], path: str | Path, title: str) -> None:
    """Draw ROC curves over a logarithmic FPR axis and write them atomically; the suffix chooses the format.

    An FPR of 0 has no place on the axis and is drawn at its left end.

    Raises:
        InputError: an unknown suffix.
        OSError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    check_suffix(path)
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rates = np.concatenate([curve.fpr for curve in curves]) if curves else np.ones(1)
    least = float(rates[rates > 0].min(initial=0.1)) / 2
    for curve in curves:
        axes.plot(np.maximum(curve.fpr, least), curve.tpr, label=f"{curve.label}: {100 * curve.fpr95:.2f} %")
    axes.axhline(0.95, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlim=(least, 1), ylim=(0, 1.01), title=title)
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(title="FPR95", fontsize="small")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=150)
