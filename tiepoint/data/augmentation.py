"""Augmentation of whole batches on the training device: every geometric change is one affine map and one sampling.

Coordinates u run over the patch that the network sees, centre 0, side 1. The maps below send a point of the
augmented patch to the point of the stored patch that it shows, and are composed from the outside in: u ->
noise(rotation(crop(dihedral(u)))).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tiepoint.data.noise import LEVELS, draw, rotations


@dataclass(frozen=True)
class Augmentation:
    """What is done to a pair of patches."""

    rotation: float = 5.0
    """Largest rotation of each patch, degrees."""
    crop_area: tuple[float, float] = (0.9, 1.0)
    """Range of the share of its area that a crop keeps of each patch."""
    crop_ratio: tuple[float, float] = (0.9, 1.1)
    """Range of the ratio of width to height of the crop of each patch."""
    dihedral: Literal["published", "uniform", "none"] = "published"
    """Right-angle turns and flips, the same for both patches of a pair. `published` draws a turn, then a flip, so that
    each turn has probability 1/12 and each reflection 1/6; `uniform` draws all eight alike."""
    noise: Literal["none", "easy", "hard", "tough"] = "none"
    """Level of noise on each keypoint's frame, as in the scene protocol. It needs patches stored with a margin."""
    noise_spread: bool = True
    """Scale the noise of each patch by a number drawn from 0..1, so that a batch holds all strengths of the level."""
    contrast: float = 0.0
    """Standard deviation of the logarithm of each patch's contrast."""
    brightness: float = 0.0
    """Standard deviation of each patch's brightness, in 0..1."""
    padding: Literal["zeros", "border"] = "border"
    """What lies beyond the stored patch. The published augmentation has black corners (zeros)."""


def augment(pairs: Tensor, how: Augmentation, margin: float, size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Augment pairs of stored patches and reduce them to a network's input.

    `pairs` (n, 2, C, S, S) are uint8 or uint16 or float in 0..1, on the device of the generator, from which all draws
    come. `margin` is the width of a stored patch over the width that the network sees, `size` the side at its input.
    Returns anchors and positives, each (n, C, size, size), float32 in 0..1.
    """
    count, _, channels, side, _ = pairs.shape
    patches = unit_floats(pairs.reshape(2 * count, channels, side, side))
    joint = _dihedral(how.dihedral, count, generator).repeat_interleave(2, dim=0)
    maps = _compose(_crop(how, 2 * count, generator), joint)
    turn = (2 * _uniform(2 * count, generator) - 1) * math.radians(how.rotation)
    maps = _compose(_linear(rotations(turn)), maps)
    if how.noise != "none":
        strength = _uniform(2 * count, generator) if how.noise_spread else 1.0
        maps = _compose(draw(LEVELS[how.noise], 2 * count, generator, strength), maps)
    patches = sample(patches, maps, margin, size, how.padding)
    if how.contrast or how.brightness:
        gain = torch.exp(how.contrast * _normal(2 * count, generator))[:, None, None, None]
        offset = how.brightness * _normal(2 * count, generator)[:, None, None, None]
        mean = patches.mean(dim=(1, 2, 3), keepdim=True)
        patches = ((patches - mean) * gain + mean + offset).clamp(0, 1)
    patches = patches.view(count, 2, channels, size, size)
    return patches[:, 0], patches[:, 1]


def sample(patches: Tensor, maps: Tensor, margin: float, size: int, padding: str = "border") -> Tensor:
    """Show `patches` (N, C, S, S) through `maps` (N, 2, 3) at `size`, each pixel the mean of four bilinear samples.

    A map sends coordinates of the result to coordinates of the support, which is the central 1 / `margin` of the
    stored patch.
    """
    theta = torch.cat([maps[:, :, :2], 2 * maps[:, :, 2:]], dim=2) / margin  # torch's grid runs from -1 to 1
    grid = F.affine_grid(theta, [len(patches), patches.shape[1], 2 * size, 2 * size], align_corners=False)
    return F.avg_pool2d(F.grid_sample(patches, grid, mode="bilinear", padding_mode=padding, align_corners=False), 2)


def _compose(outer: Tensor, inner: Tensor) -> Tensor:
    linear = outer[:, :, :2]
    return torch.cat([linear @ inner[:, :, :2], linear @ inner[:, :, 2:] + outer[:, :, 2:]], dim=2)


def _linear(matrices: Tensor) -> Tensor:
    return torch.cat([matrices, torch.zeros_like(matrices[:, :, :1])], dim=2)


def _crop(how: Augmentation, count: int, generator: Generator) -> Tensor:
    """Random parts of the patch: area uniform, ratio log-uniform, position uniform (Szegedy et al., CVPR 2015)."""
    area = between(how.crop_area, _uniform(count, generator))
    low, high = map(math.log, how.crop_ratio)
    ratio = torch.exp(between((low, high), _uniform(count, generator)))
    sides = torch.stack([torch.sqrt(area * ratio), torch.sqrt(area / ratio)], dim=1).clamp(max=1)
    shift = (torch.stack([_uniform(count, generator), _uniform(count, generator)], dim=1) - 0.5) * (1 - sides)
    return torch.cat([torch.diag_embed(sides), shift[:, :, None]], dim=2)


def _dihedral(kind: str, count: int, generator: Generator) -> Tensor:
    device = generator.device
    if kind == "none":
        return _linear(torch.eye(2, device=device).repeat(count, 1, 1))
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], device=device)
    turns = torch.stack([torch.linalg.matrix_power(quarter, k) for k in range(4)])
    flips = torch.stack([torch.diag(torch.tensor(d, device=device)) for d in ((1.0, 1.0), (-1.0, 1.0), (1.0, -1.0))])
    # Two kinds of flip after four turns reach each reflection twice and each turn once; one kind reaches all eight
    # evenly.
    kinds = 3 if kind == "published" else 2
    turn = torch.randint(4, (count,), generator=generator, device=device)
    flip = torch.randint(kinds, (count,), generator=generator, device=device)
    return _linear(turns[turn] @ flips[flip])


def unit_floats(patches: Tensor) -> Tensor:
    """Patches as float32, uint8 and uint16 scaled to 0..1."""
    return patches.float() / {torch.uint8: 255.0, torch.uint16: 65535.0}.get(patches.dtype, 1.0)


def between(bounds: tuple[float, float], share: Tensor) -> Tensor:
    """The numbers that lie at a share, 0..1, of the way from one bound to the other."""
    return bounds[0] + (bounds[1] - bounds[0]) * share


def _uniform(count: int, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device)


def _normal(count: int, generator: Generator) -> Tensor:
    return torch.randn(count, generator=generator, device=generator.device)
