"""Georeferences are kept, and warped images are written with them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from geotiffs import write_geotiff

from tiepoint.errors import InputError
from tiepoint.images import resample
from tiepoint.images.geo import Geo, quiet
from tiepoint.images.raster import as_raster, open_image, read_image
from tiepoint.images.resample import warp_image, warp_to_geotiff

rasterio = pytest.importorskip("rasterio", reason="needs rasterio (pip install 'tiepoint[geo]')")
UTM = 32633
TURNED = (8.66, 5.0, 500_000.0, 5.0, -8.66, 4_649_776.0)


@pytest.fixture
def geo() -> Geo:
    return Geo(TURNED, rasterio.CRS.from_epsg(UTM).to_wkt(), UTM)


def grey(dtype: Any = np.uint16, height: int = 60, width: int = 70) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, (height, width)).astype(dtype)


def read(path: Path) -> Any:
    with quiet(rasterio):
        return rasterio.open(path)


def test_a_georeference_is_kept(tmp_path: Path, geo: Geo) -> None:
    path = tmp_path / "x.tif"
    write_geotiff(path, grey(), geo)
    found = read_image(path)
    np.testing.assert_array_equal(found.pixels, grey())
    assert found.geo == geo
    write_geotiff(tmp_path / "again.tif", found.pixels, found.geo)
    with read(path) as first, read(tmp_path / "again.tif") as second:
        assert first.transform == second.transform
        assert first.crs == second.crs == rasterio.CRS.from_epsg(UTM)
    assert tifffile.imread(path).shape == (60, 70)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.tif", "x.tif"]


def test_pixels_are_counted_from_the_centre_of_the_first(tmp_path: Path, geo: Geo) -> None:
    write_geotiff(tmp_path / "x.tif", grey(), geo)
    points = np.array([[0, 0], [10.25, 3.5], [69, 59]])
    with read(tmp_path / "x.tif") as dataset:
        expected = [dataset.xy(row, column) for column, row in points]  # of a pixel's centre
    np.testing.assert_allclose(geo.to_map(points), expected, atol=1e-6)
    np.testing.assert_allclose(geo.shifted(7, 9).to_map(points), geo.to_map(points + np.array([7, 9])))


def test_longitude_and_latitude(geo: Geo) -> None:
    # Zone 33 has its central meridian, 15 degrees east, at 500 km; 4,649,776 m north is 42 degrees.
    origin = Geo((10, 0, 499_995, 0, -10, 4_649_781), geo.crs, UTM)
    np.testing.assert_allclose(origin.to_lonlat([[0, 0]]), [[15, 42]], atol=1e-5)
    assert origin.to_lonlat(np.empty((0, 2))).shape == (0, 2)
    with pytest.raises(InputError, match="no coordinate reference system"):
        Geo(TURNED).to_lonlat([[0, 0]])


def test_a_transform_without_a_crs_is_kept_and_an_exif_orientation_ignored(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "x.tif", grey(), Geo(TURNED))
    assert read_image(tmp_path / "x.tif").geo == Geo(TURNED)
    tags = [(33550, "d", 3, (2.0, 2.0, 0.0), False), (33922, "d", 6, (0.0, 0, 0, 100, 900, 0), False)]
    tifffile.imwrite(tmp_path / "y.tif", grey(), extratags=[*tags, (274, "H", 1, 6, False)])
    found = read_image(tmp_path / "y.tif")
    assert found.geo == Geo((2, 0, 100, 0, -2, 900))
    assert found.orientation == 1
    np.testing.assert_array_equal(found.pixels, grey())


def test_images_without_a_georeference_have_none(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "x.tif", grey(), None)
    assert read_image(tmp_path / "x.tif").geo is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("nodata", [None, 0, 99])
def test_masks_and_nodata_come_back(tmp_path: Path, geo: Geo, dtype: Any, nodata: float | None) -> None:
    planes = np.stack([grey(dtype), grey(dtype) + 200 if dtype != np.uint8 else grey(dtype)])
    planes[planes == 99] = 98
    mask = np.random.default_rng(1).random(planes.shape[1:]) > 0.3
    write_geotiff(tmp_path / "x.tif", planes, geo, nodata, mask, ("near", "far"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.tif"]  # the mask lies inside
    found = read_image(tmp_path / "x.tif", "far")
    assert found.mask is not None
    np.testing.assert_array_equal(found.mask, mask)
    np.testing.assert_array_equal(found.pixels[mask], planes[1][mask].astype(found.pixels.dtype))
    with read(tmp_path / "x.tif") as dataset:
        assert dataset.dtypes == (np.dtype(dtype).name,) * 2
        assert dataset.nodata == nodata
        assert dataset.descriptions == ("near", "far")


@pytest.mark.parametrize(
    ("pixels", "nodata", "words"),
    [
        (grey(np.uint8), 256, "nodata is 256, which uint8 does not hold"),
        (grey(np.uint8), -1, "nodata is -1"),
        (grey(np.uint16), 0.5, "nodata is 0.5"),
        (grey(np.complex64), None, "pixels are complex64"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, pixels: np.ndarray, nodata: float | None, words: str
) -> None:
    with pytest.raises(InputError, match=rf"x\.tif: {words}"):
        write_geotiff(tmp_path / "x.tif", pixels, None, nodata)
    assert list(tmp_path.iterdir()) == []


SUPPORT = Path(__file__).parents[1] / "support"
FULL = """
import resource, signal, sys
import numpy as np
sys.path.append(sys.argv[4])
from geotiffs import write_geotiff
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
side, limit = int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    write_geotiff(sys.argv[1], np.random.default_rng(0).integers(0, 255, (side, side), dtype=np.uint8), None)
except OSError as error:
    print(error.filename, "|", error.strerror)
