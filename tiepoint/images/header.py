"""What the first bytes of an image file say: its size, which is checked before anything is decoded, and orientation.

A file of a few kilobytes can claim a picture that fills the memory. The limit is 2^29 pixels, a square of 23,170: the
images of 20,000 x 20,000 px that people register fit, and an 8-bit image of the limit takes half a gigabyte. Users who
trust larger files raise it by the environment variable TIEPOINT_MAX_PIXELS or by an argument. A decoded pixel may have
four bytes, as of RGB with alpha: one of more counts as several.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.images import boxes
from tiepoint.images.tiff import SIGNATURES, WHITE, Damaged, Tiff, read_tags


def upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a stored image (..., H, W) upright: a view, of (..., W, H) for the orientations 5 to 8."""
    # 5 to 8 swap the axes first, so what is flipped is the upright image.
    turned = image.swapaxes(-1, -2) if orientation >= 5 else image
    return turned[..., :: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]


Kind = Literal["png", "jpeg", "tiff", "jp2", "bmp", "gif", "webp", "avif", "pnm", "raw", "other"]
SPACES = {5: "CMYK", 6: "YCbCr", 8: "Lab", 9: "ICC Lab", 10: "ITU Lab", 32844: "LogL", 32845: "LogLuv"}  # of a TIFF
GDAL_SPACES = ("CMYK", "YCbCr", "Lab")  # that GDAL turns to RGB, of 8 bits
MAX_PIXELS, PIXEL_BYTES = 2**29, 4
MIN_FILE_LIMIT_BYTES = 1 << 26  # of what is decoded as a whole, whatever the limit of pixels: there are other chunks
VARIABLE = "TIEPOINT_MAX_PIXELS"
MAX_OPENCV_PIXELS, MAX_OPENCV_SIDE_PX = 2**30, 2**20  # of OpenCV's own readers
PNG, JP2, CODESTREAM = b"\x89PNG\r\n\x1a\n", b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"
MAX_BOXES_BYTES = 1 << 16  # of a JPEG 2000 file, within which the box of its size must stand
FLOATS = {b"PF": re.compile(rb"\A..\s+(?P<w>\d{1,9})\s+(?P<h>\d{1,9})")}
FLOATS |= {b"Pf": FLOATS[b"PF"], b"#?": re.compile(rb"-Y (?P<h>\d{1,9}) \+X (?P<w>\d{1,9})")}
EXIF = b"Exif\0\0"
RAW = (b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FUJIFILM", b"FOVb", b"\0MRM")  # Panasonic, Olympus, Fuji, Sigma, Minolta


@dataclass(frozen=True)
class Header:
    """Kind of an image file, size as stored (0 x 0 if unknown), EXIF orientation (1 to 8), and the tags of a TIFF.

    `transparent` is the grey value of a PNG, as decoded, that stands for no pixel; `levels` how many grey values a
    portable map counts, 0 for other files. What a camera's raw file holds is unknown. `pixel_bytes` are those of a
    decoded pixel with all its bands, at most.
    """

    kind: Kind
    width: int = 0
    height: int = 0
    orientation: int = 1
    tiff: Tiff | None = None
    transparent: int | None = None
    levels: int = 0
    pixel_bytes: int = PIXEL_BYTES


@contextmanager
def opened(path: str | Path) -> Iterator[BufferedReader]:
    """Open a file to read it; raises InputError for one that is missing, a folder or unreadable."""
    try:
        if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
            raise InputError(f"{path}: is a pipe or a device, which is read but once: save it as a file first")
        with Path(path).open("rb") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder: name an image file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def inspect(file: BinaryIO, name: str | Path) -> Header:
    """Read the header of an image file, and nothing of its pixels.

    Raises InputError for a file that is empty or ends early, and for a TIFF that lacks a strip, tile or directory.
    """
    file.seek(0)
    head = file.read(32)
    if not head:
        raise InputError(f"{name}: is empty: copy it again")
    try:
        if head.startswith(SIGNATURES):
            return _tiff(read_tags(file), name)
        if head.startswith(PNG):
            return _png(file, head)
        if head.startswith(b"\xff\xd8\xff"):
            return _jpeg(file)
        if head.startswith((JP2, CODESTREAM)):
            return _jpeg2000(file, name)
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            width, height, exif = boxes.webp(file)
            return Header("webp", width, height, _exif_orientation(exif.removeprefix(EXIF)))
        if head[4:12] in (b"ftypavif", b"ftypavis", b"ftypmif1"):
            return Header("avif", *boxes.avif(file))
    except Damaged:
        raise InputError(f"{name}: is truncated or damaged: copy it again") from None
    if head.startswith(RAW) or head[4:12] == b"ftypcrx ":
        return Header("raw")
    if head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3].isspace():
        return _portable(file, name)
    if head.startswith(b"BM") and len(head) >= 26:
        width, height = struct.unpack_from("<2H" if head[14:18] == b"\x0c\0\0\0" else "<2i", head, 18)
        return Header("bmp", abs(width), abs(height))
    if head.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack_from("<2H", head.ljust(10, b"\0"), 6)
        return Header("gif", width, height)
    return _other(file, head)


