"""Tiles cover an image once, and what is detected in them is what is detected in the whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiepoint.errors import InputError
from tiepoint.imaging.detect import detect
from tiepoint.imaging.frames import sigmas
from tiepoint.imaging.masks import usable
from tiepoint.imaging.raster import Raster, Reader, read_image
from tiepoint.imaging.sources import ArraySource
from tiepoint.imaging.tiles import Window, detect_tiled, tiles


def reader(image: np.ndarray, mask: np.ndarray | None = None) -> Reader:
    return Reader(ArraySource("image", image[None], ("1",), mask=mask))


def sift(raster: Raster) -> tuple[np.ndarray, np.ndarray]:
    found = detect(raster.to_uint8(), max_keypoints=10**6, contrast_threshold=0.02)
    return found.frames, found.responses


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 300), st.integers(0, 200))
def test_cores_cover_every_pixel_once_and_windows_reach_further(
    height: int, width: int, size: int, overlap: int
) -> None:
    count = np.zeros((height, width), dtype=int)
    aligned, margin = (-(-length // 64) * 64 for length in (size, overlap))
    for tile in tiles((height, width), size, overlap):
        core, window = tile.core, tile.window
        count[core.slices] += 1
        assert 0 < max(core.width, core.height) <= aligned
        assert window.x == max(core.x - margin, 0)
        assert window.y == max(core.y - margin, 0)
        assert window.x % 64 == window.y % 64 == 0
        assert window.x + window.width == min(core.x + core.width + margin, width)
        assert window.y + window.height == min(core.y + core.height + margin, height)
    assert (count == 1).all()


@pytest.mark.parametrize(("size", "overlap"), [(0, 10), (-5, 0), (10, -1)])
def test_tiles_of_no_size_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(InputError, match="give a positive size"):
        tiles((100, 100), size, overlap)


@pytest.mark.parametrize(("dtype", "width", "height", "count"), [(np.uint8, 1500, 1200, 9), (np.uint16, 700, 500, 2)])
def test_tiled_is_as_whole(
    texture: Callable[..., np.ndarray], dtype: type, width: int, height: int, count: int
) -> None:
    image = texture(3, width, height)
    if dtype == np.uint16:  # brighter to the right: a tile's own percentiles would not be the image's
        image = (image * np.linspace(20, 200, width)).astype(np.uint16)
    opened = reader(image)
    whole_frames, whole_responses = sift(opened.read())
    steps: list[tuple[int, int]] = []
    frames, responses = detect_tiled(opened, sift, size=512, overlap=128, progress=lambda *step: steps.append(step))
    assert steps == [(i, count) for i in range(1, count + 1)]
    whole_small, small = sigmas(whole_frames) < 8, sigmas(frames) < 8
    assert small.sum() > 1000

    def rows(frames: np.ndarray, responses: np.ndarray) -> np.ndarray:
        table = np.column_stack([frames.reshape(-1, 6), responses])
        return table[np.lexsort(np.round(table[:, [0, 1, 2, 5]], 1).T)]

    expected, found = (
        rows(whole_frames[whole_small], whole_responses[whole_small]),
        rows(frames[small], responses[small]),
    )
    assert len(found) == len(expected)
    # OpenCV holds positions in float32, so those far from the origin differ in the last bits.
    assert (np.abs(found - expected).max(axis=1) < 2e-3).mean() > 0.999


def test_what_lies_on_a_seam_is_kept_once() -> None:
    random = np.random.default_rng(0)
    points = random.random((3000, 2)) * (700, 500)
    points[:2000:2, 0] = 255.5  # on the seam of the cores, where rounding decides
    points[1:2000:2, 1] = 191.5
    turned = points[:50].copy()  # a second orientation at the same places is another keypoint
    places = np.concatenate([points, turned])
    angles = np.concatenate([np.zeros(3000), np.full(50, 1.0)])
    cos, sin = 3 * np.cos(angles), 3 * np.sin(angles)
    truth = np.stack([np.stack([cos, sin, places[:, 0]], -1), np.stack([-sin, cos, places[:, 1]], -1)], axis=1)
    number = np.arange(len(truth))
    windows = iter([tile.window for tile in tiles((500, 700), 256, 64)])

    def noisy(raster: Raster) -> tuple[np.ndarray, np.ndarray]:
        window = next(windows)
        x, y = places.T
        seen = (x >= window.x) & (y >= window.y) & (x < window.x + window.width) & (y < window.y + window.height)
        own = truth[seen] + random.normal(0, 1e-3, (seen.sum(), 2, 3))
        own[:, :, 2] -= (window.x, window.y)
        return own, number[seen]

    frames, found = detect_tiled(
        reader(random.integers(0, 256, (500, 700), dtype=np.uint8)), noisy, size=256, overlap=64
    )
    np.testing.assert_array_equal(np.sort(found), number)
    np.testing.assert_allclose(frames, truth[found], atol=0.01)


def test_tiles_without_a_valid_pixel_are_not_searched(texture: Callable[..., np.ndarray]) -> None:
    image, mask = texture(4, 700, 500), np.ones((500, 700), dtype=bool)
    mask[:, :400] = False
    seen = []

    def detector(raster: Raster) -> tuple[np.ndarray, ...]:
        assert raster.mask is not None or raster.pixels.shape[1] < 400
        seen.append(raster)
        found = detect(raster.to_uint8())
        keep = usable(found.frames[:, :, 2], raster.mask, 6 * sigmas(found.frames))
        return (found.frames[keep],)

    (frames,) = detect_tiled(reader(image, mask), detector, size=256, overlap=64)
    assert len(seen) == 4  # of six
    assert len(frames) > 50
    reach = 6 * sigmas(frames)
    assert ((frames[:, 0, 2] - reach > 399) | (reach > 64)).all()  # a tile knows the mask as far as it overlaps


def test_a_tile_keeps_the_grey_and_the_place_of_the_whole(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="needs rasterio (pip install 'tiepoint[geo]')")
    from tiepoint.imaging.geo import Geo, write_geotiff
    from tiepoint.imaging.raster import open_image

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


LARGE = """
import sys, resource
from pathlib import Path
import numpy as np
import rasterio
from tiepoint.imaging.detect import detect
from tiepoint.imaging.raster import open_image
from tiepoint.imaging.tiles import detect_tiled

