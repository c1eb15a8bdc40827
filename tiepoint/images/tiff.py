"""The tags of a TIFF that decide who may read it: read without decoding it (TIFF 6.0, BigTIFF, GDAL's nodata tag)."""

import math
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_DIRECTORIES = 4096  # pages, overviews and masks
NUMBERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, BANDS = 254, 255, 256, 257, 258, 262, 274, 277
PLANAR, INNER, EXTRA, FORMAT, NODATA = 284, 330, 338, 339, 42113  # INNER: directories within one, as cameras have them
EXTENTS = ((273, 279), (324, 325))  # offsets and byte counts of strips and of tiles
GEO = (33550, 33922, 34264, 34735)  # pixel scale, tie points, matrix, keys
WANTED = {
    SUBFILE,
    OLD_SUBFILE,
    WIDTH,
    HEIGHT,
    BITS,
    PHOTOMETRIC,
    ORIENTATION,
    BANDS,
    PLANAR,
    INNER,
    EXTRA,
    FORMAT,
    NODATA,
}
WANTED |= {tag for pair in EXTENTS for tag in pair}
WHITE, GREYS, RGB, PALETTE, YCBCR = 0, (0, 1), 2, 3, 6
SENSOR = (32803, 34892)  # a mosaic of colours, and what a sensor counted
CANON = b"CR\2\0"  # at byte 8 of its raw files


class Damaged(Exception):
    """The file ends early or its directories make no sense."""


@dataclass(frozen=True)
class Tiff:
    """What the directory of the image says: the first that is neither a preview, an overview nor a mask."""

    width: int
    height: int
    bands: int  # samples of a pixel, alpha included
    bits: int  # of a sample
    dtype: str  # numpy's name of a sample's type, uint8 for fewer bits; "" for one that numpy does not have
    photometric: int  # TIFF's number: 0 and 1 grey, 2 RGB, 3 palette, 6 YCbCr ...
    planar: bool  # the bands are stored apart
    alpha: int  # 0 no alpha band, 1 colours are multiplied by it, 2 they are not
    nodata: float | None  # the value that marks pixels without data
    georeferenced: bool  # has a pixel scale, a matrix or GeoTIFF keys
    pages: tuple[int, ...]  # where the directories of this size that are neither an overview nor a mask lie in the file
    first: bool  # the image is the first directory, not a later one after a preview
    larger: int  # directories after it, not marked as previews either, that are larger
    raw: bool  # holds what a camera's sensor counted, not an image
    orientation: int  # 1 to 8, as in EXIF
    orientation_at: int | None  # where its two bytes lie in the file, None without the tag
    little: bool  # little-endian
    sparse: bool  # a strip or tile of any directory is not in the file and stands for zeros

    @property
    def sample_bytes(self) -> int:
        """Bytes of a decoded sample; 16 of a type that numpy does not have."""
        return np.dtype(self.dtype).itemsize if self.dtype else 16

    @property
    def plain(self) -> bool:
        """Whether OpenCV reads it right. It takes the first of two bands, and mixes bands that are stored apart."""
        if self.dtype not in ("uint8", "uint16", "float32", "float64") or not self.first:
            return False
        if self.photometric != PALETTE and self.bits not in (1, 8, 16, 32, 64):
            return False
        if self.bands == 1:
            return self.photometric in GREYS or (self.photometric == PALETTE and self.dtype == "uint8")
        colour = self.photometric == RGB or (self.photometric == YCBCR and self.dtype == "uint8")
        return colour and self.bands in (3, 4) and (not self.planar or (self.dtype == "uint8" and self.bands == 3))


def read_tags(file: BinaryIO) -> Tiff:
    """Read the directories of a TIFF. Raises Damaged also where a strip or tile lies beyond the end of the file."""
    size = file.seek(0, os.SEEK_END)
    order, at, big = _start(file)
    directories = _chain(file, at, size, order, big, {0: 0})
    if not directories:
        raise Damaged
    candidates = list(directories.items())
    if INNER in candidates[0][1] and _is_aside(candidates[0][1]):  # a preview, and the image within
        seen = dict.fromkeys([0, *directories], 0)
        inner = [_chain(file, int(at), size, order, big, seen) for at in candidates[0][1][INNER].numbers]
        candidates[1:1] = [one for chain in inner for one in chain.items()]
    full = [one for one in candidates if not _is_aside(one[1])] or candidates[:1]
    tags = full[0][1]
    shape = _size(tags)
    if 0 in shape:
        raise Damaged
    first = candidates[0][1]
    alphas = [int(v) for v in tags[EXTRA].numbers if v in (1, 2)] if EXTRA in tags else []
    turned = tags if ORIENTATION in tags else first
    orientation = _number(turned, ORIENTATION, 1)
    return Tiff(
        *shape,
        bands=_number(tags, BANDS, 1),
        bits=_number(tags, BITS, 1),
        dtype=_dtype(tags),
        photometric=_number(tags, PHOTOMETRIC, 1),
        planar=_number(tags, PLANAR, 1) == 2,
        alpha=alphas[0] if alphas else 0,
        nodata=_nodata(tags),
        georeferenced=any(tag in tags for tag in GEO),
        pages=tuple(at for at, other in full if _size(other) == shape),
        first=tags is first,
        larger=sum(math.prod(_size(other)) > math.prod(shape) for _, other in full),
        raw=_exactly(file, 0, 12, size)[8:] == CANON
        or any(_number(t, PHOTOMETRIC, 1) in SENSOR for _, t in candidates),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        orientation_at=tags[ORIENTATION].at if ORIENTATION in tags else None,
        little=order == "<",
        sparse=any((t[pair[1]].numbers == 0).any() for _, t in candidates for pair in EXTENTS if pair[1] in t),
    )


