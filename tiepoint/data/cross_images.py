"""The images and patches that published cross-spectral sets are made of: found, read and cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.patches import SIZE

HALF = SIZE // 2  # a patch is the rows y - 32 to y + 31 and the columns x - 32 to x + 31 of its keypoint
SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm")


def find_image(path: Path) -> Path | None:
    """The file at `path`, or the one beside it with the same stem and the suffix of an image; None without one."""
    if path.is_file():
        return path
    stem = path.with_suffix("") if path.suffix.lower() in SUFFIXES else path
    return next((file for suffix in SUFFIXES if (file := stem.with_name(stem.name + suffix)).is_file()), None)


def crop(image: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """Patches (N, C, 64, 64) of an image (C, H, W) at keypoints (N, 2) that are far enough from its border."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (SIZE, SIZE), axis=(1, 2))
    cut: NDArray[Any] = windows[:, places[:, 1] - HALF, places[:, 0] - HALF].swapaxes(0, 1)
    return cut
