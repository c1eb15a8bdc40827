"""A made-up scene that looks different everywhere, and the same turned and scaled in another spectrum."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.images.raster import Raster


def scene(seed: int = 0, height: int = 300, width: int = 360) -> NDArray[np.uint8]:
    """Overlapping discs and boxes of many sizes, which look different everywhere."""
    random = np.random.default_rng(seed)
    image = np.full((height, width), 120, np.uint8)
    for _ in range(140):
        x, y, r = int(random.integers(width)), int(random.integers(height)), int(random.integers(4, 34))
        grey = int(random.integers(256))
        if random.random() < 0.5:
            cv2.circle(image, (x, y), r, grey, -1, cv2.LINE_AA)
        else:
            box = cv2.boxPoints(((x, y), (2 * r, r), float(random.uniform(0, 90)))).astype(int)
            cv2.fillPoly(image, [box], grey, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), 0.8)


def moved(image: NDArray[np.uint8], degrees: float, scale: float = 1.0) -> tuple[Raster, NDArray[np.float64]]:
    """The image turned and scaled about its centre within its frame, what is outside masked; and the transform."""
    height, width = image.shape
    matrix = np.vstack([cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale), [0, 0, 1]])
    pixels = cv2.warpPerspective(image, matrix, (width, height))
    mask = cv2.warpPerspective(np.full(image.shape, 255, np.uint8), matrix, (width, height)) == 255
    return Raster(pixels, mask, (0.0, 255.0)), matrix
