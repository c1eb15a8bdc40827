"""One run at a time on a folder."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiepoint.errors import InputError

NAME = ".lock"
HELD = (errno.EACCES, errno.EAGAIN)


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made if missing.

    The system frees the lock when its process ends, however it ends, so that a dead run's lock is none. The file
    `.lock`, which names the last holder, stays: to remove it would let two others hold a lock each.

    Raises:
        InputError: another run holds it, or `folder` is no folder.
        OSError: a folder without rights, a full disk, a file system without locks.
    """
    import fcntl

    path = Path(folder) / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: is a file, or lies below one: name a folder") from None
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in HELD:
                error.filename = str(path)
                raise
            holder = os.read(handle, 200).decode(errors="replace").strip() or "unknown"
            raise InputError(
                f"{folder}: another run is writing there ({holder}): wait for it, or name another folder"
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        os.close(handle)  # which frees the lock