@dataclass(frozen=True)
class _Entry:
    at: int  # where its first value lies
    numbers: NDArray[Any]
    text: bytes


def _start(file: BinaryIO) -> tuple[str, int, bool]:
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise Damaged
    version = int(np.frombuffer(head, order + "u2", 1, 2)[0])
    if version not in (42, 43) or (version == 43 and len(head) < 16):
        raise Damaged
    kind, where = ("u4", 4) if version == 42 else ("u8", 8)
    return order, int(np.frombuffer(head, order + kind, 1, where)[0]), version == 43


def _chain(
    file: BinaryIO, at: int, size: int, order: str, big: bool, seen: dict[int, int]
) -> "dict[int, dict[int, _Entry]]":
    """The directories from the one at `at` on, each with the place of the next, by their places in the file."""
    directories = {}
    while at and len(seen) < MAX_DIRECTORIES:
        if at in seen or at >= size or seen[0] > 2 * size:  # directories of a sound file share no long tags
            raise Damaged
        tags, following = _directory(file, at, size, order, big)
        seen[at] = sum(len(entry.text) for entry in tags.values())
        seen[0] += seen[at]
        _check_extents(tags, size)
        directories[at], at = tags, following
    return directories


def _directory(file: BinaryIO, at: int, size: int, order: str, big: bool) -> tuple[dict[int, _Entry], int]:
    """The wanted tags of the directory at `at`, and where the next one is; 0 after the last."""
    count_type, word = (order + "u8", 8) if big else (order + "u2", 4)
    count = int(np.frombuffer(_exactly(file, at, 8 if big else 2, size), count_type)[0])
    start, each = at + (8 if big else 2), 4 + 2 * word
    if count > MAX_DIRECTORIES:
        raise Damaged
    table = _exactly(file, start, count * each + word, size)
    tags = {}
    for row in range(count):
        entry = row * each
        tag, kind = (int(v) for v in np.frombuffer(table, order + "u2", 2, entry))
        if tag not in WANTED and tag not in GEO:
            continue
        many = int(np.frombuffer(table, f"{order}u{word}", 1, entry + 4)[0])
        place = start + entry + 4 + word
        length = many * BYTES.get(kind, 0)
        if length > word:
            place = int(np.frombuffer(table, f"{order}u{word}", 1, entry + 4 + word)[0])
        data = b"" if tag in GEO else _exactly(file, place, length, size)
        numbers = np.frombuffer(data, order + NUMBERS[kind]) if kind in NUMBERS else np.empty(0, dtype=np.uint8)
        tags[tag] = _Entry(place, numbers, data)
    return tags, int(np.frombuffer(table, f"{order}u{word}", 1, count * each)[0])


def _exactly(file: BinaryIO, at: int, length: int, size: int) -> bytes:
    if at + length > size:
        raise Damaged
    file.seek(at)
    return file.read(length)


def _number(tags: dict[int, _Entry], tag: int, default: int) -> int:
    return int(tags[tag].numbers[0]) if tag in tags and len(tags[tag].numbers) else default


def _size(tags: dict[int, _Entry]) -> tuple[int, int]:
    return _number(tags, WIDTH, 0), _number(tags, HEIGHT, 0)


def _is_aside(tags: dict[int, _Entry]) -> bool:
    """Whether a directory is marked as a reduced version of another (bit 0), or as a mask (bit 2)."""
    return bool(_number(tags, SUBFILE, 0) & 5) or (SUBFILE not in tags and _number(tags, OLD_SUBFILE, 1) == 2)


def _check_extents(tags: dict[int, _Entry], size: int) -> None:
    for where, length in EXTENTS:
        if where in tags and length in tags:
            offsets, counts = (tags[tag].numbers.astype(np.float64) for tag in (where, length))  # exact up to 9e15
            if len(offsets) != len(counts) or (offsets + counts > size).any():
                raise Damaged


def _dtype(tags: dict[int, _Entry]) -> str:
    bits = set(tags[BITS].numbers.tolist()) if BITS in tags else {1}
    kinds = set(tags[FORMAT].numbers.tolist()) if FORMAT in tags else {1}
    if len(bits) != 1 or len(kinds) != 1:
        return ""
    width, kind = bits.pop(), {1: "uint", 2: "int", 3: "float", 4: "uint", 6: "complex"}.get(kinds.pop(), "")
    if kind == "uint":
        width = 8 if width < 8 else 16 if width in (10, 12, 14) else width
    known = {"uint": (8, 16, 32, 64), "int": (8, 16, 32, 64), "float": (16, 32, 64), "complex": (64, 128)}
    return f"{kind}{width}" if width in known.get(kind, ()) else ""


def _nodata(tags: dict[int, _Entry]) -> float | None:
    try:
        return float(tags[NODATA].text.rstrip(b"\0 ").decode("ascii")) if NODATA in tags else None
    except ValueError:
        return None
