"""An image at a whole fraction of its size, read in windows and averaged block by block, so that memory is bounded."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.images.pixels import value_range
from tiepoint.images.raster import Raster, Reader
from tiepoint.images.window import Window, scaling
from tiepoint.types import Mask, Matrix, Progress

MAX_TILE_PX = 2048  # px
VALID_FRACTION = 0.999  # of a resampled mask: only valid pixels went into a pixel above it
MIN_VALID_SHARE = 0.5  # of the pixels that a mean is of, that have to be valid


@dataclass(frozen=True)
class Downsampled:
    """`reader`, `factor` times smaller: pixel (x, y) is the mean of the pixels from (x, y) * factor on, factor a side.

    Only valid pixels go into a mean, which is valid if at least half of its pixels are. The last column and row of the
    image are repeated to fill the last means. `tile` is the largest side of a window of the image that is read at once,
    px.
    """

    reader: Reader
    factor: int
    tile: int = MAX_TILE_PX

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.reader.shape
        return -(-height // self.factor), -(-width // self.factor)

    @property
    def up(self) -> NDArray[np.float64]:
        """(3, 3), maps its pixels (x, y, 1) to the image's; pixel centres are at integers in both."""
        return scaling(self.factor)

    def read(self, window: Window | None = None, progress: Progress | None = None) -> Raster:
        """A window, float32, or the whole, whose `limits` are then its own: means spread less than the pixels do.

        `progress` is called with (blocks done, blocks in all).
        """
        place = window or Window.whole(self.shape)
        pixels = np.empty((place.height, place.width), dtype=np.float32)
        mask = np.ones(pixels.shape, dtype=bool)
        step = max(1, self.tile // self.factor)
        parts = Window.tiles((place.height, place.width), step, step)
        for done, part in enumerate(parts, 1):
            block = self.reader.read(self._of(Window(place.x + part.x, place.y + part.y, part.width, part.height)))
            pixels[part.slices], valid = _means(block, self.factor)
            if valid is not None:
                mask[part.slices] = valid
            if progress:
                progress(done, len(parts))
        held = None if mask.all() else mask
        limits = value_range(pixels, held) if window is None else self.reader.limits
        return Raster(pixels, held, limits, name=self.reader.name)

    def _of(self, window: Window) -> Window:
        """The part of the image that a window shows."""
        rows, columns = self.reader.shape
        x, y = window.x * self.factor, window.y * self.factor
        width, height = window.width * self.factor, window.height * self.factor
        return Window(x, y, min(width, columns - x), min(height, rows - y))


def _means(block: Raster, factor: int) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    means = _averaged(block.pixels, factor)
    if block.mask is None:
        return means, None
    share = _averaged(block.mask, factor)
    alone = _averaged(np.where(block.mask, block.pixels, 0), factor) / np.maximum(share, 1e-6)
    return np.where(share > 0, alone, means), share >= MIN_VALID_SHARE


def _averaged(image: NDArray[Any], factor: int) -> NDArray[np.float32]:
    height, width = image.shape
    full = np.pad(image.astype(np.float32), ((0, -height % factor), (0, -width % factor)), mode="edge")
    size = (full.shape[1] // factor, full.shape[0] // factor)
    return np.asarray(cv2.resize(full, size, interpolation=cv2.INTER_AREA))


def resize(image: NDArray[Any], zoom: float) -> NDArray[np.float32]:
    """An image (H, W) at `zoom` times its size, at most 1, by means over areas; float32."""
    size = (max(1, round(image.shape[1] * zoom)), max(1, round(image.shape[0] * zoom)))
    return np.asarray(cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def resize_mask(mask: Mask | None, zoom: float) -> Mask | None:
    """A mask (H, W) as `resize` makes it; a pixel is valid where all that went into it are. None stays None."""
    return None if mask is None else resize(mask, zoom) > VALID_FRACTION


def lay_over(a: NDArray[Any], matrix: Matrix, shape: tuple[int, ...], mask: Mask | None) -> tuple[NDArray[Any], Mask]:
    """Image a (H, W) on the grid of an image b of `shape`, border pixels repeated, and where its valid pixels lie.

    `matrix` (3, 3) takes pixels of a to b, and `mask` are a's valid pixels.
    """
    seen = np.ones(a.shape, np.float32) if mask is None else mask.astype(np.float32)
    moved = cv2.warpPerspective(a, matrix, shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return moved, cv2.warpPerspective(seen, matrix, shape[::-1]) > VALID_FRACTION
