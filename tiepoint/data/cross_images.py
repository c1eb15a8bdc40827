"""The images and patches that published cross-spectral sets are made of: found, read and cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.imaging.io import decode, read_grey
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


def read_planes(path: Path, color: bool) -> NDArray[Any]:
    """Read an image as grey (1, H, W), or as RGB (3, H, W), uint8 or uint16; with `color` a grey one is repeated.

    Raises InputError for one that cannot be read or is of another type.
    """
    image = _read_rgb(path) if color else read_grey(path)[None]
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: grey values are {image.dtype}: give uint8 or uint16")
    return image


def _read_rgb(path: Path) -> NDArray[Any]:
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    image = decode(data, path)
    image = image[..., None] if image.ndim == 2 else image
    if image.shape[2] not in (1, 3, 4):
        raise InputError(f"{path}: has {image.shape[2]} bands: give a grey or a colour image")
    planes = image.repeat(3, axis=2) if image.shape[2] == 1 else image[..., 2::-1]  # OpenCV's order is BGR
    return np.ascontiguousarray(planes.transpose(2, 0, 1))
