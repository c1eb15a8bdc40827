"""Writing files and folders so that nothing is lost: none is left half written, none of the user's is replaced.

A file or folder is written in a hidden folder beside its place, `.NAME-tiepoint`, which is locked while its writer
lives. What a killed run left there is removed by the next that writes the same, or that locks the folder around it.

A file that tiepoint wrote says so: `SIGN` is in its bytes, or where its format has no room, in those of a file beside.
"""

import errno
import json
import logging
import os
import re
import shutil
import socket
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tiepoint.errors import InputError, reason
from tiepoint.names import is_utf8
from tiepoint.parsed import check_stored, check_tensors
from tiepoint.version import __version__

LOCK, HOLDER = ".lock", "-holder"  # name of a folder's lock, and what the name of the file beside a lock ends with
PART = "-tiepoint"  # what the name of a hidden folder ends with, in which something is written
MAX_NAME_BYTES = 200  # of what is written, in the name of that folder
MAX_WAIT_S = 60  # for another writer of the same file
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what file systems without locks say
GENERATOR = f"tiepoint {__version__}"
SIGN = re.compile(rb'(?:\A|[\0">(])tiepoint \d|tiepoint \d[\w.+]*\0|"tiepoint": ?"\d')
SIGN_BYTES = 2**20  # of the beginning and of the end of a file, in which the sign is
SIGNED = (".json", ".html", ".htm", ".png", ".jpg", ".jpeg", ".svg", ".pdf", ".tif", ".tiff", ".h5")
SIGNING = ("result.json", "run.json", "model.json", "summary.json", "comparison.json", "features.h5")
LOG = logging.getLogger(__name__)
WINDOWS = os.name == "nt"


@dataclass(eq=False)
class Guard:
    """What a command must not replace: its inputs, and without `overwrite` files that tiepoint did not write."""

    overwrite: bool = False
    inputs: set[tuple[int, int]] = field(default_factory=set)  # device and inode of files and folders


GUARD: list[Guard] = []  # the last is that of the command at work; there is none where tiepoint is a library


@contextmanager
def guarded(overwrite: bool = False) -> Iterator[None]:
    """Let `atomic_file` refuse, within the block, what `check_outputs` refuses. An outer block's inputs stay inputs."""
    outer = GUARD[-1] if GUARD else Guard()
    guard = Guard(overwrite or outer.overwrite, set(outer.inputs))
    GUARD.append(guard)
    try:
        yield
    finally:
        GUARD.remove(guard)


def protect(*inputs: str | Path) -> None:
    """Take files and folders that exist for inputs of the command, which no output replaces."""
    if GUARD:
        GUARD[-1].inputs |= {key for path in inputs if (key := _key(path)) is not None}


def check_outputs(*outputs: str | Path | None) -> None:
    """Raise InputError where one of these files would replace an input, another of them, or a file of someone else.

    Those of someone else, links among them, are those without a sign of tiepoint; `--overwrite` lets them be replaced.
    """
    paths = [Path(path) for path in outputs if path is not None]
    places = [os.path.realpath(path) for path in paths]
    for path, place in zip(paths, places, strict=True):
        if GUARD and _key(path) in GUARD[-1].inputs and not path.is_dir():
            raise InputError(f"{path}: is an input, which an output would replace: name another file")
        if places.count(place) > 1:
            raise InputError(f"{path}: is the place of two outputs: name another file")
        if (path.is_file() or path.is_symlink()) and not (is_ours(path) or (GUARD and GUARD[-1].overwrite)):
            raise InputError(f"{path}: is there and was not written by tiepoint: name another, or give --overwrite")


def is_ours(path: Path) -> bool:
    """Whether tiepoint wrote a file: it holds the sign, or its format has no room for it and a file beside it does."""
    above = path.parent.parent / "summary.json"  # of many pairs, by which also a damaged result of one is known
    beside = {
        path.with_suffix(".json"),
        path.with_name(path.name + ".json"),
        *(path.parent / n for n in SIGNING),
        above,
    }
    if path.suffix.lower() in SIGNED:
        beside = {above} if path.name == "result.json" else set()
    elif GUARD and _key(path.parent) in GUARD[-1].inputs:
        beside = set()
    return any(map(_is_signed, (path, *beside)))


def discard(path: Path) -> None:
    """Remove a result of an earlier run that this one does not have. In a command, a file of someone else stays."""
    with suppress(InputError):
        if GUARD:
            check_outputs(path)
        path.unlink(missing_ok=True)


