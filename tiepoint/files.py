"""Writing files and folders so that a crash or a full disk never leaves half of one behind; errors that name a file."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tiepoint.errors import InputError

NAME = ".lock"
HELD = (errno.EACCES, errno.EAGAIN)


@contextmanager
def locked(folder: str | Path | None) -> Iterator[None]:
    """Hold the lock of a folder, which is made if missing; None, for a run that writes to none, holds nothing.

    The system frees the lock when its process ends, however it ends, so that a dead run's lock is none. The file
    `.lock`, which names the holder, is there as long as it is held; what was made and is empty then goes with it.

    Raises:
        InputError: another run holds it, or `folder` is no folder.
        OSError: a folder without rights, a file system without locks.
    """
    if folder is None:
        yield
        return
    path = Path(folder) / NAME
    made = [place for place in (path.parent, *path.parent.parents) if not place.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: is a file, or lies below one: name a folder") from None
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _take(handle, path)
        try:
            yield
        finally:
            with suppress(OSError):  # of what was done is told already
                path.unlink()
                for place in made:  # the innermost first; one that holds something stays
                    place.rmdir()
    finally:
        os.close(handle)  # which frees the lock


def _take(handle: int, path: Path) -> None:
    import fcntl

    with named(path):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one who held it may have removed it between our opening and our locking.
            ours = path.exists() and os.path.samestat(os.fstat(handle), path.stat())
        except OSError as error:
            if error.errno not in HELD:
                raise
            ours = False
        if not ours:
            holder = os.read(handle, 200).decode(errors="replace").strip() or "unknown"
            raise InputError(
                f"{path.parent}: another run is writing there ({holder}): wait for it, or name another folder"
            )
    with suppress(OSError):  # a full disk leaves the holder unnamed, and meets what is written next
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())


UMASK = threading.Lock()


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on any exception it is removed.

    The temporary name keeps the suffix, since image writers choose the format by it. Raises InputError for a device or
    a pipe: the superuser would replace /dev/null by a file.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: is a device or a pipe, which a file would replace: name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with named(path):
            yield temporary
            _sync(temporary)
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it becomes `path`, on any exception it is removed.

    Raises InputError if `path` exists and is not an empty folder.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists already: name another folder or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        _sync(temporary)
        temporary.chmod(0o777 & ~_umask())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused: JSON has neither."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_plain(path: str | Path, mmap: bool = False) -> Any:
    """Read a torch file with `weights_only`, onto the CPU; `mmap` maps its tensors and does not read them.

    Raises InputError for one that cannot be read, is damaged, or holds more than plain values and tensors.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # bytes that are no torch file raise anything, IndexError and OSError among them
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: damaged, or no torch file of plain tensors ({reason})") from None


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let the system's errors that name no file, such as those of a full disk, name this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    with UMASK:  # two threads that read it at once would leave it changed
        mask = os.umask(0o077)
        os.umask(mask)
    return mask
