"""Image a of a registration as a GeoTIFF on the grid of b."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from bands import without_rasterio
from made_registration import made

from tiepoint.errors import InputError
from tiepoint.export.geotiff import write_warped
from tiepoint.features.view import View
from tiepoint.geometry.robust import apply
from tiepoint.images.geo import Geo, quiet
from tiepoint.images.raster import Raster
from tiepoint.images.resample import warp_image
from tiepoint.options import override
from tiepoint.registration.result import Registration
from tiepoint.registration.warp import apply_if_better

rasterio = pytest.importorskip("rasterio", reason="needs rasterio (pip install 'tiepoint[geo]')")
MATRIX = np.array([[0.97, -0.1, 30.0], [0.1, 0.97, -20.0], [0, 0, 1.0]])
GEO = Geo((10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0), rasterio.CRS.from_epsg(32633).to_wkt(), 32633)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Three 16-bit bands of 120 x 90, by name."""
    planes = np.random.default_rng(0).integers(1, 60_000, (3, 90, 120)).astype(np.uint16)
    path = tmp_path / "a.tif"
    with (
        quiet(rasterio),
        rasterio.open(path, "w", driver="GTiff", count=3, height=90, width=120, dtype="uint16") as file,
    ):
        file.write(planes)
        for index, name in enumerate(("red", "nir", "swir"), 1):
            file.set_band_description(index, name)
    return path


def registered(bent: bool = False, refused: bool = False) -> Registration:
    """Of a 120 x 90 image to one of as many pixels with a georeference; bent by a thin plate."""
    found = made(None if refused else MATRIX, size=(120, 90), count=80, outliers=0)
    if bent:
        a = found.points[:, :2]
        found.points[:, 2:] = apply(MATRIX, a) + 3 * np.column_stack([np.sin(a[:, 1] / 20), np.cos(a[:, 0] / 25)])
        found = replace(found, options=override(found.options, {"warp": "thin-plate"}))
        found = apply_if_better(found, (View(None), View(None)), None)
        assert found.warp is not None
    return replace(found, b=replace(found.b, geo=GEO))


def read(path: Path) -> Any:
    with quiet(rasterio), rasterio.open(path) as file:
        return file.read(), file.dataset_mask() > 0, file.transform, file.crs, file.descriptions


@pytest.mark.parametrize("bent", [False, True])
def test_all_bands_lie_on_the_grid_of_b(image: Path, tmp_path: Path, bent: bool) -> None:
    found = registered(bent)
    steps: list[tuple[int, int]] = []
    write_warped(tmp_path / "out.tif", image, found, progress=lambda done, total: steps.append((done, total)))
    planes, mask, transform, crs, names = read(tmp_path / "out.tif")
    assert planes.shape == (3, 90, 120)
    assert planes.dtype == np.uint16
    assert names == ("red", "nir", "swir")
    assert transform == rasterio.Affine(*GEO.transform)
    assert crs == rasterio.CRS.from_epsg(32633)
    assert steps[-1] == ((3, 3) if bent else (1, 1))
    for band, stored in zip(planes, read(image)[0], strict=True):
        raster = Raster(stored, None, (0, 1))
        expected, covered = (
            warp_image(raster, MATRIX, (90, 120)) if found.warp is None else found.warp.warp(raster, (90, 120))
        )
        np.testing.assert_array_equal(band, expected)
        np.testing.assert_array_equal(mask, covered)
    assert 0.3 < mask.mean() < 1


@pytest.mark.parametrize("bent", [False, True])
def test_nodata_marks_what_a_does_not_reach(image: Path, tmp_path: Path, bent: bool) -> None:
    write_warped(tmp_path / "out.tif", image, registered(bent), nodata=65535)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.nodata == 65535
        planes = file.read()
    outside = (planes == 65535).all(axis=0)
    assert 0.05 < outside.mean() < 0.7
    assert not (planes == 0).any()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("out.png", {}, "name it .tif"),
        ("out.tif", {"refused": True}, "the registration was refused"),
    ],
)
def test_what_cannot_be_written_is_refused(
    image: Path, tmp_path: Path, name: str, options: dict[str, bool], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        write_warped(tmp_path / name, image, registered(**options))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif"]


def test_an_image_of_another_size_is_refused(image: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((60, 70), np.uint8))
    with pytest.raises(InputError, match=r"b\.tif: is not of the size of what was registered, 120x90: give image a"):
        write_warped(tmp_path / "out.tif", tmp_path / "b.tif", registered())


def test_without_rasterio_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.arange(90 * 120, dtype=np.uint16).reshape(90, 120))
    without_rasterio(monkeypatch)
    with pytest.raises(InputError, match=r"out\.tif: a GeoTIFF: needs rasterio: pip install 'tiepoint\[geo\]'"):
        write_warped(tmp_path / "out.tif", tmp_path / "a.tif", registered())
    assert not (tmp_path / "out.tif").exists()
