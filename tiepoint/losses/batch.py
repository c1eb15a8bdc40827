"""What every loss on pairs asks of its batch, and how it computes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Forward = Callable[[Any, Tensor, Tensor, float], Tensor]


def on_pairs(forward: Forward) -> Callable[..., Tensor]:
    """Wrap a loss's forward: check the batch, and compute in float32 whatever the precision around it.

    The wrapped function takes anchor (n, D) and positive (n, D) of any floating type, row i matching row i, n at least
    2, and the share of the run that is done (default 0). It raises ValueError for other shapes and types.
    """

    @functools.wraps(forward)
    def checked(self: Any, anchor: Tensor, positive: Tensor, progress: float = 0.0) -> Tensor:
        name = type(self).__name__
        if anchor.shape != positive.shape or anchor.ndim != 2 or len(anchor) < 2:
            raise ValueError(
                f"{name} takes two (n, D) tensors, n >= 2, not {tuple(anchor.shape)} and {tuple(positive.shape)}"
            )
        if not (anchor.is_floating_point() and positive.is_floating_point()):
            raise ValueError(f"{name} takes floating descriptors, not {anchor.dtype} and {positive.dtype}")
        with torch.autocast(anchor.device.type, enabled=False):
            return forward(self, anchor.float(), positive.float(), progress)

    return checked


def within(name: str, value: float, low: float, high: float, closed: str = "[]") -> None:
    """Raise ValueError that names an option whose value lies outside the interval from `low` to `high`."""
    above = value > low or (value == low and closed[0] == "[")
    below = value < high or (value == high and closed[1] == "]")
    if not (above and below):
        raise ValueError(f"{name} is {value:g}: must lie in {closed[0]}{low:g}, {high:g}{closed[1]}")


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError that names an option that is not one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: must be one of {', '.join(choices)}")
