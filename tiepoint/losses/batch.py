"""What every loss asks of its options, every loss on pairs of its batch, and how it computes."""

import functools
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn

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


@dataclass(kw_only=True, eq=False, repr=False)
class LossModule(nn.Module):
    """A loss that is a dataclass of its options: a Literal takes one of its values, and numbers keep to `option`.

    Each loss has the decorator that this class has. Raises ValueError that names the option.
    """

    takes_unnormalized = False

    def __post_init__(self) -> None:
        super().__init__()
        types = typing.get_type_hints(type(self).__init__)
        for entry in fields(self):
            value = getattr(self, entry.name)
            if typing.get_origin(types[entry.name]) is Literal:
                one_of(entry.name, value, typing.get_args(types[entry.name]))
            elif "interval" in entry.metadata:
                in_interval(entry.name, value, entry.metadata["interval"])


def option(default: float | None, interval: str) -> Any:
    """A number of a `LossModule` and the interval that it must lie in, such as "[0, inf)"."""
    return field(default=default, metadata={"interval": interval})


def in_interval(name: str, value: float, interval: str) -> None:
    """Check an option as `within` does, by an interval such as "[0, inf)"."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    within(name, value, low, high, interval[0] + interval[-1])


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
