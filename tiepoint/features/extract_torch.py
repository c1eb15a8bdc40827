"""Patches by torch, on any device: one `grid_sample` a chunk, over a pyramid packed into one image.

The full level lies on top, the others side by side below it:

    | level 0           |
    | 1       | 2  | 3  |

Places are held within their level before they are sampled, so nothing is read across, and the border pixel is repeated.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tiepoint.features.sampling_plan import Plan

MAX_SAMPLES = {"cpu": 1 << 18, "other": 1 << 25}  # places at a time: 2 MiB, which a core's cache holds, and 256 MiB
DTYPES = {"uint8": torch.uint8, "uint16": torch.uint16, "float32": torch.float32}


@torch.inference_mode()
def sample(
    planes: NDArray[Any],
    frames: NDArray[np.floating],
    *,
    size: int = 64,
    support: float = 12.0,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Cut a patch at each frame, (N, C, size, size), of an image (C, H, W); see `tiepoint.features.extract.extract`.

    It is sampled, and stays, on `device`, in grey values of `dtype`: rounded for whole numbers.
    """
    plan = Plan.of(planes, frames, size, support)
    device = torch.device(device)
    atlas, corners = _pack(plan.pyramid, device)
    columns, rows, least, most = (
        torch.from_numpy(values.astype(np.float32)).to(device) for values in _places(plan, corners, atlas, size)
    )
    patches = torch.empty((len(frames), len(planes), size, size), dtype=dtype, device=device)
    chunk = max(1, MAX_SAMPLES["cpu" if device.type == "cpu" else "other"] // (size * size))
    for start in range(0, len(frames), chunk):
        part = slice(start, start + chunk)
        # x and y by themselves, as each is contiguous then: with pairs of both this takes longer than the sampling.
        places = columns[:, part, None, :] + rows[:, part, :, None]
        torch.clamp(places, least[:, part, None, None], most[:, part, None, None], out=places)
        cut = _cut(atlas, places.permute(1, 2, 3, 0))
        patches[part] = cut if dtype.is_floating_point else cut.round_()
    return patches


def _places(plan: Plan, corners: NDArray[np.int64], atlas: Tensor, size: int) -> tuple[NDArray[np.float64], ...]:
    """What the columns (2, N, size) and the rows add to x and y, and the least and most (2, N) within the level.

    In grid_sample's units, in which the image reaches from -1 to 1. In float32 these are good to 0.001 px near 20,000.
    """
    factors = 2 / np.array(atlas.shape[:1:-1], dtype=np.float64)[:, None]
    steps = np.arange(size)
    first = (corners[plan.levels].T + 0.5) * factors - 1
    last = np.array([level.shape[1::-1] for level in plan.pyramid])[plan.levels].T - 1
    along, down, origins = (plan.matrices[:, :, k].T * factors for k in range(3))
    columns = along[:, :, None] * steps + (first + origins)[:, :, None]
    return columns, down[:, :, None] * steps, first, first + last * factors


def _cut(atlas: Tensor, grid: Tensor) -> Tensor:
    """Sample the atlas (1, C, H, W) at places (N, S, S, 2); (N, C, S, S)."""
    if atlas.device.type == "cpu":  # its threads share images out, so each patch has one: the same, not copied
        images = atlas.expand(len(grid), -1, -1, -1)
        return F.grid_sample(images, grid, align_corners=False, padding_mode="border")
    size = grid.shape[1]
    cut = F.grid_sample(atlas, grid.reshape(1, -1, size, 2), align_corners=False, padding_mode="border")
    return cut.view(atlas.shape[1], -1, size, size).transpose(0, 1)


def _pack(pyramid: list[NDArray[Any]], device: torch.device) -> tuple[Tensor, NDArray[np.int64]]:
    """The levels in one image (1, C, H, W), float32, and the x and y of each one's first pixel in it."""
    height, width, bands = pyramid[0].shape
    ends = np.cumsum([level.shape[1] for level in pyramid[1:]], dtype=np.int64).tolist()
    below = pyramid[1].shape[0] if len(pyramid) > 1 else 0
    atlas = torch.zeros((1, bands, height + below, max(width, *ends, 0)), dtype=torch.float32, device=device)
    corners = np.array([(0, 0), *((x, height) for x in (0, *ends[:-1]))][: len(pyramid)], dtype=np.int64)
    for level, (left, top) in zip(pyramid, corners, strict=True):
        # A copy, as the caller's array may be read-only; few of torch's operations know uint16.
        pixels = torch.from_numpy(level.astype(np.float32 if level.dtype == np.uint16 else level.dtype))
        atlas[0, :, top : top + level.shape[0], left : left + level.shape[1]] = pixels.to(device).permute(2, 0, 1)
    return atlas, corners
