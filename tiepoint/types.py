"""Names of the array types and callbacks that several rooms share."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Points = NDArray[np.float64]  # (N, 2) x and y, or (N, 4) xa, ya, xb, yb, in pixels
Matrix = NDArray[np.float64]  # (3, 3) unless said otherwise
Planes = NDArray[Any]  # bands of an image (C, H, W), or one grey image (H, W)
Mask = NDArray[np.bool_]  # (H, W), True where a pixel is valid
Masks = tuple[Mask | None, Mask | None]  # of images a and b; None where all pixels are valid
Rows = NDArray[np.int64]  # (N,) indices of rows
Picture = NDArray[np.uint8]  # RGB (H, W, 3)
Size = tuple[int, int]  # width and height, in pixels
Image = str | Path | NDArray[Any]  # a path, or an array (H, W) or (C, H, W)
Progress = Callable[[int, int], None]  # steps done and their number, which may be 0 where it is not known


def tracked(items: Iterable[T], progress: Progress | None, total: int, before: int = 0) -> Iterator[T]:
    """Yield the items; after each, `progress` is told how many are done, with `before` done earlier, and `total`."""
    for done, item in enumerate(items, before + 1):
        yield item
        if progress:
            progress(done, total)
