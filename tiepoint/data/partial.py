"""A file that is on its way: NAME.part beside NAME, with NAME.part.json that says where its bytes are from."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

from tiepoint.errors import InputError
from tiepoint.files import write_json


@dataclass(frozen=True)
class Origin:
    """Where a partial file's bytes are from.

    Attributes:
        url: the address that was asked.
        validator: its ETag or date, by which the server can tell that it still has the same file.
        total: bytes of the whole file.
    """

    url: str
    validator: str | None
    total: int | None


class Partial:
    """A partial file, open and locked. `claim` makes one."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self.file = file
        self._note = _note(path)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return os.fstat(self.file.fileno()).st_size

    def origin(self) -> Origin | None:
        """Where the bytes are from; None if there are none, or if nothing readable says so."""
        try:
            return Origin(**json.loads(self._note.read_text(encoding="utf-8"))) if self.size else None
        except (FileNotFoundError, ValueError, TypeError):
            return None  # bytes of unknown origin are fetched again

    def restart(self, origin: Origin | None = None) -> None:
        """Throw the bytes away, and note where the next ones will be from."""
        self.file.truncate(0)  # first, so that the note is never about older bytes
        if origin:
            write_json(self._note, asdict(origin))

    def append(self, data: bytes) -> None:
        """Add bytes. Raises OSError that names the file, such as on a full disk; the bytes so far stay."""
        with named(self.path):
            while data:
                data = data[self.file.write(data) :]

    def check_room(self, size: int) -> None:
        """Raise OSError (disk full) if so many more bytes do not fit."""
        if size > shutil.disk_usage(self.path.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def become(self, target: Path) -> None:
        """Give the file its name; what was there is replaced."""
        with named(self.path):
            os.fsync(self.file.fileno())
        self.path.replace(target)
        self._note.unlink(missing_ok=True)


@contextmanager
def claim(target: Path) -> Iterator[Partial]:
    """Open and lock `target`'s partial file, with what an earlier run left in it. An empty one is removed at the end.

    Raises InputError if another process holds it.
    """
    path = target.with_name(target.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a buffer, a full disk is met where bytes are added and not a second time when the file is closed.
    with path.open("a+b", buffering=0) as file:
        try:
            with named(path):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = _is_at(file, path)  # the one who had it may have renamed it meanwhile
        except BlockingIOError:
            ours = False
        if not ours:
            raise InputError(f"{path} is being written by another process: wait until that is done, and run again")
        try:
            yield Partial(path, file)
        finally:
            if _is_at(file, path) and not path.stat().st_size:
                path.unlink()
                _note(path).unlink(missing_ok=True)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let the system's errors that name no file name this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _is_at(file: FileIO, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
