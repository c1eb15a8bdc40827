"""Images of any depth and number of bands become one grey, with rasterio and, where it can, without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from bands import HAS_RASTERIO, bands, needs_rasterio, without_rasterio
from PIL import Image, ImageOps

from tiepoint.errors import InputError
from tiepoint.images import pixels as io
from tiepoint.images.geo import quiet
from tiepoint.images.header import upright
from tiepoint.images.raster import as_raster, read_image, read_planes


@needs_rasterio
@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("uint8", "uint8"), ("uint16", "uint16"), ("float32", "float32"), ("int8", "float32"), ("int16", "float32"),
        ("uint32", "float32"), ("int32", "float32"), ("float16", "float32"), ("float64", "float32"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("layout", [{}, {"bigtiff": True, "tile": (16, 16)}, {"compression": "zlib"}])
def test_every_depth_is_read(tmp_path: Path, stored: str, read: str, layout: dict[str, Any]) -> None:
    image = (np.random.default_rng(0).random((30, 40)) * 120 - (40 if stored[0] in "if" else 0)).astype(stored)
    tifffile.imwrite(tmp_path / "x.tif", image, **layout)
    found = read_image(tmp_path / "x.tif")
    assert found.pixels.dtype == read
    np.testing.assert_array_equal(found.pixels, image.astype(read))
    assert found.mask is None
    assert found.geo is None
    assert found.bands == ("1",)


def test_plain_images_are_read_as_opencv_decodes_them(tmp_path: Path, backend: str) -> None:
    rgb = bands(3).transpose(1, 2, 0)
    for name, image in {"grey": rgb[..., 0], "rgb": rgb}.items():
        for dtype in (np.uint8, np.uint16, np.float32):
            photometric = "rgb" if name == "rgb" else "minisblack"
            tifffile.imwrite(tmp_path / f"{name}.tif", image.astype(dtype), photometric=photometric)
            found = read_image(tmp_path / f"{name}.tif")
            assert found.pixels.dtype == dtype
            decoded = cv2.imread(str(tmp_path / f"{name}.tif"), cv2.IMREAD_UNCHANGED)
            grey = cv2.cvtColor(decoded, cv2.COLOR_BGR2GRAY) if decoded.ndim == 3 else decoded
            np.testing.assert_allclose(found.pixels, grey, rtol=1e-6)
            assert found.mask is None
    assert found.bands == ("red", "green", "blue")
    cv2.imwrite(str(tmp_path / "x.png"), rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").pixels, cv2.cvtColor(rgb, cv2.COLOR_BGR2GRAY))


def test_palettes_and_single_bits_are_colours_and_not_indices(tmp_path: Path, backend: str) -> None:
    image = bands(1)[0]
    table = np.stack([np.arange(256)[::-1]] * 3).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "palette.tif", image, photometric="palette", colormap=table)
    np.testing.assert_array_equal(read_image(tmp_path / "palette.tif").pixels, 255 - image)
    tifffile.imwrite(tmp_path / "bit.tif", image > 20, photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "bit.tif").pixels, (image > 20) * 255)


@needs_rasterio
@pytest.mark.parametrize("count", [2, 4, 5, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_many_bands_become_the_mean_of_their_stretched_values(tmp_path: Path, count: int, dtype: Any) -> None:
    planes = bands(count, dtype)
    planes[1] = 7  # a constant band has nothing to say
    tifffile.imwrite(tmp_path / "x.tif", planes.transpose(1, 2, 0), photometric="minisblack", planarconfig="contig")
    expected = []
    for plane in np.delete(planes, 1, axis=0).astype(np.float64):
        low, high = np.percentile(plane, (0.1, 99.9))
        expected.append(((plane - low) / (high - low)).clip(0, 1))
    found = read_image(tmp_path / "x.tif")
    assert found.pixels.dtype == np.float32
    np.testing.assert_allclose(found.pixels, np.mean(expected, axis=0), atol=1e-5)
    for number in (1, count):
        one = read_image(tmp_path / "x.tif", number)
        np.testing.assert_array_equal(one.pixels, planes[number - 1].astype(one.pixels.dtype))


@needs_rasterio
def test_bands_go_by_name_and_number(tmp_path: Path) -> None:
    import rasterio

    planes = bands(3, np.uint16)
    profile = {"driver": "GTiff", "count": 3, "height": 30, "width": 40, "dtype": "uint16"}
    with quiet(rasterio), rasterio.open(tmp_path / "x.tif", "w", **profile) as file:
        file.write(planes)
        for index, name in enumerate(("NIR", "Red edge", "1"), 1):
            file.set_band_description(index, name)
    assert read_image(tmp_path / "x.tif").bands == ("NIR", "Red edge", "1")
    for band, index in {"nir": 0, "red edge": 1, "1": 2, "2": 1, 1: 0, np.int64(3): 2}.items():
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif", band).pixels, planes[index])
    for band in ("green", "4", 0, 4, -1):
        with pytest.raises(InputError, match=r"x\.tif: has no band .*it holds 1 'NIR', 2 'Red edge', 3 '1'"):
            read_image(tmp_path / "x.tif", band)


def test_bands_of_a_colour_image_have_their_colours_names(tmp_path: Path) -> None:
    rgb = bands(3).transpose(1, 2, 0)
    io.write_image(tmp_path / "x.png", rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png", "Green").pixels, rgb[..., 1])
    np.testing.assert_array_equal(read_image(tmp_path / "x.png", 3).pixels, rgb[..., 2])


@needs_rasterio
def test_pages_of_one_size_are_bands_and_overviews_are_none(tmp_path: Path) -> None:
    planes = bands(4, np.uint16)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for plane in planes:
            file.write(plane, contiguous=False)
        file.write(planes[0, ::2, ::2], subfiletype=1)
    assert read_image(tmp_path / "x.tif").bands == ("1", "2", "3", "4")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif", 3).pixels, planes[2])


@pytest.mark.parametrize(
    ("count", "dtype", "options", "words"),
    [
        (2, np.uint16, {"photometric": "minisblack"}, "has 2 bands"),
        (4, np.uint8, {"photometric": "minisblack"}, "has 4 bands"),
        (3, np.uint16, {"photometric": "rgb", "planarconfig": "separate"}, "3 bands stored apart"),
        (1, np.int16, {}, "grey values are int16"),
        (1, np.complex64, {}, "grey values are complex64"),
    ],
)
def test_what_opencv_would_misread_is_refused_or_goes_to_rasterio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, dtype: Any, options: dict[str, Any], words: str
) -> None:
    planes = bands(count, dtype)
    separate = options.get("planarconfig") == "separate"
    stored = planes if separate else planes.transpose(1, 2, 0) if count > 1 else planes[0]
    tifffile.imwrite(tmp_path / "x.tif", stored, **({"planarconfig": "contig"} if count in (2, 4) else {}), **options)
    with pytest.raises(InputError, match=words):
        io.decode(np.fromfile(tmp_path / "x.tif", dtype=np.uint8), tmp_path / "x.tif")
    if HAS_RASTERIO and dtype != np.complex64:
        found = read_image(tmp_path / "x.tif", 1).pixels
        np.testing.assert_array_equal(found, planes[0].astype(found.dtype))
    if HAS_RASTERIO and dtype == np.complex64:
        with pytest.raises(InputError, match="give real numbers"):
            read_image(tmp_path / "x.tif")
    without_rasterio(monkeypatch)
    with pytest.raises(InputError, match=r"x\.tif.*needs rasterio: pip install 'tiepoint\[geo\]'"):
        read_image(tmp_path / "x.tif")


def _tagged(stored: np.ndarray, orientation: int) -> Image.Image:
    image = Image.fromarray(stored)
    image.getexif()[274] = orientation
    return image


def stored_matrix(orientation: int, width: int, height: int) -> np.ndarray:
    """The matrix (3, 3) that maps pixels (x, y, 1) of the upright image, `width` x `height`, to the stored one."""
    right, bottom = width - 1.0, height - 1.0
    x, y = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    if orientation in (2, 3, 6, 7):
        x = np.array([-1.0, 0, right])
    if orientation in (3, 4, 7, 8):
        y = np.array([0, -1.0, bottom])
    return np.stack([y, x, [0, 0, 1.0]] if orientation >= 5 else [x, y, [0, 0, 1.0]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_exif_orientation_is_applied_and_can_be_traced_back(tmp_path: Path, suffix: str, orientation: int) -> None:
    stored = cv2.resize(bands(1)[0], (64, 48), interpolation=cv2.INTER_CUBIC)
    path = tmp_path / f"x.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, stored, extratags=[(274, "H", 1, orientation, False)])
    else:
        _tagged(stored, orientation).save(path, exif=_tagged(stored, orientation).getexif(), quality=100)
    expected = np.array(ImageOps.exif_transpose(_tagged(stored, orientation)))
    found = read_image(path)
    assert found.orientation == orientation
    np.testing.assert_allclose(found.pixels.astype(int), expected, atol=2 if suffix == "jpg" else 0)
    kept = read_image(path, orient=False)
    assert kept.orientation == 1
    np.testing.assert_array_equal(found.pixels, upright(kept.pixels, orientation))
    for planes, orient in ((found.pixels, True), (kept.pixels, False)):
        np.testing.assert_array_equal(read_planes(path, orient=orient)[0], planes)
    assert kept.pixels.shape == (48, 64)
    height, width = found.pixels.shape
    matrix = stored_matrix(orientation, width, height)
    for x, y in ((0, 0), (width - 1, 0), (5, 7), (width - 3, height - 1)):
        column, row, _ = (matrix @ (x, y, 1)).astype(int)
        assert kept.pixels[row, column] == found.pixels[y, x]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.png", "no such file"), ("empty.png", "is empty"), ("truncated.png", "truncated"),
        ("truncated.jpg", "truncated"), ("text.png", "not an image"), ("folder.png", "is a folder"),
    ],
)  # fmt: skip
def test_a_bad_file_is_named(files: Path, name: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_image(files / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16), "bigtiff": True}])
def test_every_truncation_of_a_tiff_is_refused(
    tmp_path: Path, backend: str, options: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 256, (60, 64), dtype=np.uint8), **options)
    data = path.read_bytes()
    for length in [4, 8, 20, 100, *range(200, len(data), len(data) // 15), len(data) - 1]:
        path.write_bytes(data[:length])
        for read in (read_image, read_planes):
            with pytest.raises(InputError, match=r"cut\.tif: (is )?truncated"):
                read(path)
    assert capfd.readouterr().err == ""


@needs_rasterio
def test_a_tiff_with_a_damaged_strip_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, bands(1)[0], compression="zlib")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[0]
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.tif: is truncated or damaged .*: copy it again"):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_arrays_and_masked_arrays_are_taken(tmp_path: Path) -> None:
    planes = bands(3)
    np.testing.assert_array_equal(as_raster(planes).pixels, cv2.cvtColor(np.dstack(list(planes)), cv2.COLOR_RGB2GRAY))
    np.testing.assert_array_equal(as_raster(planes, band="blue").pixels, planes[2])
    assert as_raster(bands(5, np.int32)).pixels.dtype == np.float32
    masked = np.ma.masked_less(planes[0], 10)
    found = as_raster(masked)
    assert found.mask is not None
    np.testing.assert_array_equal(found.mask, planes[0] >= 10)
    assert as_raster(found) is found
    io.write_image(tmp_path / "x.png", planes[0])
    np.testing.assert_array_equal(as_raster(str(tmp_path / "x.png")).pixels, planes[0])
    for shape in ((30, 40, 3), (30,), (2, 3, 30, 40), (0, 5)):
        with pytest.raises(InputError, match=r"photo: shape \(.*give \(H, W\) or bands as \(C, H, W\)"):
            as_raster(np.zeros(shape, dtype=np.uint8), "photo")
