"""Local maxima of a response map."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def peaks(
    response: NDArray[np.float32], threshold: float, radius: int = 2
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Pixels that are the largest within `radius` and above `threshold`, placed between pixels by a parabola.

    Args:
        response: (H, W).
        threshold: the lowest value a maximum must exceed.
        radius: half the side of the square of comparison, in pixels; maxima on the image's rim are left out.

    Returns:
        Points (N, 2), x and y, each within half a pixel of its maximum, and values (N,).
    """
    if min(response.shape) < 3:
        return np.empty((0, 2)), np.empty(0, dtype=np.float32)
    largest = cv2.dilate(response, np.ones((2 * radius + 1, 2 * radius + 1), dtype=np.uint8))
    found = (response == largest) & (response > threshold)
    found[[0, -1]] = False
    found[:, [0, -1]] = False
    y, x = np.nonzero(found)
    value = response[y, x]
    dx = _offset(response[y, x - 1], value, response[y, x + 1])
    dy = _offset(response[y - 1, x], value, response[y + 1, x])
    return np.stack([x + dx, y + dy], axis=1).astype(np.float64), value


def _offset(before: NDArray[np.float32], value: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where the parabola through three samples peaks, from the middle one; 0 where they are equal."""
    bend = 2 * value - before - after
    return np.asarray(np.clip((after - before) / np.where(bend > 0, 2 * bend, np.inf), -0.5, 0.5))
