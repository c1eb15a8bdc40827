"""Corners of edge structure, for spectra in which SIFT finds few keypoints or others than in its partner.

With I smoothed by SIGMA, its gradient g, <> a smoothing by WINDOW and {} one by AROUND:

    T = < g g' / ({|g|^2} + f mean |g|^2) >,  response = the smaller eigenvalue of T

T holds squares of gradients, so it is the same for an image and its negative; dividing by the energy around makes weak
and strong parts of the image alike. The eigenvalue is large where edges of several directions meet.

Sources: Foerstner and Guelch, ISPRS 1987, and Shi and Tomasi, CVPR 1994, for the eigenvalue; the division is ours.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.types import Points

Response = NDArray[np.float32]


def find_peaks(response: Response, threshold: float, radius: int = 2) -> tuple[Points, Response]:
    """Pixels of (H, W) that are the largest within `radius` px and above `threshold`, placed by a parabola.

    Returns points (N, 2), x and y, each within half a pixel of its maximum, and values (N,); none on the image's rim.
    """
    if min(response.shape) < 3:
        return np.empty((0, 2)), np.empty(0, dtype=np.float32)
    largest = cv2.dilate(response, np.ones((2 * radius + 1, 2 * radius + 1), dtype=np.uint8))
    found = (response == largest) & (response > threshold)
    found[[0, -1]] = False
    found[:, [0, -1]] = False
    y, x = np.nonzero(found)
    value = response[y, x]
    dx = parabola_vertex(response[y, x - 1], value, response[y, x + 1]).clip(-0.5, 0.5)
    dy = parabola_vertex(response[y - 1, x], value, response[y + 1, x]).clip(-0.5, 0.5)
    return np.stack([x + dx, y + dy], axis=1).astype(np.float64), value


def parabola_vertex(before: ArrayLike, value: ArrayLike, after: ArrayLike) -> NDArray[np.floating]:
    """Where the parabola through three samples, one apart, has its maximum, from the middle one; 0 if it has none."""
    before, value, after = map(np.asarray, (before, value, after))
    curvature = 2 * value - before - after
    return np.asarray((after - before) / np.where(curvature > 0, 2 * curvature, np.inf))


SIGMA, WINDOW, AROUND = 1.0, 1.5, 12.0
FLOOR = 0.1  # f: share of the image's mean energy below which a place counts as flat
ROUNDING = 1e-5  # share of the largest grey value below which gradients are float32's own


def cornerness(image: NDArray[Any]) -> Response:
    """Response (H, W), float32 in 0..1 for all but the sharpest corners, of a grey image (H, W) of any depth."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), SIGMA)
    gx, gy = (cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
    energy = gx * gx + gy * gy
    rounding = (ROUNDING * float(np.abs(smooth).max())) ** 2 + 1e-30
    gain = 1 / (cv2.GaussianBlur(energy, (0, 0), AROUND) + FLOOR * float(energy.mean()) + rounding)
    xx, xy, yy = (cv2.GaussianBlur(part * gain, (0, 0), WINDOW) for part in (gx * gx, gx * gy, gy * gy))
    return np.asarray((xx + yy - np.sqrt((xx - yy) ** 2 + 4 * xy * xy)) / 2, dtype=np.float32)
