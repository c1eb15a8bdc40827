"""The centre of stored patches: what a describer sees of a patch that was cut with a margin."""

import torch
from torch import Tensor

from tiepoint.errors import InputError


def central_crop(patches: Tensor, margin: float, size: int = 64) -> Tensor:
    """Resample the central 1/margin of each patch's side to `size` samples, free of aliasing.

    Sample i of the result sits at u = (i + 1/2) / size - 1/2 of the cropped side, as in `tiepoint.features.extract`, so
    the patch's centre stays where it is. The filter is a triangle that reaches one source pixel or one sample to each
    side, whichever is more: bilinear where the crop is enlarged, antialiased where it is reduced, as torch's own
    interpolation; for factors that are not integers its samples sit up to 0.09 source pixels off. At the border the
    weights are shared among the pixels inside.

    `patches` (N, C, S, S) are float in 0..1, and `margin` is the stored side over the side to keep. Returns (N, C,
    size, size) of the patches' dtype and device; `patches` itself if margin is 1 and size is S. Raises InputError for
    another shape or type, or a margin below 1.
    """
    if patches.ndim != 4 or patches.shape[2] != patches.shape[3] or not patches.is_floating_point():
        raise InputError(f"patches {tuple(patches.shape)} {patches.dtype}: a crop takes (N, C, S, S), float in 0..1")
    if margin < 1:
        raise InputError(f"margin is {margin:g}, must be at least 1")
    side = patches.shape[-1]
    if margin == 1 and size == side:
        return patches
    step = side / (margin * size)
    samples = (torch.arange(size, dtype=torch.float64) + 0.5 - size / 2) * step + (side - 1) / 2
    distances = (samples[:, None] - torch.arange(side, dtype=torch.float64)).abs() / max(step, 1.0)
    weights = (1 - distances).clamp(min=0)
    weights = (weights / weights.sum(dim=1, keepdim=True)).to(patches)
    return weights @ patches @ weights.T
