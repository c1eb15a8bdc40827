"""A data set of two small files, as a server of the tests publishes it."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from pathlib import Path

from tiepoint.data.sources import Mirror, Source


def zipped(*sizes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for index, size in enumerate(sizes):
            file.writestr(f"strip/{index}.bin", random.Random(size).randbytes(size))
    return buffer.getvalue()


DATA = zipped(30_000, 20_000)
OTHER = zipped(30_001, 20_001)
AS_LONG = zipped(20_000, 30_000)  # as DATA


def md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data).hexdigest()}"


def source(*urls: str, hashes: tuple[str, ...] = (md5(DATA),), repacked: bool = False) -> Source:
    mirrors = tuple(Mirror(url, repacked) for url in urls)
    return Source("tiny", "tiny.zip", "a test", mirrors, hashes, "tiepoint data tiny {folder}")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
