"""Images as users have them, registered and shown: EXIF-turned, of many bands, 16-bit, with masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from bands import needs_rasterio
from made_registration import Page
from PIL import Image

from tiepoint.errors import InputError
from tiepoint.features.describe import describe
from tiepoint.geometry.robust import corner_error
from tiepoint.images.pixels import write_image
from tiepoint.images.raster import as_raster, read_image
from tiepoint.registration.register import register
from tiepoint.registration.result import Registration
from tiepoint.report import write_report

Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def turned(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.jpg, stored lying on its side with the EXIF orientation that says so, and b.png."""
    folder = tmp_path_factory.mktemp("turned")
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(pair[0])))
    stored.getexif()[274] = 6  # upright once it is turned clockwise
    stored.save(folder / "a.jpg", exif=stored.getexif(), quality=95)
    write_image(folder / "b.png", pair[1])
    return folder


@pytest.fixture(scope="module")
def many(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.tif of five 16-bit bands, the third named nir: noise but for that one; and b.png."""
    import rasterio

    from tiepoint.images.geo import quiet

    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 60_000, (5, 360, 480)).astype(np.uint16)
    planes[2] = pair[0].astype(np.uint16) * 40 + 3000
    profile = {"driver": "GTiff", "count": 5, "height": 360, "width": 480, "dtype": "uint16"}
    with quiet(rasterio), rasterio.open(folder / "a.tif", "w", **profile) as file:
        file.write(planes)
        file.set_band_description(3, "nir")
    write_image(folder / "b.png", pair[1])
    return folder


def test_a_turned_photograph_is_registered_and_shown_upright(turned: Path, truth: np.ndarray, tmp_path: Path) -> None:
    paths = turned / "a.jpg", turned / "b.png"
    found = register(*paths, "rootsift")
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, 480, 360) < 0.5
    write_report(found, *paths, tmp_path / "out.html")
    page = Page((tmp_path / "out.html").read_text(encoding="utf-8"))
    picture = page.picture("picture-a")
    assert picture.shape == (360, 480)
    assert np.abs(picture.astype(int) - read_image(paths[0]).pixels).mean() < 3
    moved = page.picture("picture-moved").astype(int)
    assert np.abs(moved - page.picture("picture-b"))[80:-80, 100:-100].mean() < 5


@needs_rasterio
@pytest.mark.parametrize("band", ["nir", 3, "3"])
def test_one_band_of_many_is_registered_and_shown(
    many: Path, truth: np.ndarray, tmp_path: Path, band: int | str
) -> None:
    paths = many / "a.tif", many / "b.png"
    found = register(*paths, "rootsift", band_a=band)
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, 480, 360) < 0.5
    assert (found.a.source, found.a.band, found.b.band) == (paths[0], band, None)
    write_report(found, *paths, tmp_path / "out.html")
    page = Page((tmp_path / "out.html").read_text(encoding="utf-8"))
    shown = read_image(paths[0], "nir").to_uint8()
    assert np.abs(page.picture("picture-a").astype(int) - shown).max() == 0


@needs_rasterio
def test_the_default_grey_of_many_bands_is_shown_too(many: Path, tmp_path: Path) -> None:
    """Of noise alone it is refused; the page shows what was compared."""
    found = register(many / "a.tif", many / "b.png", "rootsift", max_keypoints=300)
    write_report(found, many / "a.tif", many / "b.png", tmp_path / "out.html")
    page = Page((tmp_path / "out.html").read_text(encoding="utf-8"))
    expected = read_image(many / "a.tif").to_uint8().astype(int)
    assert np.abs(page.picture("picture-a").astype(int) - expected).mean() < 8  # a JPEG or WebP of noise


def test_one_band_for_both_and_arrays(pair: Pair, truth: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    a, b = (np.stack([rng.integers(0, 255, image.shape, dtype=np.uint8), image, image // 2]) for image in pair)
    found = register(a, b, "rootsift", band_a=2, band_b=2, refine=False, max_keypoints=800)
    plain = register(*pair, "rootsift", refine=False, max_keypoints=800)
    assert found.to_json() == plain.to_json()
    green = register(a, b, "rootsift", band_a="green", band_b="green", refine=False, max_keypoints=800)
    assert green.to_json() == plain.to_json()


def test_pixels_that_are_not_valid_are_shown_as_they_were_compared(pair: Pair, tmp_path: Path) -> None:
    masked = np.ma.masked_array(pair[0].astype(np.float32), mask=False)
    masked[:100, :100] = np.ma.masked
    masked.data[:100, :100] = 1e6  # a nodata value, which would take the whole range
    found = register(masked, pair[1], "rootsift")
    assert found.accepted
    write_report(found, masked, pair[1], tmp_path / "out.html")
    picture = Page((tmp_path / "out.html").read_text(encoding="utf-8")).picture("picture-a").astype(int)
    np.testing.assert_array_equal(picture, as_raster(masked).to_uint8())
    assert np.corrcoef(picture[100:, 100:].ravel(), pair[0][100:, 100:].ravel())[0, 1] > 0.999


def test_a_band_is_chosen_once(pair: Pair) -> None:
    raster = as_raster(pair[0])
    with pytest.raises(InputError, match="image a: its band was chosen when it was read: leave out band 2"):
        register(raster, pair[1], "rootsift", band_a=2)
    with pytest.raises(InputError, match="image b: its band was chosen"):
        register(pair[0], describe(pair[1], "rootsift", max_keypoints=50), "rootsift", band_b="red")
    with pytest.raises(InputError, match="image a: has no band 4"):
        register(*(cv2.merge([image] * 3).transpose(2, 0, 1) for image in pair), "rootsift", band_a=4)


def test_pixels_of_a_named_value_are_not_valid_wherever_the_image_is_read(pair: Pair, tmp_path: Path) -> None:
    a = pair[0].clip(1)
    a[:, :120] = 0  # a collar that no file declares
    paths = tmp_path / "a.png", tmp_path / "b.png"
    for path, image in zip(paths, (a, pair[1].clip(1)), strict=True):
        write_image(path, image)
    found = register(*paths, "rootsift", nodata=0, refine=False, max_keypoints=800)
    assert found.accepted
    assert (found.a.nodata, found.b.nodata) == (0, 0)
    assert found.matches[:, 0].min() > 120
    masked = np.ma.masked_equal(a, 0)
    again = register(masked, pair[1].clip(1), "rootsift", refine=False, max_keypoints=800)
    np.testing.assert_array_equal(again.matches, found.matches)
    moved = found.warp_image()
    np.testing.assert_array_equal(np.ma.getmaskarray(moved), np.ma.getmaskarray(found.warp_image(masked)))
    unmarked = replace(found, a=replace(found.a, nodata=None)).warp_image()
    assert np.ma.count_masked(moved) > np.ma.count_masked(unmarked) + 20_000
    write_report(found, *paths, tmp_path / "out.html")
    picture = Page((tmp_path / "out.html").read_text(encoding="utf-8")).picture("picture-a")
    assert picture[:, :100].min() > 50  # the median, as it was compared
    found.save(tmp_path / "saved.json")
    assert Registration.load(tmp_path / "saved.json").a.nodata == 0
    alone = register(*paths, "rootsift", nodata=(0, float("nan")), refine=False, max_keypoints=800)
    assert (alone.a.nodata, alone.b.nodata) == (0, None)


def test_a_value_of_pixels_without_data_is_a_number_and_named_once(pair: Pair) -> None:
    raster = as_raster(pair[0])
    with pytest.raises(InputError, match="image a: is read already: leave out nodata 0, or give it then"):
        register(raster, pair[1], "rootsift", nodata=0)
    for wrong in (float("inf"), (0,), "0", (1, "x")):
        with pytest.raises(InputError, match=r"nodata is .*: give a number, or one for a and one for b"):
            register(*pair, "rootsift", nodata=wrong)
