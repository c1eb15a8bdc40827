"""Georeferences: kept from a GeoTIFF, and written with another image's pixels (needs the extra `geo`)."""

from __future__ import annotations

import errno
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError
from tiepoint.files import GENERATOR, atomic_file
from tiepoint.images.tiff import Damaged, read_tags
from tiepoint.names import in_utf8, is_utf8

BLOCK_PX = 512  # side of the tiles that are written
CACHE_BYTES = 64 * 2**20  # bytes of blocks that GDAL keeps; its own choice is 5 % of the memory
MAX_COORDINATE = 1e9  # of a place on the Earth, in any unit; PROJ counts around the Earth for hours from far beyond
LONGITUDE_LATITUDE = "EPSG:4326"


@dataclass(frozen=True)
class Geo:
    """Where an image lies on a map.

    Convention: `transform` is the file's own, as GDAL and rasterio hold it: (a, b, c, d, e, f) with
    X = a x + b y + c and Y = d x + e y + f, x and y counted from the top-left pixel's *corner*. `matrix` and `to_map`
    count from its centre, as all of this package.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: str = ""  # coordinate reference system as WKT; "" where the file names none
    epsg: int | None = None  # its EPSG number

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3), maps a pixel (x, y, 1), centres at integers, to (X, Y, 1)."""
        a, b, c, d, e, f = self.transform
        return np.array([[a, b, c + (a + b) / 2], [d, e, f + (d + e) / 2], [0, 0, 1]])

    def to_map(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map coordinates (N, 2) of pixels (N, 2)."""
        matrix = self.matrix
        return np.asarray(points, dtype=np.float64).reshape(-1, 2) @ matrix[:2, :2].T + matrix[:2, 2]

    def shifted(self, x: int, y: int) -> Geo:
        """The georeference of the part of the image whose top-left pixel is (x, y)."""
        a, b, c, d, e, f = self.transform
        return replace(self, transform=(a, b, a * x + b * y + c, d, e, d * x + e * y + f))

    def to_lonlat(self, points: ArrayLike) -> NDArray[np.float64]:
        """Longitude and latitude (N, 2) in degrees, WGS 84, of pixels (N, 2); NaN for those that lie off the Earth.

        Raises InputError without a crs.
        """
        if not self.crs:
            raise InputError(
                "the georeference names no coordinate reference system: assign one first (gdal_edit -a_srs)"
            )
        rasterio = import_rasterio("a map projection")
        from rasterio.warp import transform

        errors = gdal_errors(rasterio)

        def convert(places: NDArray[np.float64]) -> NDArray[np.float64]:
            try:
                found = np.stack(transform(self.crs, LONGITUDE_LATITUDE, *places.T)[:2], axis=1).reshape(-1, 2)
                return np.where(np.isfinite(found).all(axis=1, keepdims=True), found, np.nan)
            except errors:  # of one point alone, perhaps
                if len(places) < 2:
                    return np.full(places.shape, np.nan)
                return np.concatenate([convert(half) for half in np.array_split(places, 2)])

        places = self.to_map(points)
        near = (np.abs(places) < MAX_COORDINATE).all(axis=1)
        with gdal(rasterio):
            places[near] = convert(places[near])
        places[~near] = np.nan
        return places


def import_rasterio(what: str) -> Any:
    """The module rasterio. Raises InputError with the line that installs it; `what` says what it is needed for."""
    try:
        import rasterio
    except ImportError:
        raise InputError(f"{what}: needs rasterio: pip install 'tiepoint[geo]'") from None
    # GDAL's messages come as exceptions too; without a handler logging would print them a second time.
    logger = logging.getLogger("rasterio")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return rasterio


@contextmanager
def gdal(rasterio: Any) -> Iterator[None]:
    """GDAL with little memory for blocks, and in one thread: what others report goes to standard error."""
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_NUM_THREADS=1):
        yield


def gdal_errors(rasterio: Any) -> tuple[type[Exception], ...]:
    """What rasterio raises for a file that GDAL cannot read or write; some of GDAL's errors pass it unchanged."""
    from rasterio._err import CPLE_BaseError

    return rasterio.errors.RasterioError, CPLE_BaseError


@contextmanager
def geotiff_writer(
    path: str | Path, shape: tuple[int, ...], dtype: np.dtype[Any], geo: Geo | None, nodata: float | None = None,
    names: Sequence[str] = (),
) -> Iterator[Any]:  # fmt: skip
    """Yield a rasterio dataset to write windows to. The GeoTIFF is in place once all of it is written and checked.

    It is tiled, and compressed without loss. `shape` are bands, rows and columns; `dtype` is whole numbers of 8, 16 or
    32 bits, or floats; `geo` is of the image whose grid the pixels are on; `nodata` is the value of pixels that are not
    valid, None if there is none, or if a mask says which they are; `names` are of the bands.

    Raises InputError without rasterio, or for a dtype or a nodata value that cannot be written, and OSError for a full
    disk, also one that GDAL did not report.
    """
    rasterio = import_rasterio(f"{path}: a GeoTIFF")
    if not is_utf8(Path(path).name):
        raise InputError(f"{path}: GDAL writes files whose names are UTF-8: name another")
    if dtype not in (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64):
        raise InputError(f"{path}: pixels are {dtype}: give 8, 16 or 32 bits, or floats")
    if nodata is not None and dtype.kind in "iu" and not _held(nodata, dtype):
        raise InputError(f"{path}: nodata is {nodata:g}, which {dtype} does not hold: give another")
    profile: dict[str, Any] = {
        "driver": "GTiff", "count": shape[0], "height": shape[1], "width": shape[2], "dtype": dtype.name,
        "tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "compress": "deflate", "bigtiff": "if_safer",
        "nodata": nodata,
    }  # fmt: skip
    if geo is not None:
        profile |= {"transform": rasterio.Affine(*geo.transform), "crs": geo.crs or None}
    with atomic_file(path) as temporary:
        try:
            with (
                rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, GDAL_TIFF_INTERNAL_MASK=True),
                quiet(rasterio),
                in_utf8(temporary.parent.resolve()) as folder,
                rasterio.open(f"{folder}/{temporary.name}", "w", **profile) as dataset,
            ):
                dataset.update_tags(TIFFTAG_SOFTWARE=GENERATOR)
                for index, name in enumerate(names, 1):
                    dataset.set_band_description(index, name)
                yield dataset
        except gdal_errors(rasterio) as error:
            raise OSError(errno.EIO, f"could not be written ({error})", str(path)) from None
        # Blocks that GDAL writes as it closes the file fail without an exception.
        with suppress(Damaged), temporary.open("rb") as file:
            if not read_tags(file).sparse:
                return
        raise OSError(errno.EIO, "could not be written whole", str(path))


@contextmanager
def quiet(rasterio: Any) -> Iterator[None]:
    """rasterio warns of images without a georeference, which are the usual ones here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


def _held(value: float, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max
