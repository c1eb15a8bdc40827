"""The members of a zip or tar, one after the other, as they are stored."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from tiepoint.data.partial import named
from tiepoint.errors import InputError

CHUNK = 1 << 20
# RuntimeError includes NotImplementedError, zipfile's word for a method or version that it does not know.
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, struct.error, RuntimeError)
_DECOMPRESSORS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive: its name and size as stated, and how to open it, before the next one is asked."""

    archive: Path
    name: str
    size: int
    is_folder: bool
    open: Callable[[], IO[bytes] | None]

    def chunks(self) -> Generator[bytes, None, None]:
        """The content. Raises InputError if it is damaged or not as long as stated."""
        done = 0
        with _reading(self.archive, self.name), self.open() or io.BytesIO() as stream:
            while data := stream.read(CHUNK):
                done += len(data)  # zipfile and tarfile both end at the stated size
                yield data
        if done != self.size:
            raise InputError(
                f"{self.archive}: member {self.name!r} is not as long as stated ({self.size:,} bytes): "
                "get the archive again, from elsewhere"
            )


def members(archive: Path) -> Generator[Member, None, None]:
    """The members in the order of the archive. What it is, its content says.

    Raises InputError if it is damaged, if it goes on where it should end, or at a link, a device or an encrypted file.
    """
    if _is_zip(archive):
        yield from _zip_members(archive)
    else:
        yield from _tar_members(archive)


def stated_total(archive: Path) -> int:
    """Bytes that a zip says it unpacks to; 0 for a tar, which has to be read to know."""
    if not _is_zip(archive):
        return 0
    with _reading(archive), zipfile.ZipFile(archive) as file:
        return sum(info.file_size for info in file.infolist())


def is_archive(path: Path) -> bool:
    """Whether a file looks like a whole zip, or like a tar."""
    if _is_zip(path):
        return zipfile.is_zipfile(path)
    try:
        with _reading(path):
            return tarfile.is_tarfile(path)
    except InputError:
        return False


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:  # by its start, since zipfile would also find a zip at the end of a tar
        return file.read(2) == b"PK"


def _zip_members(archive: Path) -> Generator[Member, None, None]:
    with _reading(archive), zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            # zipfile cuts a name at NUL, and on Windows it turns backslashes: judge it as it is stored
            name = info.orig_filename if {"\0", "\\"} & set(info.orig_filename) else info.filename
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refusal(archive, name, "is a link or a device")
            if info.flag_bits & 1:
                raise _refusal(archive, name, "is encrypted")
            yield Member(archive, name, info.file_size, name.endswith("/"), partial(file.open, info))


def _tar_members(archive: Path) -> Generator[Member, None, None]:
    with _reading(archive), archive.open("rb") as file:
        magic = file.read(6)
        opener: Any = next((o for start, o in _DECOMPRESSORS.items() if magic.startswith(start)), open)
        with opener(archive, "rb") as plain:
            watched: Any = _Watched(plain)
            # As a stream, since going back in a compressed file means to begin again.
            with tarfile.open(fileobj=watched, mode="r|") as tar:
                for info in tar:
                    if not (info.isreg() or info.isdir()):
                        raise _refusal(archive, info.name, "is a link or a device")
                    yield Member(archive, info.name, info.size, info.isdir(), partial(tar.extractfile, info))
                end = tar.offset
            while watched.read(CHUNK):
                pass  # to the end, where a compressed file's check sum is
            # tarfile takes a damaged header, or none, for the end; the end is marked by zeros and nothing follows.
            if watched.last > end or watched.total <= end:
                raise tarfile.ReadError("cut off or damaged between two members")


class _Watched:
    """A stream that knows how many bytes it gave, and after how many of them there were only zeros."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.total, self.last = stream, 0, 0

    def read(self, size: int) -> bytes:
        """The next bytes."""
        data = self.stream.read(size)
        significant = len(data.rstrip(b"\0"))
        if significant:
            self.last = self.total + significant
        self.total += len(data)
        return data


def _refusal(archive: Path, name: str, reason: str) -> InputError:
    return InputError(f"{archive}: member {name!r} {reason}: unpack it by hand if you trust it")


@contextmanager
def _reading(archive: Path, member: str | None = None) -> Iterator[None]:
    """Turn what the libraries say of damage into an InputError; a disk that fails stays an OSError."""
    try:
        with named(archive):
            yield
    except InputError:
        raise
    except (*_DAMAGE, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # without a number it is gzip or bz2, on damage
            raise
        label = f"{archive}: member {member!r} is" if member else f"{archive}:"
        raise InputError(f"{label} damaged ({error}): get the archive again") from None
