"""The boxes of AVIF and JPEG 2000 files, and the chunks of WebP ones, that say an image's size and orientation."""

import os
from collections.abc import Iterator
from typing import BinaryIO

from tiepoint.images.tiff import Damaged

MAX_BOXES, MAX_BOX_BYTES = 4096, 1 << 20  # boxes of a file that are looked at, and bytes of one that are read
EXIF_UUID = b"JpgTiffExif->JP2"
# EXIF orientations of an AVIF: counter-clockwise quarters, then neither, top to bottom, or left to right.
ORIENTATIONS = ((1, 4, 2), (8, 5, 7), (3, 2, 4), (6, 7, 5))
Part = tuple[int, int]  # where the content of a box starts and ends


def webp(file: BinaryIO) -> tuple[int, int, bytes]:
    """Width, height and EXIF data (b"" without) of a WebP."""
    width, height, exif = 0, 0, b""
    for kind, part in _boxes(file, (12, file.seek(0, os.SEEK_END)), "little"):
        data = _read(file, part) if kind in (b"EXIF", b"VP8X", b"VP8L", b"VP8 ") else b""
        if kind == b"EXIF":
            exif = data
        elif kind == b"VP8X":
            width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (4, 7))
        elif kind == b"VP8L" and not width:
            sides = int.from_bytes(data[1:5], "little")
            width, height = 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
        elif kind == b"VP8 " and not width:
            width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return width, height, exif


def avif(file: BinaryIO) -> tuple[int, int, int]:
    """Width, height and orientation of an AVIF, which its properties say and not its EXIF data. Raises Damaged."""
    start, end = _find(file, (0, file.seek(0, os.SEEK_END)), b"meta")
    meta = (start + 4, end)  # after its version and flags
    primary = _read(file, _find(file, meta, b"pitm"))
    properties = _find(file, meta, b"iprp")
    held = list(_boxes(file, _find(file, properties, b"ipco")))
    width, height, quarters, flip = 0, 0, 0, 0
    for index in _associated(_read(file, _find(file, properties, b"ipma")), int.from_bytes(primary[4:], "big")):
        kind, part = held[index - 1] if 0 < index <= len(held) else (b"", (0, 0))
        data = _read(file, part) if kind in (b"ispe", b"irot", b"imir") else b""
        if kind == b"ispe":
            width, height = (int.from_bytes(data[at : at + 4], "big") for at in (4, 8))
        elif kind == b"irot":
            quarters = data[0] & 3 if data else 0
        elif kind == b"imir":
            flip = 1 + (data[0] & 1) if data else 0
    return width, height, ORIENTATIONS[quarters][flip]


def jpeg2000_exif(file: BinaryIO) -> bytes:
    """The EXIF data of a JPEG 2000 file, b"" without."""
    for kind, part in _boxes(file, (0, file.seek(0, os.SEEK_END))):
        if kind == b"uuid" and (data := _read(file, part)).startswith(EXIF_UUID):
            return data[len(EXIF_UUID) :]
    return b""


def _boxes(file: BinaryIO, within: Part, order: str = "big") -> Iterator[tuple[bytes, Part]]:
    """Kinds and contents of the boxes of a part of the file, or of the chunks of a RIFF, which count little-endian."""
    at, end = within
    for _ in range(MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if at + 8 > end or len(head) < 8:
            return
        if order == "little":
            kind, start, size = head[:4], 8, 8 + int.from_bytes(head[4:8], "little")
            following = size + size % 2
        else:
            kind, start, size = head[4:8], 8, int.from_bytes(head[:4], "big")
            if size == 1:
                start, size = 16, int.from_bytes(head[8:], "big")
            following = size = size or end - at
        if size < start:
            raise Damaged
        yield kind, (at + start, min(at + size, end))
        at += following


def _find(file: BinaryIO, within: Part, wanted: bytes) -> Part:
    for kind, part in _boxes(file, within):
        if kind == wanted:
            return part
    raise Damaged


def _read(file: BinaryIO, part: Part) -> bytes:
    file.seek(part[0])
    return file.read(min(part[1] - part[0], MAX_BOX_BYTES))


def _associated(data: bytes, item: int) -> list[int]:
    """Numbers, from 1, of the properties of an item, from the box `ipma`."""
    wide, long = (4 if data[:1] > b"\0" else 2), 1 + (data[3] & 1 if len(data) > 3 else 0)
    at, found = 8, []
    while at + wide < len(data):
        numbers = data[at + wide + 1 : at + wide + 1 + long * data[at + wide]]
        if int.from_bytes(data[at : at + wide], "big") == item:
            mask = (1 << 8 * long - 1) - 1  # the first bit says whether it is essential
            found = [int.from_bytes(numbers[k : k + long], "big") & mask for k in range(0, len(numbers), long)]
        at += wide + 1 + long * data[at + wide]
    return found
