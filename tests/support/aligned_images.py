"""Made-up pairs of images of two spectra: the second shows the first inverted and flattened, where its matrix says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from synthetic import smooth_texture

WIDTH, HEIGHT = 180, 160
MARGIN = 60.0  # px of the texture left of and above the first image
SIMILARITY = np.array([[0.95, -0.1, 12.0], [0.1, 0.95, -6.0], [0, 0, 1]])
HOMOGRAPHY = np.array([[0.95, -0.1, 12.0], [0.1, 0.95, -6.0], [2e-4, -1e-4, 1]])


def images(seed: int = 0, matrix: NDArray[np.float64] | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two images (160, 180); `matrix` maps pixels of the first to the second, which are the same without one."""
    texture = smooth_texture(300, seed)
    shift = np.array([[1, 0, -MARGIN], [0, 1, -MARGIN], [0, 0, 1]])
    first, second = (
        cv2.warpPerspective(texture, m @ shift, (WIDTH, HEIGHT))
        for m in (np.eye(3), np.eye(3) if matrix is None else matrix)
    )
    return first, (200 - 0.6 * second).astype(np.uint8)


def write_pair(
    folder: Path,
    name: str,
    seed: int = 0,
    matrix: NDArray[np.float64] | None = None,
    spectra: tuple[str, str] = ("vis", "nir"),
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Write and return a pair of images, and their matrix if they are not aligned."""
    folder.mkdir(parents=True, exist_ok=True)
    pair = images(seed, matrix)
    for spectrum, image in zip(spectra, pair, strict=True):
        cv2.imwrite(str(folder / f"{name}_{spectrum}.png"), image)
    if matrix is not None:
        np.savetxt(folder / f"{name}_{spectra[0]}_to_{spectra[1]}.txt", matrix)
    return pair
