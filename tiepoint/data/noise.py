"""Noise on keypoint frames: the levels of the scene protocol, and their draw."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FrameNoise:
    """Standard deviations of the errors of a keypoint's frame."""

    rotation: float  # degrees
    shift: float  # of the patch's side, along each axis
    scale: float  # of the logarithm
    stretch: float  # of the logarithm, along a random direction, area kept


LEVELS = {
    "none": FrameNoise(0, 0, 0, 0),
    "easy": FrameNoise(8, 0.03, 0.1, 0.05),
    "hard": FrameNoise(15, 0.06, 0.2, 0.12),
    "tough": FrameNoise(22, 0.10, 0.3, 0.2),
}


def draw(noise: FrameNoise, count: int, generator: torch.Generator, strength: Tensor | float = 1.0) -> Tensor:
    """Draw affine maps (count, 2, 3) [A | t] that send coordinates u (sides of the patch, centre 0) to A u + t.

    A is rotation x scale x stretch. `strength`, a number or (count,) on the generator's device, scales the standard
    deviations.
    """
    device = generator.device
    normal = torch.randn(5, count, generator=generator, device=device) * torch.as_tensor(strength, device=device)
    direction = torch.rand(count, generator=generator, device=device) * torch.pi
    turn = normal[0] * torch.deg2rad(torch.tensor(float(noise.rotation), device=device))
    stretch = normal[2] * noise.stretch
    axes = rotations(turn) @ rotations(direction)
    diagonal = torch.exp(normal[1] * noise.scale + torch.stack([stretch, -stretch]))
    matrix = axes @ torch.diag_embed(diagonal.T) @ rotations(-direction)
    return torch.cat([matrix, (normal[3:] * noise.shift).T[:, :, None]], dim=2)


def rotations(angles: Tensor) -> Tensor:
    """Rotation matrices (N, 2, 2) that turn x towards y by `angles` (N,), radians."""
    cos, sin = torch.cos(angles), torch.sin(angles)
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
