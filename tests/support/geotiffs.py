"""GeoTIFFs for tests, written by the writer of warped images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tiepoint.images.geo import Geo, geotiff_writer


def write_geotiff(
    path: str | Path,
    pixels: np.ndarray,
    geo: Geo | None,
    nodata: float | None = None,
    mask: np.ndarray | None = None,
    names: Sequence[str] = (),
) -> None:
    """Write (H, W) or (C, H, W); pixels outside `mask` become `nodata`, or are marked by a mask where it is None."""
    planes = pixels[None] if pixels.ndim == 2 else pixels
    if mask is not None and nodata is not None:
        planes = np.where(mask, planes, np.asarray(nodata).astype(planes.dtype))
    with geotiff_writer(path, planes.shape, planes.dtype, geo, nodata, names) as dataset:
        dataset.write(planes)
        if mask is not None and nodata is None:
            dataset.write_mask(mask)