def _is_signed(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with suppress(OSError), path.open("rb") as file:
        found = SIGN.search(file.read(SIGN_BYTES))
        file.seek(max(file.tell(), path.stat().st_size - SIGN_BYTES))
        return found is not None or SIGN.search(b"\n" + file.read()) is not None
    return False


def _key(path: str | Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a word that is no path
        return None
    return status.st_dev, status.st_ino


@contextmanager
def locked(folder: str | Path | None) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it is missing. None, for a run that writes nothing, holds nothing.

    What a killed run left half written in it is removed. Folders that were made for it and are empty at the end are
    removed again. Raises InputError where another run holds the lock, or `folder` is a file, and what `hold` raises.
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
            for part in path.glob(f".*{PART}"):
                with suppress(InputError, OSError), _beside(path / part.name[1 : -len(PART)]):
                    pass  # which removes what a killed run left
            yield
    finally:
        with suppress(OSError):
            for parent in made:  # the innermost first; one that holds something stays
                parent.rmdir()


@contextmanager
def hold(lock: Path, place: Path | None = None, wait: float = 0) -> Iterator[None]:
    """Hold the lock file `lock`. A file beside it says who does: process, host and since when.

    `place` is what errors name, by default the folder of the lock; another run is waited for `wait` seconds.

    The operating system releases the lock when the process dies, and both files are removed when the block ends.
    The holder is written beside the lock because Windows lets nobody read a locked file. Raises InputError where
    another run holds it or it is a link, and OSError for a folder without rights, or a file system without locks.
    """
    from filelock import FileLock, Timeout

    holder = lock.with_name(lock.name + HOLDER)
    if lock.is_symlink():
        raise InputError(f"{lock}: is a link, which is not followed: remove it")
    try:
        with named(lock):
            held = FileLock(lock).acquire(timeout=wait)
    except Timeout:
        who = ""
        with suppress(OSError, ValueError):
            who = holder.read_text(encoding="utf-8").strip()
        other = f"another run is writing there ({who or 'unknown'})"
        raise InputError(f"{place or lock.parent}: {other}: wait for it, or name another folder") from None
    with held:
        try:
            since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
            _remove(holder)  # which may be a link
            with suppress(OSError):  # a full disk leaves the holder unnamed, and is reported by what is written next
                holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}\n", encoding="utf-8")
            yield
        finally:
            _remove(holder)
            _remove(lock)  # while it is held: filelock sees that a file was removed before it got the lock
    if WINDOWS:  # which removes no open file, and none that another run has opened since
        _remove(lock)


@contextmanager
def atomic_file(path: str | Path, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary path; on success it replaces `path`, on any exception it is removed.

    The temporary file has the name of `path`, in a hidden folder beside it. A link at `path` is replaced and not
    followed. In a command, raises InputError for what `check_outputs` refuses, unless `replace` says that any file may
    be replaced; and always for a device or a pipe: the superuser would replace /dev/null by a file.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: is a device or a pipe, which a file would replace: name a file")
    if GUARD and not replace:
        check_outputs(path)
    with _beside(path, MAX_WAIT_S) as temporary, named(path):
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        LOG.debug("wrote %s", path)
        _sync(path.parent)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder; on success it becomes `path`, on any exception it is removed.

    Raises InputError if `path` exists and is not an empty folder, or another run is writing it.
    """
    path = Path(path)
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise InputError(f"{path} exists already: name another folder or remove it")
    with _beside(path) as temporary:
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        _sync(temporary)
        if WINDOWS and path.exists():
            path.rmdir()  # Windows replaces no folder, not even an empty one
        temporary.replace(path)
        LOG.debug("wrote %s", path)
        _sync(path.parent)


@contextmanager
def _beside(path: Path, wait: float = 0) -> Iterator[Path]:
    """Yield a free path of the same name in a hidden folder beside `path`, which no other writer holds meanwhile.

    What a killed run left in the folder is removed before, and all of it after. Raises InputError where another run
    writes `path` for `wait` seconds, or the folder is a link.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = os.fsencode(path.name)
    folder = path.with_name(f".{path.name if len(name) < MAX_NAME_BYTES else f'{zlib.crc32(name):08x}'}{PART}")
    if folder.is_symlink():
        raise InputError(f"{folder}: is a link, which is not followed: remove it")
    with ExitStack() as stack:
        stack.callback(lambda: _remove(folder))
        try:
            while True:
                folder.mkdir(exist_ok=True)
                with suppress(FileNotFoundError):  # where the one before removes the folder meanwhile
                    stack.enter_context(hold(folder / LOCK, path, wait))
                    break
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise
            _remove(folder / LOCK)
            _remove(folder)
            folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:50]}-", suffix=PART, dir=path.parent))
        try:
            _empty(folder, path.name)
            yield folder / path.name
        finally:
            _empty(folder, path.name)


def _empty(folder: Path, name: str) -> None:
    """Remove what a writer of `name` makes in a folder, such as a database and its journal."""
    for path in folder.iterdir():
        if path.name.startswith(name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                _remove(path)


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
    damaged, or holds more than plain values and tensors, or tensors of more numbers than the file has.
    """
    import torch

    check_stored(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and is_utf8(path))
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # bytes that are no torch file raise anything, IndexError and OSError among them
        said, held = reason(error), re.search(r"GLOBAL (\S+)", str(error))
        if held:
            said = f"it holds {held[1]}: save the state dict alone"
        elif "weights_only" in said:  # torch's advice to load it all the same, which may run what the file holds
            said = "it is a TorchScript archive" if "TorchScript" in said else "it is no pickle of plain values"
        raise InputError(f"{path}: damaged, or not a torch file of plain tensors ({said})") from None
    check_tensors(content, path)
    return content


def open_no_link(path: str, flags: int) -> int:
    """An `opener` for `open` that follows no link. Raises InputError for one."""
    try:
        return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path}: is a link, which is not followed: remove it") from None
        raise


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
    """Remove a file or an empty folder if that can be done."""
    with suppress(OSError):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _sync(path: Path) -> None:
    """Have the system write a file or folder to the disk; Windows opens no folder, and syncs what may be written."""
    if WINDOWS and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
