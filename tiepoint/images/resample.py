"""An image resampled onto another's pixel grid, block by block, in its own depth.

Pixels are interpolated bilinearly at exact coordinates, since OpenCV's remap rounds them to 1/32 px and takes no image
wider than 32767 px. The image is not filtered first: it aliases if it is reduced by more than a factor of two.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError
from tiepoint.images.geo import BLOCK_PX, Geo, geotiff_writer
from tiepoint.images.raster import Raster, Reader
from tiepoint.images.sources import BandSource
from tiepoint.images.window import Window
from tiepoint.types import Mask, Planes

MAX_VALUES = 2**24  # values of the source that a block may need at once
ROUNDING = 1e-6  # px beyond the border, or weight of a pixel that is not valid, that rounding alone may give
Floats = NDArray[np.float64]
Locate = Callable[[Window], tuple[Floats, Floats]]


def warp_image(image: Raster, matrix: ArrayLike, shape: tuple[int, int], fill: float = 0) -> tuple[Planes, Mask]:
    """Resample an image onto the grid of another, of `shape` rows and columns, whose pixels `matrix` (3, 3) maps it to.

    Returns (H, W) of the image's dtype, `fill` where it shows nothing, and (H, W) bool: False where a pixel lies
    outside the image, where any pixel that it is interpolated from is not valid, or beyond the horizon of the matrix.
    Raises InputError for a matrix that is not finite or has no inverse.
    """
    inverse = _inverse(matrix, image.pixels.shape)
    return resample(image, lambda window: _located(inverse, window), shape, fill)


def resample(image: Raster, locate: Locate, shape: tuple[int, int], fill: float) -> tuple[Planes, Mask]:
    """An image on another's grid, see `warp_image`; `locate` gives the image's x and y (h, w) of a window's pixels."""
    valid = None if image.mask is None else image.mask[None]
    pixels = np.full(shape, fill, dtype=image.pixels.dtype)
    mask = np.zeros(shape, dtype=bool)
    for window in Window.tiles(shape, BLOCK_PX, BLOCK_PX):
        u, v = locate(window)
        inside = _inside(u, v, image.pixels.shape)
        if inside.any():
            u, v = np.where(inside, u, 0), np.where(inside, v, 0)
            planes, good = sample_bilinear(image.pixels[None], valid, u, v, inside)
            pixels[window.slices] = np.where(good[0], planes[0], pixels[window.slices])
            mask[window.slices] = good[0]
    return pixels, mask


def warp_to_geotiff(
    reader: Reader, matrix: ArrayLike, shape: tuple[int, int], path: str | Path, geo: Geo | None,
    nodata: float | None = None, progress: Callable[[int, int], None] | None = None,
) -> None:  # fmt: skip
    """Resample all bands of an image onto the grid of another and write them, in bounded memory.

    Args:
        reader: the image that is resampled; its bands keep their depth.
        matrix: (3, 3), maps its upright pixels to the other image's.
        shape, geo: rows and columns of the other image, and its georeference.
        path: GeoTIFF to write, atomically.
        nodata: value of pixels without one; None writes a mask into the file instead, one for all bands.
        progress: called with (blocks done, blocks in all).

    Raises InputError for what `warp_image` and `geotiff_writer` refuse.
    """
    source = reader.source
    bands = range(len(source.bands))
    first, _ = source.read(bands, Window(0, 0, 1, 1))
    inverse = _inverse(matrix, source.shape)
    blocks = Window.tiles(shape, BLOCK_PX, BLOCK_PX)
    with geotiff_writer(path, (len(bands), *shape), first.dtype, geo, nodata, source.bands) as dataset:
        for done, window in enumerate(blocks, 1):
            pixels = np.full((len(bands), window.height, window.width), 0 if nodata is None else nodata, first.dtype)
            held = np.zeros((window.height, window.width), dtype=bool)
            for part, planes, valid in _warp(source, inverse, window):
                rows, columns = Window(part.x - window.x, part.y - window.y, part.width, part.height).slices
                pixels[:, rows, columns] = np.where(valid, planes, pixels[:, rows, columns])
                held[rows, columns] = valid.any(axis=0)
            place = ((window.y, window.y + window.height), (window.x, window.x + window.width))
            dataset.write(pixels, window=place)
            if nodata is None:
                dataset.write_mask(held, window=place)
            if progress:
                progress(done, len(blocks))


