"""Zips from unknown hands are unpacked so that every member lands inside the folder, whole and as long as stated."""

import errno
import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tiepoint.files import named

CHUNK_BYTES = 1 << 20
MAX_MEMBERS = 1_000_000  # of an archive
MAX_RATIO, MIN_TOTAL_BYTES = 100, 1 << 28  # of all members to the archive; a smaller total is no harm
# What zipfile raises for damage. RuntimeError is its word for encryption and for methods that it does not know.
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, RuntimeError, ValueError)


class ArchiveError(Exception):
    """A zip that is not unpacked. The message follows its name: what is wrong with it, and with which member."""


def unpack(archive: Path, folder: Path, progress: Callable[[int, int], None] | None = None) -> tuple[int, int]:
    """Unpack a zip into an empty folder, and return the number of files and their bytes.

    Members are written as plain files; permissions and dates are not taken over. `progress` is called with (bytes done,
    bytes in all).

    Raises ArchiveError for no zip, a damaged one, an empty one, one of too many members or that inflates to over 100
    times its size, two members with one name, a link or a device, or a name that is absolute, goes up, or holds a
    backslash, a colon or a character that cannot be printed; OSError where a file cannot be written: disk full, before
    the first byte, if the files do not fit.
    """
    done = 0
    with _damage("is not a whole zip"), zipfile.ZipFile(archive) as file:
        members = [info for info in file.infolist() if not info.orig_filename.endswith("/")]
        total = sum(info.file_size for info in members)
        if not members:
            raise ArchiveError("holds no file")
        if len(members) > MAX_MEMBERS or total > max(MAX_RATIO * archive.stat().st_size, MIN_TOTAL_BYTES):
            raise ArchiveError(f"claims {len(members):,} files of {total:,} bytes, more than a data set has")
        check_room(folder, total)
        for info in members:
            name = info.orig_filename  # as stored; `filename` is cut at NUL
            target = folder.joinpath(*_parts(name, info.external_attr >> 16))
            with _damage(f"is damaged at {name!r}"):
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    stream = target.open("xb")
                except (FileExistsError, NotADirectoryError):
                    raise ArchiveError(f"holds the name {name!r} twice, at least where case is ignored") from None
                with stream, named(target), file.open(info) as member:
                    shutil.copyfileobj(member, stream, CHUNK_BYTES)
                    if stream.tell() != info.file_size:
                        raise ValueError(f"shorter than the stated {info.file_size:,} bytes")
            done += info.file_size
            if progress:
                progress(done, total)
    return len(members), total


def check_room(folder: Path, size: int) -> None:
    """Raise OSError (disk full) that names the folder unless `size` more bytes fit."""
    if size > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _parts(name: str, mode: int) -> list[str]:
    """Folders and file of a member's name."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or not parts or ".." in parts or not name.isprintable() or {"\\", ":"} & set(name):
        raise ArchiveError(f"holds the unsafe name {name!r}")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise ArchiveError(f"holds {name!r}, a link or a device")
    return parts


@contextmanager
def _damage(words: str) -> Iterator[None]:
    """Turn what the libraries say of damage into an ArchiveError; a disk that fails stays an OSError."""
    try:
        yield
    except DAMAGE as error:
        raise ArchiveError(f"{words} ({error})") from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # bz2 gives no number; EINVAL is a seek to a damaged offset
            raise
        raise ArchiveError(f"{words} ({error})") from None
