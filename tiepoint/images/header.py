"""What the first bytes of an image file say: its size, which is checked before anything is decoded, and orientation.

A file of a few kilobytes can claim a picture that fills the memory. The limit is 2^29 pixels, a square of 23,170: the
images of 20,000 x 20,000 px that people register fit, and an 8-bit image of the limit takes half a gigabyte. Users who
trust larger files raise it by the environment variable TIEPOINT_MAX_PIXELS or by an argument.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.images.tiff import SIGNATURES, Damaged, Tiff, read_tags


def upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a stored image (..., H, W) upright: a view, of (..., W, H) for the orientations 5 to 8."""
    rows, columns = slice(None), slice(None)
    if orientation in (3, 4, 7, 8):
        rows = slice(None, None, -1)
    if orientation in (2, 3, 6, 7):
        columns = slice(None, None, -1)
    # 5 to 8 swap the axes first, so what is flipped is the upright image.
    turned = image.swapaxes(-1, -2) if orientation >= 5 else image
    return turned[..., rows, columns]


Kind = Literal["png", "jpeg", "tiff", "jp2", "bmp", "gif", "other"]
MAX_PIXELS = 2**29
VARIABLE = "TIEPOINT_MAX_PIXELS"
MAX_OPENCV_PIXELS, MAX_OPENCV_SIDE_PX = 2**30, 2**20  # of OpenCV's own readers
PNG, JP2, CODESTREAM = b"\x89PNG\r\n\x1a\n", b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"
MAX_BOXES_BYTES = 1 << 16  # of a JPEG 2000 file, within which the box of its size must stand
EXIF = b"Exif\0\0"


@dataclass(frozen=True)
class Header:
    """Kind of an image file, size as stored (0 x 0 if unknown), EXIF orientation (1 to 8), and the tags of a TIFF."""

    kind: Kind
    width: int = 0
    height: int = 0
    orientation: int = 1
    tiff: Tiff | None = None


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file to read it; raises InputError for one that is missing, a folder or unreadable."""
    try:
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

    Raises InputError for a file that is empty or whose header ends early, and for a TIFF of which a strip, tile or
    directory is missing.
    """
    file.seek(0)
    head = file.read(32)
    if not head:
        raise InputError(f"{name}: is empty: copy it again")
    try:
        if head.startswith(SIGNATURES):
            tags = read_tags(file)
            return Header("tiff", tags.width, tags.height, tags.orientation, tags)
        if head.startswith(PNG):
            return _png(file, head)
        if head.startswith(b"\xff\xd8\xff"):
            return _jpeg(file)
    except Damaged:
        raise InputError(f"{name}: is truncated or damaged: copy it again") from None
    if head.startswith((JP2, CODESTREAM)):
        file.seek(0)
        return _jpeg2000(file.read(MAX_BOXES_BYTES))
    if head.startswith(b"BM") and len(head) >= 26:
        wide = int.from_bytes(head[14:18], "little") != 12
        places = ((18, 22), (22, 26)) if wide else ((18, 20), (20, 22))
        width, height = (abs(int.from_bytes(head[a:b], "little", signed=wide)) for a, b in places)
        return Header("bmp", width, height)
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Header("gif", int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"))
    return Header("other")


def check_size(width: int, height: int, name: str | Path, max_pixels: int | None = None, remedy: str = "") -> None:
    """Raise InputError for an image of more pixels than `max_pixels`, or than the limit of this run if None."""
    limit = pixel_limit() if max_pixels is None else max_pixels
    if width * height > limit:
        raise InputError(
            f"{name}: is {width} x {height} px, more than the limit of {limit} pixels: if you trust the file, set "
            f"{VARIABLE} or max_pixels to {width * height}{remedy}"
        )


def check_opencv(header: Header, name: str | Path) -> None:
    """Raise InputError for an image that is larger than OpenCV reads."""
    if header.width * header.height > MAX_OPENCV_PIXELS or max(header.width, header.height) > MAX_OPENCV_SIDE_PX:
        raise InputError(
            f"{name}: is {header.width} x {header.height} px: OpenCV reads {MAX_OPENCV_PIXELS} pixels and "
            f"{MAX_OPENCV_SIDE_PX} a side at most: save it as a tiled TIFF and read it with rasterio "
            "(pip install 'tiepoint[geo]')"
        )


def pixel_limit() -> int:
    """The most pixels that an image may have: TIEPOINT_MAX_PIXELS, else 2^29."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return MAX_PIXELS
    if not text.isdecimal() or not int(text):
        raise InputError(f"{VARIABLE} is {text!r}: give a whole number of pixels above 0")
    return int(text)


def complete(data: bytes) -> bool:
    """False for a PNG or JPEG that ends early: decoders may fill the rest with grey or print to standard error."""
    if data.startswith(PNG):
        return _png_ends(data)
    return _jpeg_ends(data) if data.startswith(b"\xff\xd8\xff") else True


def _png(file: BinaryIO, head: bytes) -> Header:
    if len(head) < 24:
        raise Damaged
    orientation, at = 1, 8
    while True:
        file.seek(at)
        start = file.read(8)
        if len(start) < 8 or start[4:] == b"IEND":
            break
        length = int.from_bytes(start[:4], "big")
        if start[4:] == b"eXIf":
            orientation = _exif_orientation(file.read(length))
            break
        at += 12 + length
    return Header("png", int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"), orientation)


def _jpeg(file: BinaryIO) -> Header:
    """Follow the segments to the frame's header; 0 x 0 where there is none."""
    orientation, at = 1, 2
    while True:
        file.seek(at)
        start = file.read(4)
        if len(start) < 4 or start[0] != 0xFF:
            return Header("jpeg", orientation=orientation)
        marker, length = start[1], int.from_bytes(start[2:], "big")
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:  # fill bytes and markers without a length
            at += 1 if marker == 0xFF else 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = file.read(5)
            sides = (int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big"))
            return Header("jpeg", *sides, orientation=orientation)
        if marker == 0xE1:
            segment = file.read(max(length - 2, 0))
            if segment.startswith(EXIF):
                orientation = _exif_orientation(segment[len(EXIF) :])
        at += 2 + max(length, 2)


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


def _jpeg2000(data: bytes) -> Header:
    if data.startswith(CODESTREAM):
        x, y, left, top = (int.from_bytes(data[a : a + 4], "big") for a in (8, 12, 16, 20))
        return Header("jp2", max(x - left, 0), max(y - top, 0))
    at = data.find(b"ihdr")
    if at < 0:
        return Header("jp2")
    return Header("jp2", int.from_bytes(data[at + 8 : at + 12], "big"), int.from_bytes(data[at + 4 : at + 8], "big"))


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
        marker = data[at + 1]
        if marker == 0xD9:
            return True
        bare = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8  # stuffing, fill bytes, restarts: no length
        at += (1 if marker == 0xFF else 2) if bare else 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return False
