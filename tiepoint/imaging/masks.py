"""Keypoints that keep clear of pixels that are not valid."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray


def usable(points: ArrayLike, mask: NDArray[np.bool_] | None, margin: ArrayLike) -> NDArray[np.bool_]:
    """Whether no pixel outside the mask lies within `margin` of a point.

    It is tested at the pixel nearest to the point, and the margin is widened by the pixel that this may be wrong by.

    Args:
        points: (N, 2), x and y in pixels.
        mask: (H, W), valid pixels; None if all are.
        margin: px, one for all points or (N,): half the diagonal of a patch is support * sigma / sqrt(2).

    Returns:
        (N,) bool; False for a point outside the image and for NaN, whatever the mask.
    """
    places = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    if mask is None:
        return np.asarray(np.isfinite(places).all(axis=1))
    height, width = mask.shape
    with np.errstate(invalid="ignore"):
        within = (places > -0.5) & (places < np.array([width, height]) - 0.5)
    inside: NDArray[np.bool_] = np.asarray(within.all(axis=1))
    x, y = np.rint(np.where(inside[:, None], places, 0)).astype(np.int64).clip(0, [width - 1, height - 1]).T
    if mask.all():
        return inside
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(inside & (distance[y, x] > np.asarray(margin, dtype=np.float64) + 1))