"""


@pytest.mark.whole
@pytest.mark.parametrize(("side", "limit"), [(100, 300), (100, 5000), (700, 200_000), (700, 489_000)])
def test_a_full_disk_leaves_no_half_file(tmp_path: Path, side: int, limit: int) -> None:
    """A limit on the size of files stands for the disk. GDAL tells nothing of what it fails to write as it closes."""
    path = tmp_path / "x.tif"
    command = [sys.executable, "-c", FULL, str(path), str(side), str(limit), str(SUPPORT)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.startswith(f"{path} | could not be written")
    assert list(tmp_path.iterdir()) == []


def test_a_whole_image_is_not_taken_for_half_of_one(tmp_path: Path) -> None:
    for pixels in (np.zeros((700, 600), dtype=np.uint8), np.full((1, 1), 5.0, dtype=np.float32)):
        write_geotiff(tmp_path / "x.tif", pixels, None, mask=np.ones(pixels.shape, dtype=bool))
        assert (tmp_path / "x.tif").is_file()


def test_without_rasterio_the_remedy_is_named(tmp_path: Path, geo: Geo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(InputError, match=r"x\.tif: a GeoTIFF: needs rasterio: pip install 'tiepoint\[geo\]'"):
        write_geotiff(tmp_path / "x.tif", grey(), geo)
    with pytest.raises(InputError, match=r"pip install 'tiepoint\[geo\]'"):
        geo.to_lonlat([[0, 0]])


@pytest.mark.parametrize("most", [2**24, 5000])
def test_all_bands_are_warped_to_a_file_as_each_is_in_memory(
    tmp_path: Path, geo: Geo, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resample, "MAX_VALUES", most)  # blocks are divided where they need more of the source
    planes = np.stack([grey(np.int16, 620, 700), -grey(np.int16, 620, 700)])
    mask = np.ones((620, 700), dtype=bool)
    mask[100:150, 200:300] = False
    write_geotiff(tmp_path / "a.tif", planes, None, mask=mask)
    matrix = np.array([[0.98, -0.17, 46.0], [0.16, 1.02, -31.0], [8e-5, -5e-5, 1.0]])
    steps = []

    def progress(done: int, total: int) -> None:
        steps.append((done, total))

    for nodata in (None, -999):
        with open_image(tmp_path / "a.tif") as reader:
            warp_to_geotiff(reader, matrix, (640, 560), tmp_path / "b.tif", geo, nodata, progress)
        assert steps[-1] == (4, 4)
        with read(tmp_path / "b.tif") as dataset:
            assert dataset.dtypes == ("int16", "int16")
            assert dataset.nodata == nodata
        for band in (1, 2):
            found = read_image(tmp_path / "b.tif", band)
            expected, held = warp_image(read_image(tmp_path / "a.tif", band), matrix, (640, 560))
            assert found.geo == geo
            assert found.mask is not None
            np.testing.assert_array_equal(found.mask, held)
            # Whole numbers are rounded in the file; as a raster, int16 is float32.
            assert np.abs(found.pixels[held] - expected[held]).max() <= 0.5


def test_an_array_can_be_warped_to_a_file_too(tmp_path: Path, geo: Geo) -> None:
    tifffile.imwrite(tmp_path / "a.tif", grey())
    with open_image(tmp_path / "a.tif") as reader:
        warp_to_geotiff(reader, np.eye(3), (60, 70), tmp_path / "b.tif", geo, nodata=0)
    found = read_image(tmp_path / "b.tif")
    assert found.mask is None
    np.testing.assert_array_equal(found.pixels, as_raster(grey()).pixels)


def test_names_need_not_be_utf8(tmp_path: Path, geo: Geo) -> None:
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / name).mkdir()
    path = tmp_path / name / "x.tif"
    write_geotiff(path, grey(), geo)  # GDAL takes UTF-8 alone
    os.replace(path, path := path.with_name(f"{name}:[1].tif"))
    assert read_image(path).geo == geo
    tifffile.imwrite(tmp_path / "y.tif", grey())
    os.replace(tmp_path / "y.tif", path := tmp_path / f"{name}.tif")
    path.with_suffix(".tfw").write_text("2\n0\n0\n-2\n500\n700\n")
    found = read_image(path)
    assert found.geo is not None
    assert found.geo.transform == (2, 0, 499, 0, -2, 701)
    np.testing.assert_array_equal(found.pixels, grey())
    with pytest.raises(InputError, match="GDAL writes files whose names are UTF-8"):
        write_geotiff(path, grey(), geo)
