"""One image as matching and registration see it: its raster, where it is at hand, and its features, once described."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from numpy.typing import ArrayLike

from tiepoint.errors import InputError
from tiepoint.features.describe import Features, describe
from tiepoint.images.geo import Geo
from tiepoint.images.raster import Raster, as_raster
from tiepoint.models.describer import Describer
from tiepoint.options import Band, Detection, Nodata
from tiepoint.types import Image

MIN_STRUCTURE_PX = 192  # a side, to hold a window and its search


@dataclass(frozen=True)
class ViewInfo:
    """What is kept of a view in a result: everything but pixels and descriptors."""

    name: str  # the file, or "image a" and "image b" for arrays
    size: tuple[int, int]  # width and height in pixels
    source: Path | None = None  # the file that it was read from
    band: Band = None  # the band that was taken of it, by number from 1 or by name; None for the default
    geo: Geo | None = None
    keypoints: int = 0
    factor: int = 1  # by which the image was reduced to be registered first; 1 for an image held whole
    nodata: Nodata = None  # the value of pixels that were taken as not valid, beside what the file says


@dataclass(frozen=True)
class View:
    """One image: its raster, its features, or both; `name`, `source`, `band` and `nodata` as of `ViewInfo`."""

    raster: Raster | None  # None where only features are at hand
    features: Features | None = None  # None before it is described
    name: str = "image"
    source: Path | None = None
    band: Band = None
    nodata: Nodata = None

    @classmethod
    def of(cls, image: Image | Raster | Features | View, name: str, band: Band = None, nodata: Nodata = None) -> View:
        """The view of an image in any form that users have it in.

        Raises InputError for an unusable image, an unknown band, or a band of an image whose band was chosen before.
        """
        if isinstance(image, View | Raster | Features) and band is not None:
            raise InputError(f"{name}: its band was chosen when it was read: leave out band {band!r}")
        if isinstance(image, View | Raster | Features) and nodata is not None:
            raise InputError(f"{name}: is read already: leave out nodata {nodata:g}, or give it then")
        if isinstance(image, View):
            return image
        if isinstance(image, Features):
            return cls(None, image, name)
        source = Path(image) if isinstance(image, str | Path) else None
        raster = as_raster(image, name, band, nodata)
        return cls(raster, None, raster.name, source, band, nodata)

    def described(self, describer: Describer, detection: Detection, rotation: ArrayLike | None = None) -> View:
        """The view with its features, which are computed where it has none; see `describe`."""
        if self.features is not None:
            return self
        assert self.raster is not None
        return replace(self, features=describe(self.raster, describer, detection, rotation=rotation, name=self.name))

    @property
    def known(self) -> Features:
        """Its features, which `described` gave it."""
        assert self.features is not None
        return self.features

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if self.raster is None:
            return self.known.size
        height, width = self.raster.pixels.shape
        return width, height

    def is_wide(self, least: int) -> bool:
        """Whether its pixels are at hand, at least `least` a side."""
        return self.raster is not None and min(self.raster.pixels.shape) >= least

    @property
    def has_structure(self) -> bool:
        """Whether its pixels are at hand, and enough of them to compare its structure."""
        return self.is_wide(MIN_STRUCTURE_PX)

    @property
    def info(self) -> ViewInfo:
        """What a result keeps of it."""
        geo = self.known.geo if self.raster is None else self.raster.geo
        return ViewInfo(self.name, self.size, self.source, self.band, geo, len(self.known), nodata=self.nodata)
