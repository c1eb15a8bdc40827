"""Images as users have them, as one grey with a mask: any depth, any number of bands, whole or in windows.

TIFF and JPEG 2000 are read through rasterio where it is installed (the extra `geo`), and only then have a georeference.
Without it, and all other formats, through OpenCV, and raw files of cameras through rawpy (the extra `raw`); what these
cannot read or would misread is refused.
"""

import importlib.util
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.images.foreign import RGB, as_source
from tiepoint.images.gdal_source import GdalSource
from tiepoint.images.geo import Geo
from tiepoint.images.header import Header, check_size, inspect, opened, read_whole, upright
from tiepoint.images.pixels import decode_as, to_uint8, value_range
from tiepoint.images.raw import develop
from tiepoint.images.sources import ArraySource, BandSource, choose_grey, render, sampling_step, to_depth
from tiepoint.images.tiff import WHITE
from tiepoint.images.window import Window
from tiepoint.types import Image, Mask, Planes

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Raster:
    """One grey image, or a window of it.

    Pixels that are not valid hold the image's median, which makes weaker edges than nodata values do. `limits` are the
    grey values that stand for 0 and 1 of valid pixels, see `tiepoint.images.pixels.value_range`, and of the whole image
    also in a window.
    """

    pixels: Planes  # (H, W), uint8, uint16 or float32 and finite
    mask: Mask | None  # (H, W) bool, valid pixels; None if all are
    limits: tuple[float, float]
    geo: Geo | None = None  # georeference of these pixels
    name: str = "image"  # what errors call it
    bands: tuple[str, ...] = ("1",)  # names of the bands of the image that it comes from
    orientation: int = 1  # by which the stored image was turned, see `tiepoint.images.header`; 1 if it was not

    def to_uint8(self) -> NDArray[np.uint8]:
        """An 8-bit version for detectors and for display, stretched by `limits`; uint8 as it is."""
        return to_uint8(self.pixels, self.limits)


class Reader:
    """An image that is read in windows, each with the grey and the limits of the whole. A context manager.

    Statistics are those of about a million pixels, evenly spaced: limits, ranges of bands, and the median.

    `shape` are the upright rows and columns; `source`, `bands`, `geo` and `name` are of `tiepoint.images.sources`, and
    `limits` see `Raster`. Raises InputError for an unknown band, or an image without a valid pixel.
    """

    def __init__(
        self, source: BandSource, band: int | str | None = None, orientation: int = 1, max_pixels: int | None = None
    ) -> None:
        self.source, self.shape, self.bands, self.geo = source, source.shape, source.bands, source.geo
        self.name = source.name
        self._orientation, self._max_pixels = orientation, max_pixels
        self._grey = choose_grey(source, band)
        pixels, mask = render(source, self._grey, Window.whole(self.shape), sampling_step(self.shape))
        values = pixels.reshape(-1) if mask is None else pixels[mask]
        if not len(values):
            raise InputError(f"{self.name}: holds no valid pixel: all are nodata, transparent or NaN")
        self.limits = value_range(values)
        self._fill = np.median(values).astype(values.dtype)

    def read(self, window: Window | None = None) -> Raster:
        """A window, or the whole image, which must not have more pixels than the limit of `tiepoint.images.header`."""
        window = window or Window.whole(self.shape)
        check_size(window.width, window.height, self.name, self._max_pixels, ", or read it by tiles")
        pixels, mask = render(self.source, self._grey, window)
        if mask is not None:
            pixels = np.where(mask, pixels, self._fill)
        geo = None if self.geo is None else self.geo.shifted(window.x, window.y)
        pixels = np.ascontiguousarray(pixels)
        return Raster(pixels, mask, self.limits, geo, self.name, self.bands, self._orientation)

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def read_image(
    path: str | Path, band: int | str | None = None, *, orient: bool = True, max_pixels: int | None = None,
    nodata: float | None = None,
) -> Raster:  # fmt: skip
    """Read an image as one grey with the mask of its valid pixels.

    By default a colour image becomes its luma, an image of one band stays as it is, and any other becomes the mean of
    its bands, each stretched between its 0.1 and 99.9 percentiles: float32 in 0..1. An alpha channel is no band.
    Pixels are not valid where they are nodata, fully transparent, outside the file's mask, NaN or infinite.

    Args:
        path: of the image.
        band: take one band, by its number from 1 or by its name.
        orient: turn the image upright by its EXIF orientation; coordinates are then those of the upright image. An
            image with a georeference lies as its georeference says and is never turned.
        max_pixels: refuse larger images before they are decoded; None for the limit of `tiepoint.images.header`.
        nodata: grey value, as stored, of pixels that are not valid, beside what the file says; of colours all of them.

    Raises InputError for a file that is missing, empty, truncated, damaged, too large or no image, an unknown band, no
    valid pixel, or one that needs rasterio where it is not installed.
    """
    with _open(path, band, orient, max_pixels, nodata, whole=True) as reader:
        raster = reader.read()
        LOG.debug("read %s: %s, %s", path, raster.pixels.shape, raster.pixels.dtype)
        return raster


