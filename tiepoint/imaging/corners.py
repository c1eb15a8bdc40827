"""Corners of edge structure, for spectra in which SIFT finds few keypoints or others than in its partner.

With I smoothed by SIGMA, its gradient g, <> a smoothing by WINDOW and {} one by AROUND:

    T = < g g' / ({|g|^2} + f mean |g|^2) >,  response = the smaller eigenvalue of T

T holds squares of gradients, so it is the same for an image and its negative; dividing by the energy around makes weak
and strong parts of the image alike. The eigenvalue is large where edges of several directions meet.

Sources: Foerstner and Guelch, ISPRS 1987, and Shi and Tomasi, CVPR 1994, for the eigenvalue; the division is ours.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIGMA, WINDOW, AROUND = 1.0, 1.5, 12.0
FLOOR = 0.1  # f: share of the image's mean energy below which a place counts as flat
ROUNDING = 1e-5  # share of the largest grey value below which gradients are float32's own


def cornerness(image: NDArray[Any]) -> NDArray[np.float32]:
    """Response (H, W), float32 in 0..1 for all but the sharpest corners, of a grey image (H, W) of any depth."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), SIGMA)
    gx, gy = (cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
    energy = gx * gx + gy * gy
    rounding = (ROUNDING * float(np.abs(smooth).max())) ** 2 + 1e-30
    gain = 1 / (cv2.GaussianBlur(energy, (0, 0), AROUND) + FLOOR * float(energy.mean()) + rounding)
    xx, xy, yy = (cv2.GaussianBlur(part * gain, (0, 0), WINDOW) for part in (gx * gx, gx * gy, gy * gy))
    return np.asarray((xx + yy - np.sqrt((xx - yy) ** 2 + 4 * xy * xy)) / 2, dtype=np.float32)
