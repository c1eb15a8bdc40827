"""Patches as networks take them: checked, in 0..1, at the side of the network's input and in its channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.errors import InputError

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as images are read


def check_shape(patches: Tensor, name: str, smallest: int = 1) -> None:
    """Raise InputError unless `patches` are (N, 1, S, S) with S at least `smallest`; `name` is the describer's."""
    if patches.ndim != 4 or patches.shape[1:] != (1, patches.shape[3], patches.shape[3]) or patches.shape[3] < smallest:
        raise InputError(f"patches {tuple(patches.shape)}: {name} takes (N, 1, S, S) with S >= {smallest}")


def prepare(patches: Tensor, size: int) -> Tensor:
    """Patches (N, C, S, S) as `floats` makes them, of side `size` as by `resize`."""
    return resize(floats(patches), size)


def floats(patches: Tensor) -> Tensor:
    """Patches, float in 0..1, uint8 or uint16, as float32 in 0..1. Raises InputError for another type."""
    if patches.dtype == torch.uint8:
        return patches.float() / 255
    if patches.dtype == torch.uint16:
        return patches.float() / 65535
    if not patches.is_floating_point():
        raise InputError(f"patches are {patches.dtype}: give float in 0..1, uint8 or uint16")
    return patches.float()


def luma(patches: Tensor) -> Tensor:
    """RGB patches (N, 3, S, S) as grey (N, 1, S, S), by ITU-R BT.601; others are returned as they are."""
    if patches.ndim != 4 or patches.shape[1] != 3:
        return patches
    weights = torch.tensor(LUMA, dtype=patches.dtype, device=patches.device)
    return (patches * weights[:, None, None]).sum(dim=1, keepdim=True)


def channels_for(patches: Tensor, net: nn.Module, slot: str) -> Tensor:
    """Patches (N, 1 or 3, S, S), floating, in the channels that `net` takes in its slot "first" or "second".

    RGB stays RGB where the network's `colour` names the slot, and becomes luma for all others, describers too. Grey
    patches stay grey: a network in colour repeats them. Raises InputError for another number of channels.
    """
    if patches.ndim != 4 or patches.shape[1] not in (1, 3):
        raise InputError(
            f"patches {tuple(patches.shape)}: {type(net).__name__} takes (N, 1, S, S), or RGB (N, 3, S, S)"
        )
    return patches if slot in getattr(net, "colour", ()) else luma(patches)


def resize(patches: Tensor, size: int) -> Tensor:
    """Patches (N, C, S, S) of side `size`, by antialiased bilinear interpolation."""
    if patches.shape[-1] == size:
        return patches
    return F.interpolate(patches, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