def read_planes(path: str | Path, *, color: bool = False, orient: bool = True, floats: bool = True) -> Planes:
    """Read an image all of whose pixels are valid, as training needs it: (1, H, W), or (3, H, W) with `color`.

    Args:
        color: RGB, a grey image repeated, instead of the grey of `read_image`.
        orient: see `read_image`. Coordinates that came with a data set count in the image as stored: False.
        floats: whether float32 is allowed, beside uint8 and uint16.

    Raises InputError, see `read_image`, and for an image with nodata, transparent or NaN pixels.
    """
    with _open(path, None, orient, None, None, whole=True) as reader:
        raster = reader.read()
        colours = reader.source.colours if color else None
        if raster.mask is not None:
            raise InputError(f"{path}: holds pixels that are nodata, transparent, NaN or infinite: fill them first")
        planes = raster.pixels[None]
        if colours is not None:
            planes = to_depth(reader.source.read(colours, Window.whole(reader.shape))[0], reader.name)
    if planes.dtype == np.float32 and not floats:
        raise InputError(f"{path}: grey values are {planes.dtype}: give uint8 or uint16")
    return np.ascontiguousarray(np.broadcast_to(planes, (3, *planes.shape[1:])) if color else planes)


def open_image(
    path: str | Path, band: int | str | None = None, *, orient: bool = True, max_pixels: int | None = None,
    nodata: float | None = None,
) -> Reader:  # fmt: skip
    """Open an image to read it in windows; see `read_image` for the arguments and errors.

    Memory is bounded by the window for TIFF and JPEG 2000 with rasterio, unless an orientation must be undone. Other
    files are decoded as a whole and held, so the limit of pixels is checked here.
    """
    return _open(path, band, orient, max_pixels, nodata, whole=False)


def _open(
    path: str | Path, band: int | str | None, orient: bool, max_pixels: int | None, nodata: float | None, whole: bool
) -> Reader:
    marked = () if nodata is None else (nodata,)
    with opened(path) as file:
        header = inspect(file, path)
        tags = header.tiff
        windowed = header.kind in ("tiff", "jp2") and _has_rasterio()
        if whole or not windowed:
            # Through rasterio no more than three bands are held at once.
            most = header.pixel_bytes if tags is None or not windowed else min(tags.bands, 3) * tags.sample_bytes
            check_size(header.width, header.height, path, max_pixels, pixel_bytes=most)
        if windowed or (tags is not None and not (tags.plain and len(tags.pages) == 1)):
            source: BandSource = GdalSource(path, header, max_pixels)
            source.nodata = marked
        elif header.kind == "raw":
            image, turned = develop(path, max_pixels)
            header = replace(header, orientation=turned)
            source = ArraySource(str(path), image.transpose(2, 0, 1), RGB, (0, 1, 2), nodata=marked)
        else:
            image = decode_as(header, read_whole(file, path, max_pixels), path)
            source = _decoded(image, header, path, marked)
    try:
        located = source.geo is not None or (tags is not None and tags.georeferenced)
        orientation = header.orientation if orient and not located else 1
        if orientation != 1:
            check_size(header.width, header.height, path, max_pixels, pixel_bytes=header.pixel_bytes)
            source = _turned(source, orientation)
        return Reader(source, band, orientation, max_pixels)
    except BaseException:
        source.close()
        raise


def as_raster(
    image: Image | Raster, name: str = "image", band: int | str | None = None, nodata: float | None = None
) -> Raster:
    """An image given as a path, a raster, an array, or as other libraries hold it, as a raster.

    Arrays are (H, W) or (C, H, W) of real numbers, three bands being RGB; NaN, infinity, `nodata` and what a masked
    array masks are not valid. See `tiepoint.images.foreign.as_source` for images of PIL and tensors. A raster stays as
    it is. Raises InputError.
    """
    if isinstance(image, Raster):
        return image
    if isinstance(image, str | Path):
        return read_image(image, band, nodata=nodata)
    source = as_source(image, name, () if nodata is None else (nodata,))
    return Reader(source, band, max_pixels=source.planes.size).read()


def _decoded(image: NDArray[Any], header: Header, path: str | Path, nodata: tuple[float, ...]) -> ArraySource:
    """What OpenCV decoded: (H, W) or (H, W, 3 or 4) in BGR order. The fourth band of a TIFF may be no alpha."""
    tags = header.tiff
    if tags is not None and tags.nodata is not None:
        nodata = (*nodata, tags.nodata)
    if tags is not None and tags.photometric == WHITE:
        nodata = tuple(np.iinfo(image.dtype).max - value for value in nodata)
    if header.transparent is not None:
        nodata = (*nodata, header.transparent)
    if image.ndim == 2:
        return ArraySource(str(path), image[None], ("1",), nodata=nodata)
    if image.shape[2] not in (3, 4):
        raise InputError(f"{path}: has {image.shape[2]} bands: convert it to a TIFF")
    planes, bands, mask = image[..., 2::-1].transpose(2, 0, 1), RGB, None
    if image.shape[2] == 4 and tags is not None and not tags.alpha:
        planes, bands = np.concatenate([planes, image[None, ..., 3]]), (*RGB, "4")
    elif image.shape[2] == 4:
        mask = image[..., 3] > 0
    return ArraySource(str(path), planes, bands, (0, 1, 2), mask, nodata)


def _turned(source: BandSource, orientation: int) -> ArraySource:
    """The source as an array in memory, upright."""
    planes, valid = source.read(range(len(source.bands)), Window.whole(source.shape))
    source.close()
    mask = None if valid is None else np.ascontiguousarray(upright(valid, orientation))
    planes = np.ascontiguousarray(upright(planes, orientation))
    return ArraySource(source.name, planes, source.bands, source.colours, mask)


def _has_rasterio() -> bool:
    return importlib.util.find_spec("rasterio") is not None
