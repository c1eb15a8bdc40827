"""Images whose headers claim any size, with hardly any pixels behind them."""

from __future__ import annotations

import struct
import zlib


def png(width: int, height: int) -> bytes:
    """A whole PNG whose compressed rows are far too few."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    )


def tiff(width: int, height: int, big: bool = False) -> bytes:
    """A TIFF without a strip, little-endian."""
    tags = ((256, width), (257, height), (258, 8), (277, 1), (339, 1))
    if big:
        rows = b"".join(struct.pack("<HHQQ", tag, 4, 1, value) for tag, value in tags)
        return b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(tags)) + rows + bytes(8)
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4)
