"""One run at a time on a folder."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tiepoint.errors import InputError
from tiepoint.files import named

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
