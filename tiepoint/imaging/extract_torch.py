"""Patches by torch, on any device: one `grid_sample` a chunk, over a pyramid packed into one image.

The full level lies on top, the others side by side below it:

    | level 0           |
    | 1       | 2  | 3  |

Places are held within their level before they are sampled, so nothing is read across, and the border pixel is repeated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tiepoint.imaging.extract import Plan

SAMPLES = {"cpu": 1 << 21, "other": 1 << 25}  # places held at a time: 16 and 256 MiB


@torch.inference_mode()
def sample(
    planes: NDArray[Any],
    frames: NDArray[np.floating],
    *,
    size: int = 64,
    support: float = 12.0,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Cut a patch at each frame; see `tiepoint.imaging.extract.extract`.

    Args:
        planes: (C, H, W), uint8, uint16 or float32.
        frames: (N, 2, 3).
        size: side of a patch in samples.
        support: side of a patch in sigmas.
        device: where to sample and where the result stays.

    Returns:
        (N, C, size, size), float32 in the image's grey values, not rounded.
    """
    plan = Plan.of(planes, frames, size, support)
    device = torch.device(device)
    atlas, corners = _pack(plan.pyramid, device)
    last = np.array([level.shape[1::-1] for level in plan.pyramid]) - 1
    # Places in float32 from the level's corner on: near 20,000 px they are good to 0.001 px.
    matrices, offsets, limits = (
        torch.from_numpy(values.astype(np.float32)).to(device)
        for values in (plan.matrices, corners[plan.levels], last[plan.levels])
    )
    steps = torch.arange(size, dtype=torch.float32, device=device)
    extent = torch.tensor(atlas.shape[:1:-1], dtype=torch.float32, device=device)
    patches = torch.empty((len(frames), len(planes), size, size), dtype=torch.float32, device=device)
    chunk = max(1, SAMPLES["cpu" if device.type == "cpu" else "other"] // (size * size))
    for start in range(0, len(frames), chunk):
        rows = slice(start, start + chunk)
        a, b, c = matrices[rows, None, None].unbind(dim=-1)
        places = steps[None, None, :, None] * a + steps[None, :, None, None] * b + c
        places = torch.minimum(places.clamp_(min=0), limits[rows, None, None]) + offsets[rows, None, None]
        grid = (places * 2 + 1) / extent - 1
        cut = F.grid_sample(atlas, grid.view(1, -1, size, 2), align_corners=False, padding_mode="border")
        patches[rows] = cut.view(len(planes), -1, size, size).transpose(0, 1)
    return patches


def _pack(pyramid: list[NDArray[Any]], device: torch.device) -> tuple[Tensor, NDArray[np.int64]]:
    """The levels in one image (1, C, H, W), float32, and the x and y of each one's first pixel in it."""
    height, width, bands = pyramid[0].shape
    below = pyramid[1].shape[0] if len(pyramid) > 1 else 0
    beside = sum(level.shape[1] for level in pyramid[1:])
    atlas = torch.zeros((1, bands, height + below, max(width, beside)), dtype=torch.float32, device=device)
    corners = np.zeros((len(pyramid), 2), dtype=np.int64)
    x = 0
    for i, level in enumerate(pyramid):
        if i:
            corners[i] = x, height
            x += level.shape[1]
        # A copy, as the caller's array may be read-only; few of torch's operations know uint16.
        pixels = torch.from_numpy(level.astype(np.float32 if level.dtype == np.uint16 else level.dtype))
        left, top = corners[i]
        atlas[0, :, top : top + level.shape[0], left : left + level.shape[1]] = pixels.to(device).permute(2, 0, 1)
    return atlas, corners
