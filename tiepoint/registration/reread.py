"""Registered images, whose pixels a registration does not hold: given once more, or read from their files again."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.features.view import ViewInfo
from tiepoint.images.downsampled import Downsampled
from tiepoint.images.foreign import as_source
from tiepoint.images.raster import Raster, as_raster, open_image
from tiepoint.images.resample import warp_image
from tiepoint.images.window import Window
from tiepoint.registration.overlay import Mapping
from tiepoint.types import Image, Mask, Planes

Input = Image | Raster


def read_picture(view: ViewInfo, image: Input | None, longest: int) -> NDArray[np.uint8]:
    """A registered image as 8-bit grey, reduced to about `longest` px a side if it is a larger file.

    It is `image`, in any form, or the file that was read if None. Raises InputError for no file to read, for one that
    cannot be read any more, or an image of another size.
    """
    given = _given(view, image)
    if not isinstance(given, str | Path):
        raster = as_raster(given, view.name, view.band, view.nodata)
        _check_size(view, raster.pixels.shape)
        return raster.to_uint8()
    with open_image(given, view.band, nodata=view.nodata) as reader:
        _check_size(view, reader.shape)
        factor = -(-max(reader.shape) // longest)
        return (reader.read() if factor == 1 else Downsampled(reader, factor).read()).to_uint8()


def warp_bands(
    view: ViewInfo, image: Input | None, mapping: Mapping, size: tuple[int, int]
) -> np.ma.MaskedArray[Any, Any]:
    """All bands of an image on a grid of `size` width and height; see `Registration.warp_image`."""
    planes, valid = _read_bands(_given(view, image), view)
    _check_size(view, planes.shape[1:])
    shape = size[::-1]
    rasters = [Raster(plane, None if valid is None else valid[k], (0, 1)) for k, plane in enumerate(planes)]
    if isinstance(mapping, np.ndarray):
        bands = [warp_image(raster, mapping, shape) for raster in rasters]
    else:
        bands = [mapping.warp(raster, shape) for raster in rasters]
    pixels, reached = (np.stack(parts) for parts in zip(*bands, strict=True))
    warped = np.ma.MaskedArray(pixels, ~reached)
    return warped if len(bands) > 1 else warped[0]


def _read_bands(image: Input, view: ViewInfo) -> tuple[Planes, Mask | None]:
    """Bands (C, H, W) as stored, upright, and where each is valid (C, H, W)."""
    if isinstance(image, Raster):
        return image.pixels[None], None if image.mask is None else image.mask[None]
    if isinstance(image, str | Path):
        with open_image(image, nodata=view.nodata) as reader:
            return reader.source.read(range(len(reader.bands)), Window.whole(reader.shape))
    source = as_source(image, view.name, () if view.nodata is None else (view.nodata,))
    return source.read(range(len(source.bands)), Window.whole(source.shape))


def _given(view: ViewInfo, image: Input | None) -> Input:
    given = view.source if image is None else image
    if given is None:
        raise InputError(f"{view.name}: was not read from a file: give the image itself")
    return given


def _check_size(view: ViewInfo, shape: tuple[int, ...]) -> None:
    if shape[::-1] != view.size:
        has, wanted = f"{shape[1]}x{shape[0]} pixels", "x".join(map(str, view.size))
        raise InputError(f"{view.name}: has {has}, but what was registered has {wanted}: give the registered image")
