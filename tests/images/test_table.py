"""Depth x photometric x transparency x orientation x container: every cell is read right, or refused in one line."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from bands import BACKENDS, needs_rasterio, without_rasterio
from PIL import Image, ImageOps

from tiepoint.errors import InputError
from tiepoint.images.geo import quiet
from tiepoint.images.raster import Raster, as_raster, open_image, read_image, read_planes
from tiepoint.images.window import Window

RANDOM = np.random.default_rng(0)
EMPTY = np.s_[:, :9]  # where images hold 0 and alpha is 0


def image(dtype: Any, *bands: int) -> np.ndarray:
    pixels = RANDOM.integers(1, np.iinfo(dtype).max, (24, 36, *bands), dtype=dtype, endpoint=True)
    pixels[EMPTY] = 0
    return pixels


def alpha(dtype: Any) -> np.ndarray:
    pixels = np.full((24, 36), np.iinfo(dtype).max, dtype=dtype)
    pixels[EMPTY] = 0
    return pixels


def luma(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


SHOWN = alpha(np.uint8) > 0


def right(found: Raster, grey: np.ndarray, mask: np.ndarray | None, tolerance: int = 1) -> None:
    assert found.pixels.dtype == grey.dtype
    np.testing.assert_array_equal(
        SHOWN | True if found.mask is None else found.mask, SHOWN | True if mask is None else mask
    )
    where = np.s_[:] if mask is None else mask
    np.testing.assert_allclose(found.pixels[where].astype(int), grey[where].astype(int), atol=tolerance)


def right_or_refused(path: Path, grey: np.ndarray, mask: np.ndarray | None, refused: str | None) -> None:
    """`refused` is what the refusal has to say, or None where the image is read."""
    if refused is None:
        right(read_image(path), grey, mask)
        return
    with pytest.raises(InputError, match=refused) as caught:
        read_image(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("transparency", ["none", "alpha", "nodata", "both"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", [{}, {"byteorder": ">", "bigtiff": True}])
def test_tiffs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any, photometric: str, transparency: str, backend: str,
    layout: dict[str, Any],
) -> None:  # fmt: skip
    if backend == "opencv":
        without_rasterio(monkeypatch)
    pixels = image(dtype, *(3,) * (photometric == "rgb"))
    grey, mask, held = (
        luma(pixels) if pixels.ndim == 3 else pixels,
        None if transparency == "none" else SHOWN,
        alpha(dtype),
    )
    if transparency == "both":  # nodata marks some pixels, alpha others
        pixels[:, 9:12] = 7
        held[:, :9], held[:, 9:12] = held.max(), 0
        grey, mask = luma(pixels) if pixels.ndim == 3 else pixels, SHOWN & (np.arange(36) >= 12)
    top = np.iinfo(dtype).max
    stored = top - pixels if photometric == "miniswhite" else pixels
    more = dict(layout)
    if transparency in ("alpha", "both"):
        stored, more["extrasamples"] = np.dstack([stored, held]), ["unassalpha"]
    if transparency in ("nodata", "both"):
        more["extratags"] = [(42113, "s", 0, str(top if photometric == "miniswhite" else 0), True)]
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric=photometric, **more)
    needs = backend == "opencv" and photometric != "rgb" and transparency in ("alpha", "both")
    right_or_refused(tmp_path / "x.tif", grey, mask, "needs rasterio" if needs else None)


@needs_rasterio
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7, 10, 12, 14])
@pytest.mark.parametrize("photometric", ["MINISBLACK", "MINISWHITE"])
def test_tiffs_of_other_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int, photometric: str) -> None:
    import rasterio

    top, dtype = 2**bits - 1, np.uint8 if bits < 8 else np.uint16
    values = RANDOM.integers(0, top, (24, 36), endpoint=True).astype(dtype)
    profile = {"width": 36, "height": 24, "dtype": dtype, "nbits": bits, "photometric": photometric}
    with quiet(rasterio), rasterio.open(tmp_path / "x.tif", "w", driver="GTiff", count=1, **profile) as file:
        file.write(values, 1)
    grey = top - values if photometric == "MINISWHITE" else values
    grey = np.rint(grey * (255 / top)).astype(np.uint8) if bits < 8 else grey
    right(read_image(tmp_path / "x.tif"), grey, None, 0)
    without_rasterio(monkeypatch)
    right_or_refused(tmp_path / "x.tif", grey, None, None if bits == 1 else "needs rasterio")


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.float32])
def test_zero_as_white_of_other_numbers_is_refused(tmp_path: Path, backend: str, dtype: Any) -> None:
    tifffile.imwrite(tmp_path / "x.tif", image(np.uint8).astype(dtype), photometric="miniswhite")
    right_or_refused(tmp_path / "x.tif", SHOWN, None, f"zero is white, of numbers that are {np.dtype(dtype)}: convert")


@needs_rasterio
@pytest.mark.parametrize(
    ("photometric", "bands", "space"), [("separated", 4, "CMYK"), ("cielab", 3, "Lab"), ("icclab", 3, "ICC Lab")]
)
def test_colours_that_no_reader_turns_to_rgb_are_refused(
    tmp_path: Path, photometric: str, bands: int, space: str
) -> None:
    tifffile.imwrite(tmp_path / "x.tif", image(np.uint16, bands), photometric=photometric)
    right_or_refused(tmp_path / "x.tif", SHOWN, None, f"its colours are {space} of uint16: convert it to RGB")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values: np.ndarray, bits: int, colour: int, extra: bytes) -> bytes:
    rows = values.astype(">u2" if bits == 16 else np.uint8).reshape(len(values), -1)
    if bits < 8:
        rows = np.stack([np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :]) for row in rows])
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize(
    ("colour", "bits"),
    [*product([0], [1, 2, 4, 8, 16]), *product([2], [8, 16]), *product([3], [1, 2, 4, 8]), *product([4, 6], [8, 16])],
)
def test_pngs(tmp_path: Path, colour: int, bits: int, transparent: bool) -> None:
    dtype, extra, mask = np.uint16 if bits == 16 else np.uint8, b"", None
    if colour == 0:
        values = image(np.uint16) >> (16 - bits)
        grey = (values * (255 // (2**bits - 1) if bits < 8 else 1)).astype(dtype)
        if transparent:
            extra, mask = chunk(b"tRNS", struct.pack(">H", 0)), values > 0
    elif colour == 2:
        values = image(dtype, 3)
        grey = luma(values)
        if transparent:
            extra, mask = chunk(b"tRNS", bytes(6)), SHOWN
    elif colour == 3:
        values, table = image(np.uint8) >> (8 - bits), RANDOM.integers(0, 256, (2**bits, 3), dtype=np.uint8)
        grey, extra = luma(table[values]), chunk(b"PLTE", table.tobytes())
        if transparent:
            extra, mask = extra + chunk(b"tRNS", b"\0"), values > 0
    else:
        bands = image(dtype, *(3,) * (colour == 6))
        grey = luma(bands) if colour == 6 else bands
        values = np.dstack([bands, alpha(dtype) if transparent else alpha(dtype) * 0 + np.iinfo(dtype).max])
        mask = SHOWN if transparent else None
    (tmp_path / "x.png").write_bytes(png(values, bits, colour, extra))
    right(read_image(tmp_path / "x.png"), grey, mask)
    if bits <= 8 and colour != 2:  # Pillow's own view of the same file, opened
        with Image.open(tmp_path / "x.png") as opened:
            right(as_raster(opened), grey, mask)


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("suffix", ["webp", "avif", "gif", "bmp", "jpg", "jp2", "tif", "png", "pgm", "ppm"])
def test_containers_hold_what_pillow_says(tmp_path: Path, suffix: str, mode: str, transparent: bool) -> None:
    smooth = cv2.resize(image(np.uint8, 3), (144, 96), interpolation=cv2.INTER_CUBIC)
    picture = Image.fromarray(smooth).convert(mode)
    options: dict[str, Any] = (
        {"lossless": True} if suffix == "webp" else {"quality": 100} if suffix in ("avif", "jpg") else {}
    )
    if transparent and mode == "RGBA":
        picture.putalpha(Image.fromarray(alpha(np.uint8)).resize((144, 96), Image.Resampling.NEAREST))
    elif transparent:
        options["transparency"] = (0, 0, 0) if mode == "RGB" else 0
    path = tmp_path / f"x.{suffix}"
    try:
        picture.save(path, **options)
    except (OSError, TypeError, KeyError, ValueError) as error:
        pytest.skip(f"Pillow writes none: {error}")
    with Image.open(path) as opened:
        expected = as_raster(opened)
    if suffix == "jp2" and mode == "CMYK":
        right_or_refused(path, expected.pixels, None, "its colours are CMYK: convert it to RGB")
        return
    found = read_image(path)
    assert found.pixels.shape == expected.pixels.shape
    valid = np.ones(found.pixels.shape, dtype=bool) if expected.mask is None else expected.mask
    got = np.ones(found.pixels.shape, dtype=bool) if found.mask is None else found.mask
    if suffix == "bmp":  # the fourth byte of a pixel has no meaning there, which Pillow writes and reads as alpha
        got = valid
    np.testing.assert_array_equal(got, valid)
    difference = np.abs(found.pixels.astype(int) - expected.pixels)[valid]
    assert difference.max() <= (12 if suffix in ("avif", "jpg") else 3)


@pytest.mark.parametrize(("head", "top"), [("P5", 15), ("P5", 255), ("P5", 4095), ("P2", 7), ("P6", 100)])
def test_portable_maps_count_up_to_what_they_say(tmp_path: Path, head: str, top: int) -> None:
    values = RANDOM.integers(0, top, (24, 36, 3) if head == "P6" else (24, 36), endpoint=True)
    text = f"{head}\n# by hand\n36 24\n{top}\n".encode()
    data = (
        (" ".join(map(str, values.ravel())) + "\n").encode()
        if head == "P2"
        else values.astype(">u2" if top > 255 else "u1").tobytes()
    )
    (tmp_path / "x.pgm").write_bytes(text + data)
    grey = np.rint(values * (255 / top)).astype(np.uint8) if top < 256 else values.astype(np.uint16)
    right(read_image(tmp_path / "x.pgm"), luma(grey) if head == "P6" else grey, None)
    (tmp_path / "x.pam").write_bytes(b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\n\0")
    right_or_refused(tmp_path / "x.pam", grey, None, "portable arbitrary map: convert it")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["webp", "avif", "jp2"])
def test_orientation_is_that_of_the_container(tmp_path: Path, suffix: str, orientation: int) -> None:
    stored = Image.fromarray(cv2.resize(image(np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC))
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"x.{suffix}"
    stored.save(path, **({} if suffix == "jp2" else {"exif": exif, "lossless": True, "quality": 100}))
    if suffix == "jp2":
        data = b"JpgTiffExif->JP2" + exif.tobytes()[6:]
        with path.open("ab") as file:
            file.write(struct.pack(">I", len(data) + 8) + b"uuid" + data)
    with Image.open(path) as opened:
        opened.getexif()[274] = orientation
        expected = np.array(ImageOps.exif_transpose(opened).convert("L"))
    found = read_image(path)
    assert found.orientation == orientation
    np.testing.assert_allclose(found.pixels.astype(int), expected, atol=3)
    assert read_image(path, orient=False).pixels.shape == (48, 64)
    for length in (20, 60, len(path.read_bytes()) // 2):
        (tmp_path / "cut").write_bytes(path.read_bytes()[:length])
        with pytest.raises(InputError, match=r"cut: .*(truncated|cannot be read)"):
            read_image(tmp_path / "cut")


@pytest.mark.parametrize("mark", [{"subfiletype": 1}, {"extratags": [(255, "H", 1, 2, True)]}])
@pytest.mark.parametrize("inner", [False, True])
def test_a_preview_is_not_the_image(tmp_path: Path, backend: str, inner: bool, mark: dict[str, Any]) -> None:
    full = image(np.uint16)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write((full[::2, ::2] >> 8).astype(np.uint8), photometric="minisblack", subifds=int(inner), **mark)
        file.write(full, photometric="minisblack")
    if "extratags" in mark and inner:
        pytest.skip("cameras mark previews by the newer tag")
    right_or_refused(tmp_path / "x.tif", full, None, None if backend == "rasterio" else "needs rasterio")
    with tifffile.TiffWriter(tmp_path / "alone.tif") as file:
        file.write(full, photometric="minisblack", subfiletype=1)
    right(read_image(tmp_path / "alone.tif"), full, None)


@needs_rasterio
def test_an_image_after_a_preview_keeps_its_georeference(tmp_path: Path) -> None:
    full = image(np.uint16)
    geo = [(33550, "d", 3, (2.0, 2.0, 0.0), True), (33922, "d", 6, (0.0, 0, 0, 500, 900, 0), True)]
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(full[::2, ::2], photometric="minisblack", subfiletype=1)
        file.write(full, photometric="minisblack", extratags=geo)
    found = read_image(tmp_path / "x.tif")
    right(found, full, None)
    assert found.geo is not None
    assert found.geo.transform == (2, 0, 500, 0, -2, 900)


def test_pages_of_which_any_may_be_meant_are_refused(tmp_path: Path, backend: str) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(image(np.uint8)[:12], photometric="minisblack")
        file.write(image(np.uint8), photometric="minisblack")
    right_or_refused(tmp_path / "x.tif", SHOWN, None, "a later page is larger .*: save one alone")


def raw(path: Path, orientation: int = 1) -> np.ndarray:
    """Write a DNG, preview first; return what the sensor counted."""
    grey = cv2.resize(RANDOM.random((7, 9)).astype(np.float32), (96, 64), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    matrix = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)
    camera: list[Any] = [(50706, "B", 4, (1, 4, 0, 0), True), (50708, "s", 0, "A camera", True)]
    camera += [(50721, "2i", 9, matrix, True), (50778, "H", 1, 21, True), (274, "H", 1, orientation, True)]
    mosaic = [(33421, "H", 2, (2, 2), True), (33422, "B", 4, (0, 1, 1, 2), True), (50717, "I", 1, 65535, True)]
    preview = np.stack([(grey[::4, ::4] * 255).astype(np.uint8)] * 3, axis=-1)
    with tifffile.TiffWriter(path) as file:
        file.write(preview, subifds=1, subfiletype=1, photometric="rgb", extratags=camera)
        file.write((grey * 15000 + 500).astype(np.uint16), subfiletype=0, photometric=32803, extratags=mosaic)
    return grey


def test_raw_files_are_refused_without_rawpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw(tmp_path / "x.dng")
    (tmp_path / "x.raf").write_bytes(b"FUJIFILMCCD-RAW " + bytes(600))
    monkeypatch.setitem(sys.modules, "rawpy", None)
    for name in ("x.dng", "x.raf"):
        right_or_refused(tmp_path / name, SHOWN, None, r"raw file, which needs rawpy: pip install 'tiepoint\[raw\]'")


def test_raw_files_are_developed(tmp_path: Path) -> None:
    pytest.importorskip("rawpy", reason="needs rawpy: pip install 'tiepoint[raw]'")
    grey = raw(tmp_path / "x.dng", orientation=6)
    found, stored = read_image(tmp_path / "x.dng"), read_image(tmp_path / "x.dng", orient=False)
    assert (found.orientation, found.pixels.shape, found.pixels.dtype) == (6, (96, 64), np.uint16)
    assert np.corrcoef(stored.pixels.ravel(), grey.ravel())[0, 1] > 0.9
    np.testing.assert_array_equal(np.rot90(stored.pixels, -1), found.pixels)
    with pytest.raises(InputError, match="96 x 64 px, more than the limit"):
        read_image(tmp_path / "x.dng", max_pixels=100)


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "PA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F"]
)
def test_images_of_pil_are_what_they_show(mode: str) -> None:
    rgb = Image.fromarray(image(np.uint8, 3))
    steps = {"La": ["LA"], "RGBa": ["RGBA"], "PA": ["P"]}
    picture = rgb
    for step in [*steps.get(mode, []), mode]:
        picture = picture.convert(step)
    shown = np.asarray(rgb.convert(mode if mode in ("1", "P") else "L").convert("RGB"))
    np.testing.assert_allclose(
        as_raster(picture).pixels.astype(int), luma(shown), atol={"PA": 255, "HSV": 5}.get(mode, 2)
    )
    for foreign, words in ((object(), "shape"), ([[1], [1, 2]], "is no array of pixels"), (None, "shape")):
        with pytest.raises(InputError, match=f"photo: {words}"):
            as_raster(foreign, "photo")  # type: ignore[arg-type]


def test_tensors_of_any_dtype_are_taken(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    values = torch.arange(24 * 36).reshape(1, 24, 36) % 100
    for dtype in ["bfloat16", "float16", "float32", "float64", "uint8", "int8", "int16", "uint16", "int32", "int64"]:
        tensor = values.to(getattr(torch, dtype))
        if tensor.is_floating_point():
            tensor.requires_grad_()
        np.testing.assert_array_equal(as_raster(tensor).pixels, values[0].numpy())
    np.testing.assert_array_equal(as_raster(values > 50).pixels, (values[0] > 50).numpy() * 255)
    np.testing.assert_array_equal(as_raster(values.numpy().astype(">u2")).pixels.dtype, np.uint16)
    for refused in (values.to(torch.complex64), values.float().to_sparse(), values[None]):
        with pytest.raises(InputError, match=r"^image: ") as caught:
            as_raster(refused)
        assert "\n" not in str(caught.value)


def test_masked_arrays_are_masked_band_by_band() -> None:
    planes = np.ma.masked_array(RANDOM.random((2, 24, 36)).astype(np.float32), mask=False)
    planes[0, :, :9] = np.ma.masked
    planes.data[0, :, :9] = 1e9
    found = as_raster(planes)
    assert found.mask is None
    assert found.pixels.max() <= 1
    planes[1, :, :9] = np.ma.masked
    np.testing.assert_array_equal(as_raster(planes).mask, SHOWN)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_pipes_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    right_or_refused(tmp_path / "x.png", SHOWN, None, "is a pipe or a device, .*: save it as a file first")


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_nodata_is_named_where_the_file_does_not_name_it(
    tmp_path: Path, backend: str, suffix: str, orientation: int
) -> None:
    rgb = image(np.uint8, 3)
    rgb[:, 20:22, 1:] = 0  # in one band alone it is a value as any other
    path, exif = tmp_path / f"x.{suffix}", Image.Exif()
    exif[274] = orientation
    Image.fromarray(rgb).save(path, exif=exif)
    found, shown = read_image(path, nodata=0), np.rot90(SHOWN, -1) if orientation == 6 else SHOWN
    np.testing.assert_array_equal(found.mask, shown)
    assert read_image(path).mask is None
    np.testing.assert_array_equal(as_raster(rgb.transpose(2, 0, 1), nodata=0).mask, SHOWN)
    with open_image(path, nodata=0) as reader:
        np.testing.assert_array_equal(reader.read(Window(0, 0, 12, 12)).mask, shown[:12, :12])
    assert read_planes(path).shape == (1, *shown.shape)
