"""A window of an image keeps the grey and the georeference of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiepoint.images.raster import open_image, read_image
from tiepoint.images.window import Window


def test_a_window_keeps_the_grey_and_the_place_of_the_whole(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="needs rasterio (pip install 'tiepoint[geo]')")
    from geotiffs import write_geotiff

    from tiepoint.images.geo import Geo

    planes = np.random.default_rng(0).integers(0, 4000, (5, 300, 400)).astype(np.uint16)
    planes[:, :100, :150] //= 8
    write_geotiff(
        tmp_path / "x.tif", planes, Geo((10, 0, 5e5, 0, -10, 4e6), rasterio.CRS.from_epsg(32633).to_wkt(), 32633)
    )
    whole = read_image(tmp_path / "x.tif")
    with open_image(tmp_path / "x.tif") as opened:
        part = opened.read(Window(120, 70, 90, 80))
    np.testing.assert_array_equal(part.pixels, whole.pixels[70:150, 120:210])
    assert part.limits == whole.limits
    assert part.geo is not None
    assert whole.geo is not None
    np.testing.assert_allclose(part.geo.to_map([[3, 4]]), whole.geo.to_map([[123, 74]]))