def _warp(source: BandSource, inverse: Floats, window: Window) -> Iterator[tuple[Window, Planes, Mask]]:
    """Yield the parts of a window that show the source, with pixels and validity (C, h, w)."""
    u, v = _located(inverse, window)
    inside = _inside(u, v, source.shape)
    if not inside.any():
        return
    bands, (height, width) = range(len(source.bands)), source.shape
    left, top = int(max(u[inside].min(), 0)), int(max(v[inside].min(), 0))
    right, bottom = int(min(u[inside].max() + 1, width - 1)), int(min(v[inside].max() + 1, height - 1))
    needed = Window(left, top, right - left + 1, bottom - top + 1)
    if needed.width * needed.height * len(bands) > MAX_VALUES and max(window.width, window.height) > 1:
        for part in _halves(window):
            yield from _warp(source, inverse, part)
        return
    planes, valid = source.read(bands, needed)
    u, v = (np.where(inside, a, start) - start for a, start in ((u, left), (v, top)))
    yield window, *sample_bilinear(planes, valid, u, v, inside)


def _located(inverse: Floats, window: Window) -> tuple[Floats, Floats]:
    """Source x and y (h, w) of a window's pixels, NaN beyond the horizon."""
    y, x = np.mgrid[window.slices].astype(np.float64)
    u, v, w = (row[0] * x + row[1] * y + row[2] for row in inverse)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(w > 0, u / w, np.nan), np.where(w > 0, v / w, np.nan)


def _inside(u: Floats, v: Floats, shape: tuple[int, ...]) -> Mask:
    height, width = shape
    across = (u >= -ROUNDING) & (u <= width - 1 + ROUNDING)
    return np.asarray(across & (v >= -ROUNDING) & (v <= height - 1 + ROUNDING))


def sample_bilinear(planes: Planes, valid: Mask | None, u: Floats, v: Floats, inside: Mask) -> tuple[Planes, Mask]:
    """Pixels and validity (C, h, w) at (u, v), each (h, w)."""
    height, width = planes.shape[1:]
    u, v = u.clip(0, width - 1), v.clip(0, height - 1)
    left, top = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    a, b = u - left, v - top
    values, lost = np.zeros((2, len(planes), *u.shape))
    for rows, columns, weight in (
        (top, left, (1 - a) * (1 - b)), (top, right, a * (1 - b)), (bottom, left, (1 - a) * b), (bottom, right, a * b),
    ):  # fmt: skip
        held = planes[:, rows, columns].astype(np.float64)
        good = np.isfinite(held) if valid is None else np.isfinite(held) & valid[:, rows, columns]
        values += weight * np.where(good, held, 0)
        lost += weight * ~good
    if planes.dtype.kind in "iu":
        values = np.rint(values)
    return values.astype(planes.dtype), inside & (lost <= ROUNDING)


def _inverse(matrix: ArrayLike, size: tuple[int, ...]) -> Floats:
    """Target pixels to source pixels, its third coordinate above 0 for all that the middle of the source can see."""
    forward = np.asarray(matrix, dtype=np.float64)
    if forward.shape != (3, 3) or not np.isfinite(forward).all():
        raise InputError("the matrix must be 3 x 3 and finite")
    if forward[2] @ ((size[1] - 1) / 2, (size[0] - 1) / 2, 1) < 0:
        forward = -forward
    try:
        return np.asarray(np.linalg.inv(forward))
    except np.linalg.LinAlgError:
        raise InputError("the matrix has no inverse: it maps the image to a line or a point") from None


def _halves(window: Window) -> tuple[Window, Window]:
    x, y, width, height = window.x, window.y, window.width, window.height
    if width >= height:
        return Window(x, y, width // 2, height), Window(x + width // 2, y, width - width // 2, height)
    return Window(x, y, width, height // 2), Window(x, y + height // 2, width, height - height // 2)
