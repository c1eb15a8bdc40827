"""What a registration shows of itself: image a over image b."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.geometry.warps import Warp
from tiepoint.images.pixels import to_uint8
from tiepoint.images.raster import Raster
from tiepoint.types import Matrix, Picture

Mapping = Matrix | Warp
Style = Literal["colours", "checkerboard"]


def overlay(a: NDArray[Any], b: NDArray[Any], mapping: Mapping, style: Style = "colours", *, tiles: int = 8) -> Picture:
    """Image a, mapped by a matrix (3, 3; a -> b) or by a warp of `tiepoint.geometry.warps`, over image b.

    Args:
        a: (H, W) grey; 16-bit and float images are stretched to 8 bits.
        b: (H, W) grey, of any size.
        mapping: takes pixels of a to pixels of b.
        style: "colours" shows a in red and b in cyan, so that grey means that both agree. "checkerboard" alternates
            squares of a and b, and shows b alone where a does not reach.
        tiles: number of squares along the longer side.

    Returns:
        RGB picture of b's size.
    """
    fixed = to_uint8(b)
    height, width = fixed.shape
    if isinstance(mapping, np.ndarray):
        moved = cv2.warpPerspective(to_uint8(a), mapping, (width, height), flags=cv2.INTER_LINEAR)
        ones = np.ones(a.shape, dtype=np.uint8)
        covered = cv2.warpPerspective(ones, mapping, (width, height), flags=cv2.INTER_NEAREST) > 0
    else:
        moved, covered = mapping.warp(Raster(to_uint8(a), None, (0, 255)), (height, width))
    if style == "colours":
        return np.dstack([moved, fixed, fixed])
    side = max(1, -(-max(height, width) // tiles))
    squares = np.add.outer(np.arange(height) // side, np.arange(width) // side) % 2 == 1
    return np.dstack([np.where(squares & covered, moved, fixed)] * 3)
