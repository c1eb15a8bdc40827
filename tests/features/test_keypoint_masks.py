"""What is nodata, transparent, NaN or infinite is masked, and keypoints keep clear of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from bands import HAS_RASTERIO, bands, needs_rasterio
from PIL import Image

from tiepoint.errors import InputError
from tiepoint.features.keypoints import is_clear_of_mask
from tiepoint.images.pixels import to_unit
from tiepoint.images.raster import as_raster, read_image


def test_an_alpha_channel_is_the_mask(tmp_path: Path) -> None:
    rgba = np.dstack([bands(3).transpose(1, 2, 0), np.full((30, 40), 255, dtype=np.uint8)])
    rgba[:, :10, 3] = 0
    rgba[:, 10, 3] = 1  # nearly transparent is not transparent
    cv2.imwrite(str(tmp_path / "x.png"), cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
    Image.fromarray(np.dstack([rgba[..., 0], rgba[..., 3]]), "LA").save(tmp_path / "la.png")
    names = ["x.png", "la.png"]
    if HAS_RASTERIO:
        tifffile.imwrite(tmp_path / "x.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
        names.append("x.tif")
    for name in names:
        found = read_image(tmp_path / name)
        assert found.bands == ("red", "green", "blue")
        assert found.mask is not None
        np.testing.assert_array_equal(found.mask, rgba[..., 3] > 0)
        luma = rgba[..., 0] if name == "la.png" else cv2.cvtColor(rgba[..., :3].copy(), cv2.COLOR_RGB2GRAY)
        np.testing.assert_array_equal(found.pixels[found.mask], luma[found.mask])
        assert len(np.unique(found.pixels[~found.mask])) == 1


def test_a_fourth_band_that_is_no_alpha_is_a_band(tmp_path: Path, backend: str) -> None:
    planes = bands(4)
    planes[3, :, :20] = 0
    tifffile.imwrite(tmp_path / "x.tif", planes.transpose(1, 2, 0), photometric="rgb", extrasamples=["unspecified"])
    found = read_image(tmp_path / "x.tif")
    assert found.mask is None
    np.testing.assert_array_equal(found.pixels, cv2.cvtColor(np.dstack(list(planes[:3])), cv2.COLOR_RGB2GRAY))
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif", 4).pixels, planes[3])


@pytest.mark.parametrize(
    ("dtype", "nodata"), [(np.uint8, 0), (np.uint16, 65535), (np.float32, -9999), (np.float32, -3.4028235e38)]
)
def test_nodata_is_masked_filled_and_left_out_of_the_range(
    tmp_path: Path, backend: str, dtype: Any, nodata: float
) -> None:
    image = (bands(1)[0] + 1.0).astype(dtype)
    image[5:20, 8:30] = nodata
    text = f"{nodata:.8g}".encode() + b"\0"
    tifffile.imwrite(tmp_path / "x.tif", image, extratags=[(42113, "s", len(text), text, False)])
    found = read_image(tmp_path / "x.tif")
    assert found.mask is not None
    valid = np.ones(image.shape, dtype=bool)
    valid[5:20, 8:30] = False
    np.testing.assert_array_equal(found.mask, valid)
    np.testing.assert_array_equal(found.pixels[valid], image[valid])
    assert (found.pixels[~valid] == np.median(image[valid]).astype(dtype)).all()
    assert found.limits == (
        (0, 255) if dtype == np.uint8 else tuple(float(v) for v in np.percentile(image[valid], (0.1, 99.9)))
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_masked(tmp_path: Path, backend: str, value: float) -> None:
    image = bands(1, np.float32)[0]
    image[3, 4] = value
    tifffile.imwrite(tmp_path / "x.tif", image)
    for found in (read_image(tmp_path / "x.tif"), as_raster(image)):
        assert found.mask is not None
        assert list(zip(*np.nonzero(~found.mask), strict=True)) == [(3, 4)]
        assert np.isfinite(found.pixels).all()
        assert np.isfinite(to_unit(found.pixels, found.limits)).all()
        assert np.isfinite(found.limits).all()


@needs_rasterio
def test_the_mean_leaves_out_a_band_where_it_has_no_data(tmp_path: Path) -> None:
    planes = bands(5, np.float32)
    whole = planes.copy()
    planes[2, 4, 5] = np.nan
    planes[:, 6, 7] = np.nan
    tifffile.imwrite(tmp_path / "x.tif", planes.transpose(1, 2, 0), photometric="minisblack", planarconfig="contig")
    found = read_image(tmp_path / "x.tif")
    assert found.mask is not None
    assert list(zip(*np.nonzero(~found.mask), strict=True)) == [(6, 7)]
    limits = [np.percentile(plane[np.isfinite(plane)], (0.1, 99.9)) for plane in planes]
    left = [(whole[i, 4, 5] - limits[i][0]) / (limits[i][1] - limits[i][0]) for i in (0, 1, 3, 4)]
    assert found.pixels[4, 5] == pytest.approx(np.mean(np.clip(left, 0, 1)), abs=1e-5)


@pytest.mark.parametrize("kind", ["nodata", "nan", "alpha"])
def test_an_image_without_a_valid_pixel_is_refused(tmp_path: Path, backend: str, kind: str) -> None:
    path = tmp_path / "x.tif"
    if kind == "nodata":
        tifffile.imwrite(path, np.full((30, 40), 7, dtype=np.uint16), extratags=[(42113, "s", 2, b"7\0", False)])
    elif kind == "nan":
        tifffile.imwrite(path, np.full((30, 40), np.nan, dtype=np.float32))
    else:
        path = tmp_path / "x.png"
        cv2.imwrite(str(path), np.dstack([bands(3).transpose(1, 2, 0), np.zeros((30, 40), dtype=np.uint8)]))
    with pytest.raises(InputError, match=rf"{path.name}: holds no valid pixel: all are nodata, transparent or NaN"):
        read_image(path)


def test_usable_points_keep_their_margin_from_what_is_not_valid() -> None:
    random = np.random.default_rng(0)
    mask = random.random((60, 80)) > 0.003
    points = random.random((500, 2)) * (84, 64) - 2
    margins = random.random(500) * 12
    found = is_clear_of_mask(points, mask, margins)
    y, x = np.nonzero(~mask)
    nearest = np.hypot(points[:, :1] - x, points[:, 1:] - y).min(axis=1)
    inside = ((points > -0.5) & (points < (79.5, 59.5))).all(axis=1)
    assert not (found & ((nearest <= margins) | ~inside)).any()
    assert found[inside & (nearest > margins + 2)].all()
    assert 50 < found.sum() < 450
    nan = [[np.nan, 3.0], [4.0, 5.0]]
    assert is_clear_of_mask(nan, None, 5).tolist() == [False, True]
    assert is_clear_of_mask(nan, np.ones((9, 9), dtype=bool), 5).tolist() == [False, True]
    assert is_clear_of_mask(np.empty((0, 2)), mask, 5).shape == (0,)
