"""Large images in parts: windows that overlap, and keypoints of all parts as if the image had been seen whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError

if TYPE_CHECKING:
    from tiepoint.imaging.raster import Raster, Reader

# Windows start at multiples of this, so that pyramids halve at the same pixels as the whole image's, 7 octaves down.
ALIGN = 64
SEAM = 0.02  # px within which two tiles may disagree about where a keypoint is, by rounding
SAME = 0.02  # largest relative difference of the axes of one keypoint seen in two tiles
Found = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Window:
    """The columns x to x + width - 1 and the rows y to y + height - 1 of an image."""

    x: int
    y: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """To index an array (..., H, W)."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


@dataclass(frozen=True)
class Tile:
    """A window to read, and its core: the part whose keypoints are its own. The cores of all tiles fill the image."""

    window: Window
    core: Window


def tiles(shape: tuple[int, int], size: int = 2048, overlap: int = 256) -> list[Tile]:
    """Divide an image (H, W) into tiles, row by row.

    Cores are at most `size` a side and as equal as they can be; windows reach `overlap` further, within the image. Both
    lengths are rounded up to multiples of 64. Raises InputError unless size is positive and overlap not negative.
    """
    if size < 1 or overlap < 0:
        raise InputError(f"tiles of {size} px that overlap by {overlap}: give a positive size and an overlap from 0")
    margin = _aligned(overlap)
    spans = []
    for length in shape:
        count = -(-length // _aligned(size))
        side = _aligned(-(-length // max(count, 1)))
        spans.append([(start, min(start + side, length)) for start in range(0, length, max(side, 1))])
    found = []
    for top, bottom in spans[0]:
        for left, right in spans[1]:
            x, y = max(left - margin, 0), max(top - margin, 0)
            window = Window(x, y, min(right + margin, shape[1]) - x, min(bottom + margin, shape[0]) - y)
            found.append(Tile(window, Window(left, top, right - left, bottom - top)))
    return found


def detect_tiled(
    reader: Reader,
    detect: Callable[[Raster], Found],
    *,
    size: int = 2048,
    overlap: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Detect, and perhaps describe, tile by tile; each keypoint is kept by the one tile whose core holds its centre.

    A keypoint is found as in the whole image where all that the detector and the describer see of it lies within
    `overlap` px. SIFT takes about 235 bytes a pixel of a tile, which is why tiles are small by default: 1.5 GB.

    Args:
        reader: from `tiepoint.imaging.raster.open_image`.
        detect: is given a tile, whose `limits` and grey are those of the whole image, and returns a tuple of arrays of
            N rows each: frames (N, 2, 3) in the tile's pixels, then whatever goes with them. It is not called for tiles
            without valid pixels, and returns arrays of no rows where it finds nothing.
        size: see `tiles`.
        overlap: see `tiles`.
        progress: called with (tiles done, tiles in all).

    Returns:
        The same arrays for the image, tile by tile, frames in its own pixels.
    """
    planned = tiles(reader.shape, size, overlap)
    parts: list[Found] = []
    seams = _Seams()
    for done, tile in enumerate(planned, 1):
        raster = reader.read(tile.window)
        if raster.mask is None or raster.mask.any():
            frames, *others = detect(raster)
            frames = np.array(frames, dtype=np.float64).reshape(-1, 2, 3)
            frames[:, :, 2] += (tile.window.x, tile.window.y)
            rows = seams.own(frames, tile.core, reader.shape)
            parts.append((frames[rows], *(array[rows] for array in others)))
        if progress:
            progress(done, len(planned))
    if not parts:
        raise InputError(f"{reader.name}: no tile holds a valid pixel: all are nodata, transparent or NaN")
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


class _Seams:
    """Says which keypoints are a tile's own; those on a seam, where rounding decides, are the first one's."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], list[NDArray[np.float64]]] = {}

    def own(self, frames: NDArray[np.float64], core: Window, shape: tuple[int, int]) -> NDArray[np.int64]:
        """Rows of the frames whose centres the core holds. Beyond the image the outer cores reach without end."""
        start, end = np.array([core.x, core.y]), np.array([core.x + core.width, core.y + core.height])
        low = np.where(start == 0, -np.inf, start - 0.5)
        high = np.where(end == np.array(shape[::-1]), np.inf, end - 0.5)
        centres = frames[:, :, 2]
        inside = np.asarray(((centres >= low - SEAM) & (centres < high + SEAM)).all(axis=1))
        surely = np.asarray(((centres >= low + SEAM) & (centres < high - SEAM)).all(axis=1))
        fresh = []
        for row in np.flatnonzero(inside & ~surely):
            inside[row] = not self._known(frames[row])
            if inside[row]:
                fresh.append(frames[row])
        for frame in fresh:  # after the loop: two keypoints of one tile are never taken for one
            x, y = np.floor(frame[:, 2]).astype(int).tolist()
            self.known.setdefault((x, y), []).append(frame)
        return np.flatnonzero(inside)

    def _known(self, frame: NDArray[np.float64]) -> bool:
        """Whether a tile before this one kept the keypoint."""
        x, y = np.floor(frame[:, 2]).astype(int).tolist()
        reach = SAME * float(np.abs(frame[:, :2]).max())
        for cell in ((x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
            for other in self.known.get(cell, ()):
                apart = np.abs(frame - other)
                if apart[:, 2].max() <= 2 * SEAM and apart[:, :2].max() <= reach:
                    return True
        return False


def _aligned(length: int) -> int:
    return -(-length // ALIGN) * ALIGN
