"""Patches as describers take them: checked, in 0..1, at the side of the network's input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tiepoint.errors import InputError


def check_shape(patches: Tensor, name: str, smallest: int = 1) -> None:
    """Raise InputError unless `patches` are (N, 1, S, S) with S at least `smallest`; `name` is the describer's."""
    if patches.ndim != 4 or patches.shape[1:] != (1, patches.shape[3], patches.shape[3]) or patches.shape[3] < smallest:
        raise InputError(f"patches {tuple(patches.shape)}: {name} takes (N, 1, S, S) with S >= {smallest}")


def prepare(patches: Tensor, size: int) -> Tensor:
    """Patches (N, 1, S, S), float in 0..1, uint8 or uint16, as float32 in 0..1 of side `size`.

    Raises InputError for another type.
    """
    if patches.dtype == torch.uint8:
        patches = patches.float() / 255
    elif patches.dtype == torch.uint16:
        patches = patches.float() / 65535
    elif not patches.is_floating_point():
        raise InputError(f"patches are {patches.dtype}: give float in 0..1, uint8 or uint16")
    return resize(patches.float(), size)


def resize(patches: Tensor, size: int) -> Tensor:
    """Patches (N, 1, S, S) of side `size`, by antialiased bilinear interpolation."""
    if patches.shape[-1] == size:
        return patches
    return F.interpolate(patches, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
