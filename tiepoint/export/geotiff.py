"""Image a of a registration on the grid of image b, all its bands, as a GeoTIFF."""

from pathlib import Path

import numpy as np

from tiepoint.errors import InputError
from tiepoint.geometry.warps import Warp
from tiepoint.images.geo import Geo, geotiff_writer, import_rasterio
from tiepoint.images.raster import Raster, Reader, open_image
from tiepoint.images.resample import warp_to_geotiff
from tiepoint.images.window import Window
from tiepoint.options import TWO_VIEW_MODELS
from tiepoint.registration.result import Registration
from tiepoint.types import Progress, tracked

SUFFIXES = (".tif", ".tiff")


def check_warped(path: str | Path, model: str) -> None:
    """Raise InputError, before images are registered by `model`, where none could be warped to this file."""
    _check_name(path)
    if model in TWO_VIEW_MODELS:
        raise InputError(f"model {model} has no transform to warp an image by: leave out warp_output")
    import_rasterio(f"{path}: a GeoTIFF")


def write_warped(
    path: str | Path,
    image: str | Path,
    registration: Registration,
    nodata: float | None = None,
    progress: Progress | None = None,
) -> None:
    """Resample all bands of image a onto the grid of b and write them with the georeference of b, atomically.

    By the transform block by block, in bounded memory; by a warp band by band. `image` is the file that was registered
    as image a, and `registration` accepted, by a model that maps points. `nodata` is the value of pixels that a does
    not reach or that are not valid in it; None writes a mask into the file. `progress` is called with (blocks or bands
    done, those in all).

    Raises InputError for a registration that maps no points, an image of another size, no rasterio, or what
    `tiepoint.images.resample.warp_to_geotiff` refuses.
    """
    _check_name(path)
    if registration.transform is None:
        registration.map([])  # says why
        return
    with open_image(image, nodata=registration.a.nodata) as reader:
        if reader.shape[::-1] != registration.a.size:
            size = "x".join(map(str, registration.a.size))
            raise InputError(f"{image}: is not of the size of what was registered, {size}: give image a")
        geo, shape = registration.b.geo, registration.b.size[::-1]
        if registration.warp is None:
            warp_to_geotiff(reader, registration.transform, shape, path, geo, nodata, progress)
        else:
            _bands(reader, registration.warp, shape, path, geo, nodata, progress)


def _check_name(path: str | Path) -> None:
    """Raise InputError for a file that is named like another format."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: a warped image is a GeoTIFF: name it .tif")


def _bands(
    reader: Reader, warp: Warp, shape: tuple[int, int], path: str | Path, geo: Geo | None, nodata: float | None,
    progress: Progress | None,
) -> None:  # fmt: skip
    source, count = reader.source, len(reader.source.bands)
    whole = Window(0, 0, reader.shape[1], reader.shape[0])
    dtype = source.read([0], Window(0, 0, 1, 1))[0].dtype
    held = np.zeros(shape, dtype=bool)
    with geotiff_writer(path, (count, *shape), dtype, geo, nodata, source.bands) as dataset:
        for index in tracked(range(count), progress, count):
            planes, valid = source.read([index], whole)
            raster = Raster(planes[0], None if valid is None else valid[0], reader.limits)
            pixels, reached = warp.warp(raster, shape, 0 if nodata is None else nodata)
            dataset.write(pixels, index + 1)
            held |= reached
        if nodata is None:
            dataset.write_mask(held)
