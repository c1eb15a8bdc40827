"""Unpacking of archives that nobody vouches for: nothing lands outside the folder, nothing is larger than stated."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tiepoint.data.member_names import MemberNames
from tiepoint.data.members import Member, members, stated_total
from tiepoint.data.partial import named
from tiepoint.errors import InputError
from tiepoint.files import atomic_directory

RATIO = 200  # images and tables shrink to a hundredth at most; an archive that holds more than that is a bomb ...
FLOOR = 1 << 30  # ... unless it is small all the same


@dataclass(frozen=True)
class Contents:
    """What a folder holds: the number of its files, at every depth, and their bytes."""

    files: int
    bytes: int


def unpack(archive: str | Path, directory: str | Path, progress: Callable[[int, int], None] | None = None) -> Contents:
    """Unpack a zip or a tar (plain, gzip, bzip2, xz) into a folder that appears when it is whole.

    Refused, on every platform: names that `member_names.split` refuses, two members with one name, links, devices,
    encrypted members, members whose bytes are not as many as stated, and archives that unpack to more than the disk's
    free space or than 200 times their own size (from 1 GiB on). Permissions and dates are not taken over.

    Args:
        archive: the file. What it is, its content says.
        directory: must not exist, or be empty.
        progress: called with (bytes done, bytes in all, or 0 for a tar, which has to be read to know).

    Raises:
        InputError: names the archive, and the member at fault; or `directory` holds something.
        OSError: a file cannot be written.
    """
    archive = Path(archive)
    with atomic_directory(directory) as folder, closing(members(archive)) as found:
        free = shutil.disk_usage(folder).free
        total = stated_total(archive)
        _check_room(archive, total, free)
        names = MemberNames()
        files = done = 0
        for member in found:
            try:
                target = folder.joinpath(*names.add(member.name, member.is_folder))
            except ValueError as error:
                raise InputError(
                    f"{archive}: member {member.name!r} {error}: unpack it by hand if you trust it"
                ) from None
            if member.is_folder:
                target.mkdir(parents=True, exist_ok=True)
                continue
            _check_room(archive, done + member.size, free)
            _write(member, target)
            files, done = files + 1, done + member.size
            if progress:
                progress(done, total)
        if not files:
            raise InputError(f"{archive}: holds no file: get the archive again")
    return Contents(files, done)


def contents(directory: Path) -> Contents:
    """Count what a folder holds. Links are not followed."""
    sizes = [os.lstat(os.path.join(root, name)).st_size for root, _, names in os.walk(directory) for name in names]
    return Contents(len(sizes), sum(sizes))


def _check_room(archive: Path, size: int, free: int) -> None:
    if size > free:
        raise InputError(f"{archive}: unpacks to {size:,} bytes, {free:,} are free: free space and run again")
    if size > max(FLOOR, RATIO * archive.stat().st_size):
        raise InputError(
            f"{archive}: unpacks to {size:,} bytes, more than {RATIO} times its size: unpack it by hand if you trust it"
        )


def _write(member: Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with named(target), target.open("xb") as file, closing(member.chunks()) as chunks:
        for data in chunks:
            file.write(data)
