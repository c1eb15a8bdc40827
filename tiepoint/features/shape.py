"""Orientation and affine shape of keypoints, measured in the image."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.features.corners import parabola_vertex
from tiepoint.features.extract import extract

Frames = NDArray[np.float64]
CHUNK = 1024
# SIFT's window: a Gaussian of 1.5 sigma, cut off at three of its own.
BINS, ORIENTATION_SIDE, ORIENTATION_SUPPORT, ORIENTATION_WINDOW = 36, 32, 9.0, 1.5
# Window and derivative in sigmas. Fine samples: a level that is already smooth hides how long the shape is.
SHAPE_SIDE, SHAPE_SUPPORT, SHAPE_WINDOW, SHAPE_DERIVATIVE = 48, 10.0, 2.0, 0.75
MAX_ITERATIONS, MIN_ROUNDNESS, MAX_ELONGATION = 10, 0.97, 6.0


def turn(frames: NDArray[np.floating], turns: NDArray[np.floating]) -> Frames:
    """Frames whose x axes are turned by `turns` (N,), radians, counter-clockwise as seen in their own patches."""
    cos, sin = np.cos(turns), np.sin(turns)
    rotation = np.stack([cos, sin, -sin, cos], axis=1).reshape(-1, 2, 2)
    return np.concatenate([frames[:, :, :2] @ rotation, frames[:, :, 2:]], axis=2)


def make_upright(frames: NDArray[np.floating]) -> Frames:
    """The frames of the same ellipses whose angle is 0: the x axis looks right. Circles lose their rotation alone."""
    axes = frames[:, :, :2].astype(np.float64)
    (a, b), (_, c) = np.moveaxis(axes @ axes.transpose(0, 2, 1), 0, 2)
    height = np.sqrt(c)
    shear = b / height
    width = np.sqrt(np.maximum(a - shear**2, 0))
    axes = np.stack([width, shear, np.zeros_like(width), height], axis=1).reshape(-1, 2, 2)
    return np.concatenate([axes, frames[:, :, 2:]], axis=2)


def orient(image: NDArray[Any], frames: NDArray[np.floating]) -> Frames:
    """Frames turned so that their x axis lies along the gradient that prevails in their patch, one orientation each.

    As in SIFT (Lowe, IJCV 2004, 5): the highest peak of a histogram of gradient directions, between its bins by a
    parabola. Flat patches keep their angle. The image is (H, W), uint8, uint16 or float32.
    """
    window = _window(ORIENTATION_SIDE, ORIENTATION_SUPPORT, ORIENTATION_WINDOW)
    turns = np.zeros(len(frames))
    for start in range(0, len(frames), CHUNK):
        rows = slice(start, start + CHUNK)
        gx, gy = _gradients(image, frames[rows], ORIENTATION_SIDE, ORIENTATION_SUPPORT, 1.0)
        weights = np.hypot(gx, gy) * window
        turns[rows] = _peak(_histograms(np.arctan2(-gy, gx) * (BINS / (2 * np.pi)), weights))
    return turn(frames, turns)


def adapt_shape(image: NDArray[Any], frames: NDArray[np.floating]) -> Frames:
    """Frames with the affine shape of their surroundings; place and area are kept, the angle is 0.

    The second-moment matrix mu of the gradients in the patch is made round by steps M <- M mu^(-1/2), det M fixed
    (Lindeberg and Garding, IVC 1997; Baumberg, CVPR 2000). Long shapes are found a little too round. A keypoint stays a
    circle if it does not become round in MAX_ITERATIONS steps, or if its ellipse grows longer than MAX_ELONGATION times
    its width. The image is (H, W), uint8, uint16 or float32; of the frames' shape the area alone is used.
    """
    circles = np.array(frames, dtype=np.float64)
    circles[:, :, :2] = np.sqrt(np.abs(np.linalg.det(circles[:, :, :2])))[:, None, None] * np.eye(2)
    result = circles.copy()
    for start in range(0, len(circles), CHUNK):
        _adapt(image, result[start : start + CHUNK])
    return make_upright(result)


def _adapt(image: NDArray[Any], frames: Frames) -> None:
    """`adapt_shape`, in place, over one chunk of circles, of any rotation."""
    window = _window(SHAPE_SIDE, SHAPE_SUPPORT, SHAPE_WINDOW)
    moving = frames.copy()
    rows = np.arange(len(frames))
    for _ in range(MAX_ITERATIONS):
        gx, gy = _gradients(image, moving[rows], SHAPE_SIDE, SHAPE_SUPPORT, SHAPE_DERIVATIVE)
        xx, xy, yy = ((product * window).sum(axis=(1, 2)) for product in (gx * gx, gx * gy, gy * gy))
        values, vectors = np.linalg.eigh(np.stack([xx, xy, xy, yy], axis=1).reshape(-1, 2, 2).astype(np.float64))
        structured = values[:, 0] > 1e-6 * values[:, 1]
        rows, values, vectors = rows[structured], values[structured], vectors[structured]
        is_round = np.sqrt(values[:, 0] / values[:, 1]) > MIN_ROUNDNESS
        frames[rows[is_round]] = moving[rows[is_round]]
        rows, values, vectors = rows[~is_round], values[~is_round], vectors[~is_round]
        if not len(rows):
            return
        stretch = (values / np.sqrt(values.prod(axis=1, keepdims=True))) ** -0.5  # of determinant 1
        moving[rows, :, :2] = moving[rows, :, :2] @ (vectors * stretch[:, None]) @ vectors.transpose(0, 2, 1)
        lengths = np.linalg.svd(moving[rows, :, :2], compute_uv=False)
        rows = rows[lengths[:, 0] < MAX_ELONGATION * lengths[:, 1]]


def _gradients(
    image: NDArray[Any], frames: NDArray[np.floating], side: int, support: float, sigma: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Derivatives (N, side, side) along x and y of each frame's patch, smoothed by `sigma` in the keypoint's sigmas."""
    patches = extract(image, frames, size=side, support=support)[:, 0].astype(np.float32)
    patches -= patches[:, :1, :1]  # so that flat patches have no gradient at all
    kernel = cv2.getGaussianKernel(side | 1, sigma * side / support).ravel()
    padded = np.pad(np.eye(side), ((0, 0), (side // 2, side // 2)), mode="edge")
    smooth = np.stack([np.convolve(row, kernel, mode="valid")[:side] for row in padded]).T.astype(np.float32)
    derivative = np.gradient(smooth, axis=0).astype(np.float32)
    return np.asarray(smooth @ patches @ derivative.T), np.asarray(derivative @ patches @ smooth.T)


def _window(side: int, support: float, sigma: float) -> NDArray[np.float32]:
    """Gaussian weights (side, side) of `sigma` in the keypoint's sigmas."""
    kernel = cv2.getGaussianKernel(side, sigma * side / support, cv2.CV_32F)
    return np.asarray(kernel @ kernel.T)


def _histograms(bins: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sums (N, BINS) of weights (N, side, side), each shared between the two bins next to its own."""
    low = np.floor(bins)
    result = np.zeros(len(bins) * BINS)
    for step, share in ((0, 1 - (bins - low)), (1, bins - low)):
        rows = (low.astype(np.int64) + step) % BINS + np.arange(len(bins))[:, None, None] * BINS
        result += np.bincount(rows.ravel(), (share * weights).ravel(), minlength=len(result))
    return result.reshape(-1, BINS)


def _peak(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Direction (N,) of the highest bin of histograms (N, BINS); 0 where all are empty."""
    rolled = [w * np.roll(counts, k, axis=1) for k, w in zip((-2, -1, 0, 1, 2), (1, 4, 6, 4, 1), strict=True)]
    smooth = np.sum(rolled, axis=0)
    rows, top = np.arange(len(counts)), np.argmax(smooth, axis=1)
    offset = parabola_vertex(*(smooth[rows, (top + k) % BINS] for k in (-1, 0, 1)))
    return np.asarray((top + offset) * (2 * np.pi / BINS))
