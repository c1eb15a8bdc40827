"""Writing files and folders so that a crash or a full disk never leaves half of one behind; errors that name a file."""

import json
import logging
import os
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tiepoint.errors import InputError, reason
from tiepoint.names import is_utf8

LOCK, HOLDER = ".lock", "-holder"  # name of a folder's lock, and what the name of the file beside a lock ends with
LOG = logging.getLogger(__name__)
WINDOWS = os.name == "nt"


@contextmanager
def locked(folder: str | Path | None) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it is missing. None, for a run that writes nothing, holds nothing.

    Folders that were made for it and are empty at the end are removed again. Raises InputError where another run holds
    the lock, or `folder` is a file, and what `hold` raises.
    """
    if folder is None:
        yield
        return
    path = Path(folder)
    made = [parent for parent in (path, *path.parents) if not parent.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: is a file, or lies below one: name a folder") from None
    try:
        with hold(path / LOCK):
            yield
    finally:
        with suppress(OSError):
            for parent in made:  # the innermost first; one that holds something stays
                parent.rmdir()


@contextmanager
def hold(lock: Path) -> Iterator[None]:
    """Hold the lock file `lock`. A file beside it says who does: process, host and since when.

    The operating system releases the lock when the process dies, and both files are removed when the block ends.
    The holder is written beside the lock because Windows lets nobody read a locked file. Raises InputError where
    another run holds it, and OSError for a folder without rights, or a file system without locks.
    """
    from filelock import FileLock, Timeout

    holder = lock.with_name(lock.name + HOLDER)
    try:
        with named(lock):
            held = FileLock(lock).acquire(timeout=0)
    except Timeout:
        who = ""
        with suppress(OSError, ValueError):
            who = holder.read_text(encoding="utf-8").strip()
        other = f"another run is writing there ({who or 'unknown'})"
        raise InputError(f"{lock.parent}: {other}: wait for it, or name another folder") from None
    with held:
        try:
            since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
            with suppress(OSError):  # a full disk leaves the holder unnamed, and is reported by what is written next
                holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}\n", encoding="utf-8")
            yield
        finally:
            _remove(holder)
            _remove(lock)  # while it is held: filelock sees that a file was removed before it got the lock
    if WINDOWS:  # which removes no open file, and none that another run has opened since
        _remove(lock)


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
            LOG.debug("wrote %s", path)
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
        if WINDOWS and path.exists():
            path.rmdir()  # Windows replaces no folder, not even an empty one
        temporary.replace(path)
        LOG.debug("wrote %s", path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically; what a file's name holds besides becomes its bytes again."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused: JSON has neither."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_plain(path: str | Path, mmap: bool = False) -> Any:
    """Read a torch file with `weights_only`, onto the CPU; `mmap` maps its tensors and does not read them.

    Of a file whose name is no UTF-8 nothing is mapped: torch cannot. Raises InputError for one that cannot be read, is
    damaged, or holds more than plain values and tensors.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and is_utf8(path))
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # bytes that are no torch file raise anything, IndexError and OSError among them
        said, held = reason(error), re.search(r"GLOBAL (\S+)", str(error))
        if held:
            said = f"it holds {held[1]}: save the state dict alone"
        elif "weights_only" in said:  # torch's advice to load it all the same, which may run what the file holds
            said = "it is a TorchScript archive" if "TorchScript" in said else "it is no pickle of plain values"
        raise InputError(f"{path}: damaged, or not a torch file of plain tensors ({said})") from None


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let the system's errors that name no file, such as those of a full disk, name this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _sync(path: Path) -> None:
    """Have the system write a file or folder to the disk; Windows opens no folder, and syncs what may be written."""
    if WINDOWS and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    with UMASK:  # two threads that read it at once would leave it changed
        mask = os.umask(0o077)
        os.umask(mask)
    return mask
