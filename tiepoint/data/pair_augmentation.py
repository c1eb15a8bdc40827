"""Augmentation of pairs from two spectra, as RRL-Net and KGL-Net were trained with: up to two small changes of each
patch by itself, then up to two flips or right-angle turns of both patches together.

The published code runs imgaug on uint8, which rounds the values after every operation; here everything is computed in
floats, without that rounding.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tiepoint.data.augmentation import between, unit_floats
from tiepoint.errors import InputError

BLUR, GAMMA, SCALE_X, SCALE_Y, SHIFT_X, SHIFT_Y, NOISE, CROP = range(8)  # the operations on one patch
GAMMA_RANGE = (0.5, 1.5)
MAX_SHIFT = 0.05  # of the side, both ways
NOISE_DEVIATION = 5.1 / 255
BLUR_RADIUS_PX = 2  # the blur's kernel reaches this far, px: imgaug's five taps for sigmas up to 1
MIN_SIDE_PX = BLUR_RADIUS_PX + 1  # side of a patch, px: the blur's border mirrors BLUR_RADIUS_PX pixels


@dataclass(frozen=True)
class PairAugmentation:
    """What is done to a pair of patches from two spectra."""

    preset: Literal["none", "published", "corrected"] = "none"
    """Which augmentation is applied: `corrected` blurs by a Gaussian of 0..1 px; in `published` the blur is drawn but
    does nothing, as in the published code."""
    scale: tuple[float, float] = (0.95, 1.05)
    """Range of the factor by which the width or the height of each patch is scaled."""
    crop: float = 0.0
    """Largest share of each side by which one more operation crops or pads each patch (0: no such operation). KGL-Net
    takes 0.1."""

    def __post_init__(self) -> None:
        if self.preset not in ("none", "published", "corrected"):
            raise InputError(f"preset is {self.preset!r}: choose none, published or corrected")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise InputError(f"scale is {self.scale}: give two factors above 0, the smaller one first")
        if not 0 <= self.crop < 0.5:
            raise InputError(f"crop is {self.crop}: give a share of the side from 0 to below 0.5")


def augment_pairs(first: Tensor, second: Tensor, how: PairAugmentation, generator: Generator) -> tuple[Tensor, Tensor]:
    """Augment pairs of patches; the number of draws depends on the shapes and options alone.

    Each patch by itself goes through 0, 1 or 2 (equally likely) different operations of: blur, gamma, scaling along x
    or y, shift along x or y, noise and, where asked for, crop or pad; geometric ones about the centre, bilinear, with
    mirrored fill. Then each pair goes through 0, 1 or 2 of: flip left-right or up-down (each done half of the time),
    turn by 90, 180 or 270 degrees; these move pixels without resampling. Orders are random.

    Row i of `first` (n, C1, S, S) and of `second` (n, C2, S, S), uint8 or uint16 or float in 0..1 on the generator's
    device, make a pair. Returns both in their shapes, float32 in 0..1. Raises InputError for other shapes or types.

    Source: `gen4` of the published RRL-Net code, and KGL-Net's.
    """
    first, second = _floats(first), _floats(second)
    if first.shape[0] != second.shape[0] or first.shape[2:] != second.shape[2:]:
        shapes = f"first patches {tuple(first.shape)} and second patches {tuple(second.shape)}"
        raise InputError(f"{shapes}: give as many of one side")
    if how.preset == "none":
        return first, second
    flip, turns = _joint(len(first), generator)
    first, second = _apart(first, how, generator), _apart(second, how, generator)
    return turn_all(first, flip, turns), turn_all(second, flip, turns)


def turn_all(patches: Tensor, flip: Tensor, turns: Tensor) -> Tensor:
    """Flip patches (N, C, S, S) left-right where `flip` (N,), bool, says so, then turn each by 90 degrees
    counter-clockwise as often as `turns` (N,), int64 of 0..3, says."""
    result = torch.empty_like(patches)
    element = 4 * flip + turns
    for code in range(8):
        rows = torch.nonzero(element == code)[:, 0]
        chosen = patches[rows]
        result[rows] = torch.rot90(chosen.flip(3) if code >= 4 else chosen, code % 4, (2, 3))
    return result


def _joint(count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw elements of the dihedral group, as `turn_all` takes them."""
    device = generator.device
    # Left-right, up-down (a flip left-right and half a turn), a quarter turn, half a turn, three quarters.
    flips = torch.tensor([True, True, False, False, False], device=device)
    quarters = torch.tensor([0, 2, 1, 2, 3], device=device)
    rounds = _some_of(5, count, generator)
    done = torch.rand(2, count, generator=generator, device=device) < 0.5
    flip = torch.zeros(count, dtype=torch.bool, device=device)
    turns = torch.zeros(count, dtype=torch.int64, device=device)
    for operation, heads in zip(rounds, done, strict=True):
        known = operation.clamp(min=0)
        happens = (operation >= 0) & (heads | ~flips[known])
        flips_now = happens & flips[known]
        # A flip reverses the turns before it: flip(turn(x)) = unturn(flip(x)).
        turns = (torch.where(flips_now, -turns, turns) + happens * quarters[known]) % 4
        flip = flip ^ flips_now
    return flip, turns


