"""Which band of an image is taken: one setting for both images of a pair, or one for each."""

from __future__ import annotations

import numpy as np

from tiepoint.errors import InputError
from tiepoint.features.describe import Features
from tiepoint.images.raster import Raster, as_raster
from tiepoint.types import Image

Band = int | str | None
Bands = Band | tuple[Band, Band]


def band_of_each(band: Bands) -> tuple[Band, Band]:
    """The band of a and that of b, numbers as plain integers. Raises InputError for what is neither one nor two."""
    each = tuple(band) if isinstance(band, tuple | list) else (band, band)
    if len(each) != 2 or any(not isinstance(one, str | int | np.integer | None) for one in each):
        raise InputError(f"band is {band!r}: give a number or a name for both images, or two")
    first, second = (int(one) if isinstance(one, np.integer) else one for one in each)
    return first, second


def with_band(image: Image | Raster | Features, name: str, band: Band) -> Image | Raster | Features:
    """The image with this band alone; as it was given where `band` is None.

    Raises:
        InputError: an unknown band, or an image whose band was chosen when it was read.
    """
    if band is None:
        return image
    if isinstance(image, Raster | Features):
        raise InputError(f"{name}: its band was chosen when it was read: leave out band {band!r}")
    return as_raster(image, name, band)
