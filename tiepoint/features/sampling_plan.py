"""Where the samples of a patch lie, and from which level of the pyramid they are taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError


@dataclass(frozen=True)
class Plan:
    """Where the samples of patches lie in a pyramid."""

    pyramid: list[NDArray[Any]]  # levels (H, W, C) of the image's dtype, each half the last, whose pixel 2i is pixel i
    levels: NDArray[np.int64]  # (N,) of each patch
    matrices: NDArray[np.float64]  # (N, 2, 3), map sample (column, row, 1) to x and y in pixels of its level

    @classmethod
    def of(cls, planes: NDArray[Any], frames: NDArray[np.floating], size: int, support: float) -> Plan:
        """The plan of patches at `frames` (N, 2, 3) of an image (C, H, W)."""
        axes = frames[:, :, :2].astype(np.float64) * (support / size)
        # Sample i sits at u = (i + 1/2) / size - 1/2 of the patch's side.
        origins = frames[:, :, 2] - (size - 1) / 2 * axes.sum(axis=2)
        steps = np.linalg.norm(axes, ord=2, axis=(1, 2))
        levels = np.ceil(np.log2(np.maximum(steps, 1.0)) - 1e-6).astype(np.int64)
        pyramid = [np.ascontiguousarray(planes.transpose(1, 2, 0))]
        while len(pyramid) <= levels.max(initial=0) and max(pyramid[-1].shape[:2]) > 1:
            smaller = cv2.pyrDown(pyramid[-1], borderType=cv2.BORDER_REPLICATE)
            pyramid.append(smaller.reshape(*smaller.shape[:2], -1))
        levels = np.minimum(levels, len(pyramid) - 1)
        matrices = np.concatenate([axes, origins[:, :, None]], axis=2) / 2.0 ** levels[:, None, None]
        return cls(pyramid, levels, matrices)


def planes_of(image: NDArray[Any], frames: NDArray[np.floating]) -> NDArray[Any]:
    """The image as (C, H, W), after a check of both."""
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(f"image must be uint8, uint16 or float32, not {image.dtype}")
    if image.ndim not in (2, 3) or image.size == 0:
        raise InputError(f"image has shape {image.shape}: give (H, W) or (C, H, W) with at least a pixel")
    if frames.ndim != 3 or frames.shape[1:] != (2, 3):
        raise InputError(f"frames have shape {frames.shape}: give (N, 2, 3)")
    bad = np.flatnonzero(~np.isfinite(frames).all(axis=(1, 2)))
    if len(bad):
        raise InputError(f"frame {bad[0]} is not finite: leave out keypoints with NaN or infinity")
    return image if image.ndim == 3 else image[None]
