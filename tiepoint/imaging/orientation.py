"""EXIF orientations 1 to 8: images turned upright, and where an upright pixel was stored (CIPA DC-008, Orientation).

Convention: an upright image is what a viewer shows. Coordinates of an image that was read upright are those of the
upright image; `stored_matrix` takes them to the file's own pixels, which COLMAP and most readers of TIFFs use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a stored image (..., H, W) upright: a view, of (..., W, H) for the orientations 5 to 8."""
    rows, columns = slice(None), slice(None)
    if orientation in (3, 4, 7, 8):
        rows = slice(None, None, -1)
    if orientation in (2, 3, 6, 7):
        columns = slice(None, None, -1)
    # 5 to 8 swap the axes first, so what is flipped is the upright image.
    turned = image.swapaxes(-1, -2) if orientation >= 5 else image
    return turned[..., rows, columns]


def stored_matrix(orientation: int, width: int, height: int) -> NDArray[np.float64]:
    """The matrix (3, 3) that maps pixels (x, y, 1) of the upright image, `width` x `height`, to the stored one."""
    right, bottom = width - 1.0, height - 1.0
    x, y = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    if orientation in (2, 3, 6, 7):
        x = np.array([-1.0, 0, right])
    if orientation in (3, 4, 7, 8):
        y = np.array([0, -1.0, bottom])
    return np.stack([y, x, [0, 0, 1.0]] if orientation >= 5 else [x, y, [0, 0, 1.0]])