def _some_of(kinds: int, count: int, generator: Generator) -> Tensor:
    """Draw (2, count) int64: 0, 1 or 2 (equally likely) different ones of `kinds` operations in random order; -1 where
    a round does nothing."""
    device = generator.device
    number = torch.randint(3, (count,), generator=generator, device=device)
    one = torch.randint(kinds, (count,), generator=generator, device=device)
    other = (one + torch.randint(1, kinds, (count,), generator=generator, device=device)) % kinds
    return torch.stack([torch.where(number > 0, one, -1), torch.where(number > 1, other, -1)])


def _apart(patches: Tensor, how: PairAugmentation, generator: Generator) -> Tensor:
    """Change each of the patches (N, C, S, S) by itself."""
    count, device = len(patches), generator.device
    rounds = _some_of(8 if how.crop else 7, count, generator)
    amounts = torch.rand(2, count, 4, generator=generator, device=device)  # 0..1; four sides to crop
    noise = torch.randn(patches.shape, generator=generator, device=device)  # once: operations do not repeat
    patches = patches.clone()
    for operation, amount in zip(rounds, amounts, strict=True):
        if how.preset == "corrected":
            rows = torch.nonzero(operation == BLUR)[:, 0]
            patches[rows] = _blur(patches[rows], amount[rows, 0])
        rows = torch.nonzero(operation == GAMMA)[:, 0]
        patches[rows] = patches[rows] ** between(GAMMA_RANGE, amount[rows, 0])[:, None, None, None]
        rows = torch.nonzero(operation == NOISE)[:, 0]
        patches[rows] = (patches[rows] + NOISE_DEVIATION * noise[rows]).clamp_(0, 1)
        rows = torch.nonzero(((operation >= SCALE_X) & (operation <= SHIFT_Y)) | (operation == CROP))[:, 0]
        patches[rows] = _resample(patches[rows], *_maps(operation[rows], amount[rows], how))
    return patches.clamp_(0, 1)  # weights of a sampling or a blur may add up to a little more than 1


def _maps(operation: Tensor, amount: Tensor, how: PairAugmentation) -> tuple[Tensor, Tensor]:
    """What each row shows: centre (N, 2) and width and height (N, 2), in sides of the patch, for the geometric
    `operation` (N,) of the `amount` (N, 4) in 0..1."""
    factor = 1 / between(how.scale, amount[:, 0])
    shift = -between((-MAX_SHIFT, MAX_SHIFT), amount[:, 0])
    left, right, top, bottom = between((-how.crop, how.crop), amount).unbind(1)  # padded where above 0
    ones, zeros = torch.ones_like(factor), torch.zeros_like(factor)

    def pick(kind: int, value: Tensor, other: Tensor, crop: Tensor) -> Tensor:
        return torch.where(operation == kind, value, torch.where(operation == CROP, crop, other))

    centre = [pick(SHIFT_X, shift, zeros, (right - left) / 2), pick(SHIFT_Y, shift, zeros, (bottom - top) / 2)]
    extent = [pick(SCALE_X, factor, ones, 1 + left + right), pick(SCALE_Y, factor, ones, 1 + top + bottom)]
    return torch.stack(centre, 1), torch.stack(extent, 1)


def _resample(patches: Tensor, centre: Tensor, extent: Tensor) -> Tensor:
    """Show the part of patches (N, C, S, S) with this centre (N, 2) and extent (N, 2), in sides, in their size."""
    side = patches.shape[3]
    axis = (2 * torch.arange(side, device=patches.device) + 1) / side - 1  # torch's grid runs from -1 to 1
    at = 2 * centre[:, :, None] + extent[:, :, None] * axis  # the maps are parallel to the axes: x and y apart
    full = (len(patches), side, side)
    grid = torch.stack([at[:, 0, None, :].expand(full), at[:, 1, :, None].expand(full)], dim=3)
    # torch's reflection about the outer edges of the border pixels is the symmetric fill.
    return F.grid_sample(patches, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _blur(patches: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of patches (N, C, S, S) by `sigma` (N,), px; the border mirrors without its outermost pixel, as
    OpenCV's and imgaug's blur does."""
    offsets = torch.arange(-BLUR_RADIUS_PX, BLUR_RADIUS_PX + 1, device=patches.device)
    weights = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]) ** 2)
    weights = (weights / weights.sum(dim=1, keepdim=True))[:, :, None, None, None]
    for axis in (2, 3):
        margins = (0, 0, BLUR_RADIUS_PX, BLUR_RADIUS_PX) if axis == 2 else (BLUR_RADIUS_PX, BLUR_RADIUS_PX, 0, 0)
        padded = F.pad(patches, margins, mode="reflect")
        shifted = [padded.narrow(axis, k, patches.shape[axis]) for k in range(2 * BLUR_RADIUS_PX + 1)]
        patches = torch.stack([weights[:, k] * part for k, part in enumerate(shifted)]).sum(dim=0)
    return patches


def _floats(patches: Tensor) -> Tensor:
    if patches.ndim != 4 or patches.shape[2] != patches.shape[3] or patches.shape[3] < MIN_SIDE_PX:
        raise InputError(f"patches {tuple(patches.shape)}: give (n, channels, side, side), side from {MIN_SIDE_PX} px")
    if not patches.is_floating_point() and patches.dtype not in (torch.uint8, torch.uint16):
        raise InputError(f"patches are {patches.dtype}: give uint8, uint16 or floats in 0..1")
    return unit_floats(patches)
