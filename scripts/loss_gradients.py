"""How strongly a loss pulls a matching pair together and pushes its hardest negative away, by their angles.

The gradient of any loss on unit vectors u = x / |x| is tangent to the sphere at u, so its length times |x| is the
weight that the loss gives the pair. Here it is measured on the code of a loss, not taken from its formula.

Source: Deng and Ma, SDGMNet, AAAI 2024, the analysis that leads to the included angle.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

POSITIVE, NEGATIVE = (0.83, 0.20), (1.17, 0.08)  # mean and spread of the angles late in SDGMNet's released training
GROUP_DIMENSIONS, GROUP_PAIRS = 6, 3  # of a group


def weights(loss: nn.Module, theta_p: Tensor, theta_n: Tensor, progress: float = 0.9) -> tuple[Tensor, Tensor]:
    """Weights that `loss` gives the positive and the hardest negative of an anchor.

    Args:
        loss: a loss of `tiepoint.losses`; running statistics are used as they are, but a call may change them.
        theta_p: (m,) angles of pairs, radians in 0..pi/2.
        theta_n: (m,) angles of their hardest negatives, more than 0.65, up to pi/2.
        progress: share of the run that is done.

    Returns:
        (m,) and (m,): length of the gradient with respect to the anchor along the great circle to its positive and to
        its negative, times the number of pairs in the batch, 3 m.
    """
    anchor, positive = groups(theta_p, theta_n)
    anchor.requires_grad_()
    loss(anchor, positive, progress).backward()
    assert anchor.grad is not None
    count = len(theta_p)
    blocks = anchor.grad.view(count, GROUP_PAIRS, count, GROUP_DIMENSIONS)[range(count), 0, range(count)]
    return blocks[:, 1].abs() * len(anchor), blocks[:, 2].abs() * len(anchor)


def settle(loss: nn.Module, pairs: int = 120, steps: int = 60, seed: int = 0) -> Any:
    """Let the running statistics of `loss` settle on angles as they are late in training, then freeze them."""
    settled: Any = loss
    if not hasattr(loss, "momentum"):
        return settled
    generator = torch.Generator().manual_seed(seed)
    settled.momentum = 0.95
    for _ in range(steps):
        noise = torch.randn(2, pairs // 2, generator=generator)
        theta_p = (POSITIVE[0] + POSITIVE[1] * noise[0]).clamp(0.1, 1.5)
        theta_n = (NEGATIVE[0] + NEGATIVE[1] * noise[1]).clamp(0.7, 1.5)
        # Without its third pair a group holds two pairs that are each other's hardest negatives.
        sides = (side.view(len(theta_p), GROUP_PAIRS, -1)[:, :2].flatten(0, 1) for side in groups(theta_p, theta_n))
        loss(*sides, 0.9)
    settled.momentum = 1.0
    return settled


def groups(theta_p: Tensor, theta_n: Tensor) -> tuple[Tensor, Tensor]:
    """Batch (3 m, 6 m) of m groups in spaces of their own: the pair under study and two that keep each other busy.

    The hardest negative of the first pair is the positive of the second; that of the second belongs to the third, so
    nobody else's gradient reaches the first anchor.
    """
    count = len(theta_p)
    axes = torch.eye(GROUP_DIMENSIONS)
    first = axes[0].expand(count, -1), _turn(axes[0], axes[1], theta_p)
    rival = _turn(axes[0], axes[2], theta_n)
    second = _turn(rival, axes[3], theta_p), rival
    near = _turn(second[0], axes[4], torch.tensor(0.65))
    third = _turn(near, axes[5], torch.tensor(0.5)), near
    sides = []
    for side in range(2):
        vectors = torch.stack([first[side], second[side], third[side]], dim=1)
        spread = torch.zeros(count, GROUP_PAIRS, count, GROUP_DIMENSIONS)
        spread[range(count), :, range(count)] = vectors
        sides.append(spread.view(count * GROUP_PAIRS, count * GROUP_DIMENSIONS))
    return sides[0], sides[1]


def _turn(start: Tensor, towards: Tensor, angle: Tensor) -> Tensor:
    return angle.cos()[..., None] * start + angle.sin()[..., None] * towards
