from __future__ import annotations

import errno
from pathlib import Path

import cv2
import numpy as np
import pytest

from tiepoint.errors import InputError
from tiepoint.images import pixels as io
from tiepoint.images.raster import as_raster, read_planes


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.png", "no such file"),
        ("empty.png", "is empty"),
        ("truncated.png", "truncated"),
        ("truncated.jpg", "truncated"),
        ("text.png", "not an image"),
        ("folder.png", "is a folder"),
    ],
)
def test_a_bad_file_is_named_in_one_line(files: Path, name: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_planes(files / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # decoders write to standard error by themselves


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_every_truncation_is_refused(files: Path, tmp_path: Path, suffix: str) -> None:
    data = (files / f"a.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for length in [1, 2, 3, 8, 20, 100, *range(200, len(data), len(data) // 40), len(data) - 2, len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="truncated"):
            read_planes(path)


def test_a_damaged_png_is_refused(files: Path, tmp_path: Path) -> None:
    data = bytearray((files / "a.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "damaged.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_planes(path)


def test_a_progressive_jpeg_with_restarts_a_thumbnail_and_a_tail_is_read(
    pair: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 8]
    data = cv2.imencode(".jpg", pair[0], options)[1].tobytes()
    thumbnail = cv2.imencode(".jpg", pair[0][:32, :32])[1].tobytes()
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    path = tmp_path / "x.jpg"
    path.write_bytes(data[:2] + segment + data[2:] + b"trailing notes")
    assert np.abs(read_planes(path)[0].astype(int) - pair[0]).mean() < 4
    path.write_bytes(data[:2] + segment + data[2 : len(data) // 2])
    with pytest.raises(InputError, match="truncated"):  # the end marker of the thumbnail is not the image's
        read_planes(path)


@pytest.mark.parametrize(
    ("dtype", "suffix"), [(np.uint8, "png"), (np.uint16, "png"), (np.uint16, "tiff"), (np.float32, "tiff")]
)
def test_depth_is_kept(tmp_path: Path, dtype: type, suffix: str) -> None:
    image = (np.random.default_rng(0).random((40, 50)) * (1 if dtype == np.float32 else np.iinfo(dtype).max)).astype(
        dtype
    )
    path = tmp_path / f"x.{suffix}"
    assert cv2.imwrite(str(path), image)
    read = read_planes(path)[0]
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, image)


def test_double_becomes_single(tmp_path: Path) -> None:
    path = tmp_path / "x.tiff"
    cv2.imwrite(str(path), np.linspace(0, 1, 400).reshape(20, 20))
    assert read_planes(path).dtype == np.float32


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_read_for_training_holds_no_pixel_without_a_value(tmp_path: Path, value: float) -> None:
    image = np.ones((40, 40), dtype=np.float32)
    image[3, 4] = value
    cv2.imwrite(str(tmp_path / "x.tiff"), image)
    rgba = np.full((40, 40, 4), 255, dtype=np.uint8)
    rgba[3, 4, 3] = 0
    cv2.imwrite(str(tmp_path / "x.png"), rgba)
    for name in ("x.tiff", "x.png"):
        with pytest.raises(InputError, match=f"{name}: holds pixels that are nodata, transparent, NaN or infinite"):
            read_planes(tmp_path / name)


def test_whole_numbers_alone_are_read_where_floats_are_not_allowed(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.tiff"), np.ones((40, 40), dtype=np.float32))
    with pytest.raises(InputError, match=r"x\.tiff: grey values are float32: give uint8 or uint16"):
        read_planes(tmp_path / "x.tiff", floats=False)


def test_colour_becomes_luma_from_files_and_arrays_alike(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    io.write_image(tmp_path / "x.png", rgb)
    expected = rgb @ np.array([0.299, 0.587, 0.114])
    found = read_planes(tmp_path / "x.png")
    assert np.abs(found[0] - expected).max() <= 1
    np.testing.assert_array_equal(as_raster(rgb.transpose(2, 0, 1)).pixels, found[0])
    assert cv2.imwrite(str(tmp_path / "alpha.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA))
    np.testing.assert_array_equal(read_planes(tmp_path / "alpha.png"), found)
    np.testing.assert_array_equal(read_planes(tmp_path / "x.png", color=True), rgb.transpose(2, 0, 1))
    io.write_image(tmp_path / "grey.png", rgb[..., 0])
    np.testing.assert_array_equal(read_planes(tmp_path / "grey.png", color=True), np.stack([rgb[..., 0]] * 3))


def test_the_stretch_to_8_bits_uses_the_percentiles() -> None:
    image = np.random.default_rng(0).integers(7000, 7256, (200, 200)).astype(np.uint16)
    image[0, 0] = 65535  # one hot pixel
    shown = io.to_uint8(image)
    assert shown.dtype == np.uint8
    assert shown.std() > 60
    assert io.to_uint8(shown) is shown
    unit = io.to_unit(image, io.value_range(image))
    assert unit.dtype == np.float32
    assert unit.max() > 1  # kept, not clipped
    assert len(np.unique(unit)) == len(np.unique(image))


def test_the_range_of_a_nearly_constant_image_is_that_of_its_extremes() -> None:
    image = np.zeros((100, 100), dtype=np.float32)
    image[5, 5] = 3
    assert io.value_range(image) == (0, 3)


def test_a_full_disk_leaves_no_half_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        io.write_image(tmp_path / "x.png", np.zeros((9, 9), dtype=np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="suffix"):
        io.write_image(tmp_path / "x.nothing", np.zeros((9, 9), dtype=np.uint8))
    assert list(tmp_path.iterdir()) == []