def check_size(
    width: int,
    height: int,
    name: str | Path,
    max_pixels: int | None = None,
    remedy: str = "",
    pixel_bytes: int = PIXEL_BYTES,
) -> None:
    """Raise InputError for an image of more pixels than `max_pixels`, or than the limit of this run if None.

    Pixels of more than 4 `pixel_bytes` count as several.
    """
    limit = pixel_limit() if max_pixels is None else max_pixels
    if (pixels := width * height * max(1, -(-pixel_bytes // PIXEL_BYTES))) > limit:
        sized = "px" if pixel_bytes <= PIXEL_BYTES else f"px of {pixel_bytes} bytes"
        larger = f"is {width} x {height} {sized}, more than the limit of {limit} pixels"
        raise InputError(f"{name}: {larger}: if you trust the file, set {VARIABLE} or max_pixels to {pixels}{remedy}")


def check_opencv(header: Header, name: str | Path) -> None:
    """Raise InputError for an image that is larger than OpenCV reads."""
    width, height = header.width, header.height
    if width * height > MAX_OPENCV_PIXELS or max(width, height) > MAX_OPENCV_SIDE_PX:
        limits = f"OpenCV reads {MAX_OPENCV_PIXELS} pixels and {MAX_OPENCV_SIDE_PX} a side at most"
        remedy = "save it as a tiled TIFF and read it with rasterio (pip install 'tiepoint[geo]')"
        raise InputError(f"{name}: is {width} x {height} px: {limits}: {remedy}")


def read_whole(file: BinaryIO, name: str | Path, max_pixels: int | None = None) -> NDArray[np.uint8]:
    """The bytes of a file that is decoded as a whole. Raises InputError for more than decoded ones may have."""
    most = max(PIXEL_BYTES * (pixel_limit() if max_pixels is None else max_pixels), MIN_FILE_LIMIT_BYTES)
    if file.seek(0, os.SEEK_END) > most:
        raise InputError(f"{name}: is larger than {most} bytes: if you trust the file, raise {VARIABLE} or max_pixels")
    file.seek(0)
    return np.frombuffer(file.read(), dtype=np.uint8)


def pixel_limit() -> int:
    """The most pixels that an image may have: TIEPOINT_MAX_PIXELS, else 2^29."""
    text = os.environ.get(VARIABLE, "")
    if text and (not text.isdecimal() or not int(text)):
        raise InputError(f"{VARIABLE} is {text!r}: give a whole number of pixels above 0")
    return int(text or MAX_PIXELS)


def complete(data: bytes) -> bool:
    """False for a PNG or JPEG that ends early: decoders may fill the rest with grey or print to standard error."""
    if data.startswith(PNG):
        return _png_ends(data)
    return _jpeg_ends(data) if data.startswith(b"\xff\xd8\xff") else True


def _tiff(tags: Tiff, name: str | Path) -> Header:
    if tags.raw:
        return Header("raw")
    if tags.larger:
        raise InputError(
            f"{name}: a later page is larger than the first, and none is marked as a preview: save one alone"
        )
    if tags.photometric == WHITE and tags.dtype not in ("uint8", "uint16"):
        raise InputError(f"{name}: zero is white, of numbers that are {tags.dtype}: convert it to zero as black")
    space = SPACES.get(tags.photometric, "")
    if space and (tags.dtype != "uint8" or space not in GDAL_SPACES) and (space != "CMYK" or tags.bands == 4):
        raise InputError(f"{name}: its colours are {space} of {tags.dtype}: convert it to RGB")
    held = tags.bands * tags.sample_bytes
    return Header("tiff", tags.width, tags.height, tags.orientation, tags, pixel_bytes=held)


def _portable(file: BinaryIO, name: str | Path) -> Header:
    """A portable bit map (P1, P4), grey map (P2, P5) or pixel map (P3, P6): width, height and number of grey values."""
    file.seek(0)
    words = re.sub(rb"#[^\n]*", b"", file.read(MAX_BOXES_BYTES)).split(maxsplit=4)
    if words[0] == b"P7":
        raise InputError(f"{name}: is a portable arbitrary map: convert it to a PNG or a TIFF")
    if not all(word.isdigit() for word in words[1:3]) or len(words) < 4:
        raise InputError(f"{name}: is truncated or damaged: copy it again")
    counted = words[0] in (b"P5", b"P6") and words[3].isdigit()  # OpenCV spreads those that are text by itself
    return Header("pnm", int(words[1]), int(words[2]), levels=int(words[3]) + 1 if counted else 0)


def _png(file: BinaryIO, head: bytes) -> Header:
    if len(head) < 26:
        raise Damaged
    orientation, transparent, at = 1, None, 8
    while len(start := _bytes(file, at, 8)) == 8 and start[4:] != b"IEND":
        length = int.from_bytes(start[:4], "big")
        if start[4:] == b"eXIf":
            orientation = _exif_orientation(file.read(length))
        elif start[4:] == b"tRNS" and length == 2 and head[25] == 0:  # of grey; OpenCV knows that of colours
            transparent = int.from_bytes(file.read(2), "big") * (255 // (2 ** head[24] - 1) if head[24] < 8 else 1)
        at += 12 + length
    width, height = struct.unpack_from(">2I", head, 16)
    wide = 2 if head[24] == 16 else 1
    return Header("png", width, height, orientation, transparent=transparent, pixel_bytes=wide * PIXEL_BYTES)


def _jpeg(file: BinaryIO) -> Header:
    """Follow the segments to the frame's header; 0 x 0 where there is none."""
    orientation, at = 1, 2
    while len(start := _bytes(file, at, 4)) == 4 and start[0] == 0xFF:
        marker, length = start[1], int.from_bytes(start[2:], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = file.read(5)
            return Header("jpeg", int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big"), orientation)
        if marker == 0xE1 and (segment := file.read(max(length - 2, 0))).startswith(EXIF):
            orientation = _exif_orientation(segment[len(EXIF) :])
        at += _step(marker, length, bare=(0x01, 0xFF))
    return Header("jpeg", orientation=orientation)


def _bytes(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _step(marker: int, length: int, bare: tuple[int, ...]) -> int:
    """Bytes from a marker of a JPEG to the next; fill bytes, restarts and those of `bare` have no length."""
    if marker in bare or 0xD0 <= marker <= 0xD8:
        return 1 if marker == 0xFF else 2
    return 2 + max(2, length)


def _exif_orientation(data: bytes) -> int:
    """The orientation in EXIF data, which are a TIFF without an image; 1 if it is missing or damaged."""
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    if len(data) < 10:
        return 1
    at = int.from_bytes(data[4:8], order)
    for row in range(int.from_bytes(data[at : at + 2], order)):
        entry = data[at + 2 + 12 * row : at + 14 + 12 * row]
        if len(entry) == 12 and int.from_bytes(entry[:2], order) == 274:
            value = int.from_bytes(entry[8:10], order)
            return value if 1 <= value <= 8 else 1
    return 1


def _jpeg2000(file: BinaryIO, name: str | Path) -> Header:
    data = _bytes(file, 0, MAX_BOXES_BYTES)
    if data.startswith(CODESTREAM):
        x, y, left, top = (int.from_bytes(data[a : a + 4], "big") for a in (8, 12, 16, 20))
        wide = 2 if data[42:43] and data[42] & 0x7F > 7 else 1
        return Header("jp2", max(x - left, 0), max(y - top, 0), pixel_bytes=wide * int.from_bytes(data[40:42], "big"))
    colours = data.find(b"colr") + 4  # a number, or an ICC profile that names the space
    if colours >= 4 and (
        data[colours : colours + 7] == b"\1\0\0\0\0\0\x0c" or data[colours + 19 : colours + 23] == b"CMYK"
    ):
        raise InputError(f"{name}: its colours are CMYK: convert it to RGB")
    at = data.find(b"ihdr") + 4
    if at < 4:
        return Header("jp2")
    orientation = _exif_orientation(boxes.jpeg2000_exif(file).removeprefix(EXIF))
    height, width = (int.from_bytes(data[k : k + 4], "big") for k in (at, at + 4))
    held = int.from_bytes(data[at + 8 : at + 10], "big") * (2 if data[at + 10 : at + 11] > b"\x07" else 1)
    return Header("jp2", width, height, orientation, pixel_bytes=held)


def _other(file: BinaryIO, head: bytes) -> Header:
    """Formats that OpenCV reads and whose sides nothing else limits: Sun raster, Radiance and portable float maps."""
    if head.startswith(b"\x59\xa6\x6a\x95") and len(head) >= 12:
        return Header("other", *struct.unpack_from(">2I", head, 4))
    pattern = FLOATS.get(head[:2])
    found = pattern.search(_bytes(file, 0, MAX_BOXES_BYTES)) if pattern else None
    if found is None:
        return Header("other")
    return Header("other", int(found["w"]), int(found["h"]), pixel_bytes=3 * PIXEL_BYTES)


def _png_ends(data: bytes) -> bool:
    """Follow the chunks to IEND, each with its check sum."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at = end + 4
    return False


def _jpeg_ends(data: bytes) -> bool:
    """Follow the segments to the end marker. Its bytes may also stand inside a segment, as of an EXIF thumbnail."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        if data[at + 1] == 0xD9:
            return True
        at += _step(data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big"), bare=(0x00, 0x01, 0xFF))  # 0: stuffing
    return False
