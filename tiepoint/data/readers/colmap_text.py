"""COLMAP's sparse models as text: images.txt and points3D.txt."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tiepoint.names import read_lines

REMEDY = "export the model again"


def text_images(path: Path) -> Iterator[tuple[int, list[float], str, NDArray[np.int64]]]:
    """Number, pose (quaternion and translation), name and the point of each keypoint, or -1, of each image.

    Raises ValueError for what is no such file, and InputError for what cannot be read.
    """
    lines = enumerate(read_lines(path, REMEDY), 1)
    for number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        words, (_, observed) = line.strip().split(" ", 9), next(lines, (number, ""))  # an image may observe nothing
        cells = observed.split()
        if len(words) < 10 or len(cells) % 3:
            raise ValueError(f"line {number} and the next are no image")
        points = np.array([int(cell) for cell in cells[2::3]], dtype=np.int64)
        yield int(words[0]), [float(word) for word in words[1:8]], words[9], points


def text_points(path: Path) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Id and position (3,) of each point. Raises as `text_images`."""
    for number, line in enumerate(read_lines(path, REMEDY), 1):
        if line.strip() and not line.startswith("#"):
            words = line.split()
            if len(words) < 4:
                raise ValueError(f"line {number} is no point")
            yield int(words[0]), np.array([float(word) for word in words[1:4]])
