"""Draw the gradient analysis of SDGMNet: the weight that each loss gives a pair, against the pair's angle.

    python scripts/gradient_figure.py docs/gradients.png

The weights are measured on the code of the losses (loss_gradients.py), each over its largest in the panel.
Left: the positive, its negative at 1.17 rad. Right: the hardest negative, the positive at 0.83 rad. Both are means late
in the released training. Losses with running statistics see angles spread as they are there. SDGM without power
adjustment has the curves of SDGM. TFeat's negatives are the hardest here, not random ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from loss_gradients import NEGATIVE, POSITIVE, settle, weights
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tiepoint import losses
from tiepoint.errors import InputError
from tiepoint.files import atomic_file

PARTS = {"angle": {"angle": False}, "auto_focus": {"auto_focus": False}, "margin": {"margin_probability": 0}}
ROWS = {
    "Systems": {name: (name, {}) for name in ("l2net", "hardnet", "sosnet", "hynet", "soft-margin", "sdgm")},
    "SDGM without a part": {"sdgm": ("sdgm", {}), **{f"without {p}": ("sdgm", option) for p, option in PARTS.items()}},
    "HardNet's forms, and regularizers": {
        name: (name, {}) for name in ("hardnet", "hardnet-softmin", "hardnet-contrastive", "hardnet-gor")
    },
    "Average precision, robust angular, global": {
        name: (name, {}) for name in ("doap", "fastap", "ral-net", "global-triplet")
    },
    "TFeat": {name: (name, {"negatives": "hardest"}) for name in ("tfeat-margin-star", "tfeat-ratio-star")},
    "Deep metric learning": {
        name: (name, {})
        for name in ("generalized-lifted", "multi-similarity", "circle", "angular", "info-nce", "nt-xent", "n-pair")
    },
}
THETA_P = torch.linspace(0.05, 1.5, 60)
THETA_N = torch.linspace(0.66, 1.5, 60)


def draw(path: Path) -> None:
    """Measure every loss and write the picture."""
    figure = Figure(figsize=(11, 3 * len(ROWS)), layout="constrained")
    FigureCanvasAgg(figure)
    for (left, right), (title, curves) in zip(figure.subplots(len(ROWS), 2), ROWS.items(), strict=True):
        for label, (name, options) in curves.items():
            loss = settle(losses.create(name, **options))
            positive, _ = weights(loss, THETA_P, torch.full_like(THETA_P, NEGATIVE[0]))
            _, negative = weights(loss, torch.full_like(THETA_N, POSITIVE[0]), THETA_N)
            left.plot(THETA_P, positive / positive.max(), label=label)
            right.plot(THETA_N, negative / negative.max(), label=label)
        left.set(title=title, xlabel="angle of the positive (rad)", ylabel="weight over the largest")
        right.set(title=title, xlabel="angle of the hardest negative (rad)")
        left.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=80)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise InputError("name the picture: python scripts/gradient_figure.py PATH.png")
    draw(Path(sys.argv[1]))
