"""Figures of evaluations. matplotlib is imported when a figure is drawn, without pyplot and its global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.files import GENERATOR, atomic_file
from tiepoint.names import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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

    An FPR of 0 has no place on the axis and is drawn at its left end. Raises InputError for an unknown suffix.
    """
    path = Path(path)
    check_suffix(path)
    figure = _figure(7, 5)
    axes = figure.add_subplot()
    rates = np.concatenate([curve.fpr for curve in curves]) if curves else np.ones(1)
    least = float(rates[rates > 0].min(initial=0.1)) / 2
    for curve in curves:
        axes.plot(np.maximum(curve.fpr, least), curve.tpr, label=f"{_label(curve.label)}: {100 * curve.fpr95:.2f} %")
    axes.axhline(0.95, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlim=(least, 1), ylim=(0, 1.01), title=_label(title))
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(title="FPR95", fontsize="small")
    _save(figure, path)


def plot_comparison(results: Mapping[str, tuple[Mapping[str, float], Mapping[str, float | None]]], path: Path) -> None:
    """Draw one panel for each figure, in percent, and in it one row for each system: its mean, its spread as a bar.

    `results` maps systems to (figure -> mean, figure -> standard deviation or None), in 0..1.
    """
    check_suffix(path)
    names = list(results)
    keys = list(results[names[0]][0])
    figure = _figure(2.2 + 1.7 * len(keys), 1.2 + 0.28 * len(names))
    panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axes, key in zip(panels, keys, strict=True):
        means = [100 * results[name][0][key] for name in names]
        spreads = [100 * (results[name][1][key] or 0.0) for name in names]
        axes.errorbar(means, range(len(names)), xerr=spreads, fmt="o", markersize=4, capsize=2)
        axes.set_title(f"{key} (%)", fontsize="small")
        axes.grid(alpha=0.3)
    panels[0].set_yticks(range(len(names)), list(map(_label, names)))
    panels[0].invert_yaxis()
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    key = "Software" if path.suffix.lower() == ".png" else "Creator"
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata={key: GENERATOR})


def _label(name: str) -> str:
    """A name, in which matplotlib would take what stands between two $ for a formula."""
    return printable(name).replace("$", r"\$")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
