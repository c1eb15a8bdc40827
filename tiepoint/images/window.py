"""Windows of an image, the scaling between an image and its reduction, and the suffixes of image files."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tiepoint.types import Matrix

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".jp2")


@dataclass(frozen=True)
class Window:
    """The columns x to x + width - 1 and the rows y to y + height - 1 of an image."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Window:
        """All of an image of `shape` rows and columns."""
        return cls(0, 0, shape[1], shape[0])

    @classmethod
    def tiles(cls, shape: tuple[int, int], height: int, width: int) -> list[Window]:
        """Windows of one size that cover an image of `shape`, row by row; the last of each row and column are cut."""
        corners = product(range(0, shape[0], height), range(0, shape[1], width))
        return [cls(x, y, min(width, shape[1] - x), min(height, shape[0] - y)) for y, x in corners]

    @property
    def slices(self) -> tuple[slice, slice]:
        """To index an array (..., H, W)."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    @property
    def pixels(self) -> Matrix:
        """Coordinates (height * width, 2), x and y, row by row."""
        y, x = np.mgrid[self.slices].astype(np.float64)
        return np.column_stack([x.ravel(), y.ravel()])


def rotation_matrix(degrees: float) -> NDArray[np.float64]:
    """The matrix (2, 2) that rotates pixels counter-clockwise as seen on the screen."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cos, sin], [-sin, cos]])


def scaling(factor: float) -> Matrix:
    """(3, 3), from pixels of an image to those of one `factor` times as large; centres are at integers in both."""
    matrix = np.diag([factor, factor, 1.0])
    matrix[:2, 2] = 0.5 * factor - 0.5
    return matrix
