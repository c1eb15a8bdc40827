"""Figures whose labels are names of files and recipes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tiepoint.evaluation.plots import Curve, plot_comparison, plot_roc


def test_names_are_no_formulas_and_need_not_print(tmp_path: Path) -> None:
    """matplotlib takes what stands between two $ for a formula, and refuses one that it cannot read."""
    name = "$\\frac$ caf\udce9\x1b"
    plot_comparison({name: ({"fpr95": 0.1}, {"fpr95": None})}, tmp_path / "comparison.png")
    plot_roc([Curve(name, np.array([0.1, 1]), np.array([0.5, 1]), 0.9)], tmp_path / "roc.png", title=name)
    for path in tmp_path.iterdir():
        assert cv2.imread(str(path)) is not None
