"""Files that claim more pixels than the limit are refused by their header, before anything is decoded."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from image_bytes import png, tiff

from tiepoint.errors import InputError
from tiepoint.images import header as header_lib
from tiepoint.images import pixels as io
from tiepoint.images import raster
from tiepoint.images.header import MAX_PIXELS, VARIABLE, inspect, opened, pixel_limit
from tiepoint.images.raster import open_image, read_image, read_planes

SIDE = 60_000


def changed(image: bytes, old: bytes, new: bytes) -> bytes:
    assert image.count(old) == 1
    return image.replace(old, new)


def bombs() -> dict[str, bytes]:
    grey = np.zeros((201, 301), dtype=np.uint8)  # sides that occur once in each header
    jpeg, bmp, jp2 = (cv2.imencode(f".{suffix}", grey)[1].tobytes() for suffix in ("jpg", "bmp", "jp2"))
    large = struct.pack(">HH", SIDE, SIDE)
    claims = {
        "x.png": png(SIDE, SIDE),
        "x.tif": tiff(SIDE, SIDE),
        "big.tif": tiff(SIDE, SIDE, big=True),
        "x.jpg": changed(jpeg, struct.pack(">HH", 201, 301), large),
        "x.bmp": changed(bmp, struct.pack("<ii", 301, 201), struct.pack("<ii", SIDE, -SIDE)),
        "x.gif": b"GIF89a" + struct.pack("<HH", SIDE, SIDE) + bytes(20),
        "raw.j2k": b"\xff\x4f\xff\x51\0\x29\0\0" + struct.pack(">IIII", SIDE + 5, SIDE + 5, 5, 5) + bytes(40),
    }
    return claims | {
        "x.jp2": changed(jp2, b"ihdr" + struct.pack(">II", 201, 301), b"ihdr" + struct.pack(">II", SIDE, SIDE))
    }


@pytest.mark.parametrize("name", sorted(bombs()))
def test_a_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(bombs()[name])
    with opened(path) as file:
        header = inspect(file, path)
    assert (header.width, header.height) == (SIDE, SIDE)

    def never(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", never)
    words = f"{name}: is 60000 x 60000 px, more than the limit of {MAX_PIXELS} pixels: "
    words += f".*{VARIABLE} or max_pixels to 3600000000"
    for read in (read_image, read_planes):
        with pytest.raises(InputError, match=words):
            read(path)
    with pytest.raises(InputError, match=words):
        io.decode(np.frombuffer(path.read_bytes(), dtype=np.uint8), path)
    assert capfd.readouterr().err == ""


def test_headers_of_real_files_give_their_size(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "bmp", "tif", "jp2"):
        cv2.imwrite(str(tmp_path / f"x.{suffix}"), image)
    cv2.imwrite(str(tmp_path / "progressive.jpg"), image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    tifffile.imwrite(tmp_path / "motorola.tif", image[..., 0], byteorder=">")
    tifffile.imwrite(tmp_path / "big.tif", image[..., 0], byteorder=">", bigtiff=True)
    for path in sorted(tmp_path.iterdir()):
        with opened(path) as file:
            header = inspect(file, path)
        assert (path.name, header.width, header.height) == (path.name, 53, 37)


def test_the_limit_is_raised_and_lowered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    io.write_image(path, np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8))
    assert read_image(path, max_pixels=2000).pixels.shape == (40, 50)
    for read in (read_image, open_image):
        with pytest.raises(InputError, match="limit of 1999 pixels"):
            read(path, max_pixels=1999)
    monkeypatch.setenv(VARIABLE, "1999")
    for read in (read_image, read_planes):
        with pytest.raises(InputError, match="limit of 1999 pixels"):
            read(path)
    assert read_image(path, max_pixels=2000).pixels.shape == (40, 50)
    monkeypatch.setenv(VARIABLE, "2000")
    assert read_planes(path).shape == (1, 40, 50)
    for wrong in ("0", "-3", "1e9", "many"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(InputError, match=f"{VARIABLE} is '{wrong}': give a whole number"):
            pixel_limit()
    monkeypatch.delenv(VARIABLE)
    assert pixel_limit() == MAX_PIXELS


@pytest.mark.parametrize(("width", "height"), [(2**16, 2**15), (2**21, 100)])
def test_opencvs_own_limits_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, height: int, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, str(10**12))
    path = tmp_path / "x.png"
    path.write_bytes(png(width, height))
    for read in (read_image, read_planes):
        with pytest.raises(
            InputError, match=rf"is {width} x {height} px: OpenCV reads 1073741824 pixels and 1048576 a"
        ):
            read(path)
    assert capfd.readouterr().err == ""


def test_a_large_tiff_is_read_in_windows_but_not_as_a_whole(tmp_path: Path) -> None:
    pytest.importorskip("rasterio", reason="needs rasterio (pip install 'tiepoint[geo]')")
    from tiepoint.images.window import Window

    image = np.random.default_rng(0).integers(0, 256, (640, 512), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "tiled.tif", image, tile=(64, 64))
    with open_image(tmp_path / "tiled.tif", max_pixels=5000) as reader:
        np.testing.assert_array_equal(reader.read(Window(100, 200, 60, 70)).pixels, image[200:270, 100:160])
        with pytest.raises(InputError, match=r"limit of 5000 pixels.*or read it by tiles"):
            reader.read()
    tifffile.imwrite(tmp_path / "one.tif", image, compression="zlib", rowsperstrip=640)
    with pytest.raises(InputError, match=r"one\.tif: a block: is 512 x 640 px, .*or save it in tiles"):
        open_image(tmp_path / "one.tif", max_pixels=5000)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read and write everything")
def test_files_and_folders_without_rights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    io.write_image(path, np.zeros((40, 50), dtype=np.uint8))
    path.chmod(0)
    for read in (read_image, read_planes):
        with pytest.raises(InputError, match=r"x\.png: cannot be read \(Permission denied\)"):
            read(path)
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        io.write_image(tmp_path / "y.png", np.zeros((40, 50), dtype=np.uint8))


def test_an_error_of_the_system_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"x\.png: cannot be read \(Permission denied\)"):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize("rasterio", [True, False])
def test_damaged_files_raise_nothing_but_input_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rasterio: bool
) -> None:
    if rasterio:
        pytest.importorskip("rasterio", reason="needs rasterio (pip install 'tiepoint[geo]')")
    monkeypatch.setattr(raster, "_has_rasterio", lambda: rasterio)
    monkeypatch.setenv(VARIABLE, "1000000")
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", image, photometric="rgb")
    tiled = {"compression": "zlib", "tile": (16, 16), "bigtiff": True, "extratags": [(274, "H", 1, 6, False)]}
    tifffile.imwrite(tmp_path / "tiled.tif", image[..., 0].astype(np.uint16), **tiled)
    for suffix in ("png", "jpg", "bmp"):
        cv2.imwrite(str(tmp_path / f"x.{suffix}"), image)
    messages = []
    for path in sorted(tmp_path.iterdir()):
        whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        for _ in range(25):
            data = whole.copy()
            data[random.integers(0, min(len(data), 400), 3)] = random.choice([0, 1, 255, 17], 3)
            path.write_bytes(data.tobytes()[: len(data) if random.random() < 0.8 else random.integers(1, len(data))])
            for read in (read_image, read_planes):
                try:
                    read(path)
                except InputError as error:
                    messages.append((path.name, str(error)))
    assert len(messages) > 50
    assert all(name in text and "\n" not in text for name, text in messages)


def test_a_file_that_claims_thousands_of_bands_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("rasterio", reason="needs rasterio (pip install 'tiepoint[geo]')")
    path = tmp_path / "x.tif"
    planes = np.zeros((8, 9, 5000), dtype=np.uint8)
    tifffile.imwrite(path, planes, photometric="minisblack", planarconfig="contig")
    with pytest.raises(InputError, match=r"x\.tif: claims 5000 bands, more than 4096"):
        read_image(path)


def test_bytes_count_and_not_pixels_alone(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "double.tif", np.random.default_rng(0).normal(size=(40, 50)))
    cv2.imwrite(str(tmp_path / "rgba16.png"), np.full((40, 50, 4), 9999, dtype=np.uint16))
    (tmp_path / "radiance.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 40 +X 50\n")
    (tmp_path / "x.pgm").write_bytes(b"P5\n# a comment\n60000 60000\n255\n")
    for name in ("double.tif", "rgba16.png", "radiance.hdr"):
        with pytest.raises(
            InputError, match=r"40.* px of (8|12) bytes, more than the limit of 2000 pixels.*max_pixels to"
        ):
            read_image(tmp_path / name, max_pixels=2000)
    for name in ("double.tif", "rgba16.png"):
        assert read_image(tmp_path / name, max_pixels=4000).pixels.shape == (40, 50)
    with pytest.raises(InputError, match="is 60000 x 60000 px"):
        read_image(tmp_path / "x.pgm")


def test_a_file_larger_than_what_it_may_decode_to_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_lib, "MIN_FILE_LIMIT_BYTES", 1000)
    path = tmp_path / "x.png"
    path.write_bytes(png(4, 4) + bytes(2000))
    with pytest.raises(InputError, match=r"x\.png: is larger than 1000 bytes: if you trust the file"):
        read_image(path, max_pixels=16)


def test_directories_that_share_a_long_table_are_damage(tmp_path: Path) -> None:
    count, table = 3000, 3000
    start = 8 + 4 * table
    data = b"II*\0" + struct.pack("<I", start) + struct.pack(f"<{table}I", *[8] * table)
    for number in range(count):  # each names the same 12 kB of offsets
        rows = struct.pack("<HHII", 256, 4, 1, 9) + struct.pack("<HHII", 257, 4, 1, 9)
        rows += struct.pack("<HHII", 273, 4, table, 8)
        following = start + (number + 1) * 42 if number + 1 < count else 0
        data += struct.pack("<H", 3) + rows + struct.pack("<I", following)
    (tmp_path / "x.tif").write_bytes(data)
    with pytest.raises(InputError, match=r"x\.tif: is truncated or damaged"), opened(tmp_path / "x.tif") as file:
        inspect(file, tmp_path / "x.tif")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device that never ends")
def test_a_device_is_no_image() -> None:
    with pytest.raises(InputError, match="/dev/zero: is a pipe or a device"):
        read_image("/dev/zero")
