"""Keypoints that two images of a scene can share, and upright patches at them, carried over by a homography."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.images.pixels import to_uint8
from tiepoint.patches import SIZE
from tiepoint.types import Matrix, Points

OFFSETS = np.arange(SIZE) - SIZE // 2  # of a patch's pixels from its keypoint
GRID = np.stack(np.meshgrid(OFFSETS, OFFSETS), axis=-1).reshape(-1, 2).astype(np.float64)  # (x, y), row by row
ROUNDING_PX = 1e-6  # by which a patch may leave the other image


def detect(image: NDArray[Any], features: int, contrast: float) -> Points:
    """SIFT keypoints (N, 2) of an image (C, H, W), rounded to pixels, by falling response."""
    grey = to_uint8(image[0] if len(image) == 1 else cv2.cvtColor(np.dstack(list(image)), cv2.COLOR_RGB2GRAY))
    # Without the precise upscale every keypoint is 0.24 px off in x and y.
    keypoints = cv2.SIFT.create(features, contrastThreshold=contrast, enable_precise_upscale=True).detect(grey, None)
    ordered = sorted(keypoints, key=lambda k: (-k.response, k.pt[1], k.pt[0]))
    return np.rint(np.array([k.pt for k in ordered], dtype=np.float64).reshape(-1, 2))


def select(
    points: Points, matrix: Matrix, own: tuple[int, ...], other: tuple[int, ...], min_distance: float, border: int
) -> Points:
    """The points (N, 2), whole pixels, that fit both images and keep `min_distance` px, in x or in y, from kept ones
    before them; in their order.
    """
    points = points[fits_both(points, matrix, own, other, border)]
    reach = max(int(np.ceil(min_distance)) - 1, 0)  # |dx| < min_distance, dx whole
    taken = np.zeros(own[1:], dtype=bool)
    kept = []
    for row, (x, y) in enumerate(points.astype(np.int64).tolist()):
        if not taken[y, x]:
            kept.append(row)
            taken[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = True
    return points[kept]


def fits_both(
    points: Points, matrix: Matrix, own: tuple[int, ...], other: tuple[int, ...], border: int
) -> NDArray[np.bool_]:
    """Whether each point (N, 2) of the image `own` (C, H, W) keeps its border and has its whole patch in the other."""
    inside = ((points >= border) & (points <= np.array(own[:0:-1]) - 1 - border)).all(axis=1)
    corners = np.array([[x, y] for x in OFFSETS[[0, -1]] for y in OFFSETS[[0, -1]]], dtype=np.float64)
    mapped = project((points[:, None] + corners).reshape(-1, 2), matrix).reshape(-1, 4, 2)
    last = np.array(other[:0:-1]) - 1
    within = ((mapped >= -ROUNDING_PX) & (mapped <= last + ROUNDING_PX)).all(axis=(1, 2))
    return np.asarray(inside & within)


def cut(image: NDArray[Any], points: Points, matrix: Matrix) -> NDArray[Any]:
    """Patches (N, C, 64, 64) of an image (C, H, W): the grid around each point (N, 2), mapped by `matrix` (3, 3).

    Not by OpenCV's remap, which rounds coordinates to 1/32 px and takes no image wider than 32767 px.
    """
    last = np.array(image.shape[:0:-1]) - 1
    patches = np.empty((len(points), len(image), SIZE, SIZE), dtype=image.dtype)
    for patch, point in zip(patches, points, strict=True):
        where = project(point + GRID, matrix).clip(0, last)
        low = np.floor(where).astype(np.int64)
        (left, top), (right, bottom) = low.T, np.minimum(low + 1, last).T
        a, b = (where - low).T
        above = image[:, top, left] * (1 - a) + image[:, top, right] * a
        below = image[:, bottom, left] * (1 - a) + image[:, bottom, right] * a
        patch[:] = np.rint(above * (1 - b) + below * b).reshape(-1, SIZE, SIZE)
    return patches


def project(points: Points, matrix: Matrix) -> Points:
    """Points (N, 2) mapped by a homography (3, 3); NaN beyond the horizon, that is with no third coordinate above 0."""
    mapped = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    pixels: Points = mapped[:, :2] / np.where(mapped[:, 2:] > 0, mapped[:, 2:], np.nan)
    return pixels
