"""A data set of two small files, as a server of the tests publishes it."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from pathlib import Path

from tiepoint.data.fetching.sources import Source


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in files.items():
            info = zipfile.ZipInfo()  # its constructor would already clean the name
            info.filename, info.compress_type, info.external_attr = name, method, 0o600 << 16
            file.writestr(info, data)
    return buffer.getvalue()


def strips(*sizes: int) -> bytes:
    return zipped({f"strip/{k}.bin": random.Random(size).randbytes(size) for k, size in enumerate(sizes)})


DATA = strips(30_000, 20_000)
OTHER = strips(30_001, 20_001)
AS_LONG = strips(20_000, 30_000)  # as DATA


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def source(*urls: str, md5: str | None = md5(DATA), repacked: bool = False) -> Source:
    return Source("tiny", "a test", "tiny.zip", urls, "tiepoint data tiny {folder}", md5, repacked)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
