"""Patches at frames, free of aliasing.

Each patch is sampled bilinearly from the level of a Gaussian pyramid whose pixels are at least as far apart as the
patch's samples, so no frequency above the patch's own Nyquist limit folds back. Beyond the image the border pixel is
repeated.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def extract(
    image: NDArray[Any], frames: NDArray[np.floating], *, size: int = 64, support: float = 12.0
) -> NDArray[Any]:
    """Cut a patch at each frame.

    Args:
        image: (H, W) or (C, H, W), uint8, uint16 or float32; C at most 4.
        frames: (N, 2, 3), see `tiepoint.imaging.frames`.
        size: side of a patch in samples.
        support: side of a patch in sigmas.

    Returns:
        (N, C, size, size) of the image's dtype.
    """
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise ValueError(f"image must be uint8, uint16 or float32, not {image.dtype}")
    planes = image if image.ndim == 3 else image[None]
    pyramid = [np.ascontiguousarray(planes.transpose(1, 2, 0))]
    patches = np.empty((len(frames), size, size, len(planes)), dtype=image.dtype)
    axes = frames[:, :, :2].astype(np.float64) * (support / size)
    # Sample i sits at u = (i + 1/2) / size - 1/2 of the patch's side.
    origins = frames[:, :, 2] - (size - 1) / 2 * axes.sum(axis=2)
    steps = np.linalg.norm(axes, ord=2, axis=(1, 2))
    levels = np.ceil(np.log2(np.maximum(steps, 1.0)) - 1e-6).astype(int)
    for i in np.argsort(levels, kind="stable"):
        level = min(int(levels[i]), _grow(pyramid, int(levels[i])))
        matrix = np.column_stack([axes[i], origins[i]]) / 2**level
        cv2.warpAffine(
            pyramid[level], matrix, (size, size), dst=patches[i],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
    return np.ascontiguousarray(patches.transpose(0, 3, 1, 2))


def _grow(pyramid: list[NDArray[Any]], level: int) -> int:
    """Add levels down to `level` or to a single pixel; return the last index. pyrDown keeps pixel 2i as pixel i."""
    while len(pyramid) <= level and max(pyramid[-1].shape[:2]) > 1:
        smaller = cv2.pyrDown(pyramid[-1], borderType=cv2.BORDER_REPLICATE)
        pyramid.append(smaller.reshape(*smaller.shape[:2], -1))
    return len(pyramid) - 1