path = Path(sys.argv[1])
side = 20_000
profile = dict(driver="GTiff", count=1, height=side, width=side, dtype="uint16", tiled=True, blockxsize=512,
               blockysize=512, compress="deflate", SPARSE_OK=True, nodata=0)
patch = np.random.default_rng(0).integers(1, 4000, (64, 64)).repeat(8, 0).repeat(8, 1).astype(np.uint16)
with rasterio.open(path, "w", **profile) as file:
    for x, y in ((0, 0), (9984, 4096), (10240, 4096), (19456, 19456)):
        file.write(patch[:side - y, :side - x], 1, window=((y, min(y + 512, side)), (x, min(x + 512, side))))

def find(raster):
    found = detect(raster.to_uint8(), max_keypoints=10**6)
    return found.frames, found.responses

with open_image(path) as reader:
    frames, _ = detect_tiled(reader, find)
x, y = frames[:, :, 2].T
print(len(frames), (x < 600).sum(), ((x > 9900) & (x < 10800)).sum(), (x > 19400).sum(),
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.data
def test_an_image_of_20000_x_20000_is_searched_in_bounded_memory(tmp_path: Path) -> None:
    """Slow, not because it needs data: `pytest -m data tests/imaging/test_tiles.py`. Whole, SIFT would take 94 GB."""
    pytest.importorskip("rasterio", reason="needs rasterio (pip install 'tiepoint[geo]')")
    run = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path / "x.tif")], capture_output=True, text=True, check=True
    )
    total, first, middle, last, megabytes = (int(v) for v in run.stdout.split())
    assert total == first + middle + last
    assert min(first, middle, last) > 100
    print(f"{megabytes} MB")
    assert megabytes < 2500
