"""A published data set as a folder: fetched, unpacked, and left alone when it is there already."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tiepoint.data.download import Progress
from tiepoint.data.fetch import Record, fetch, record_path
from tiepoint.data.sources import Source
from tiepoint.data.unpack import Contents, contents, unpack
from tiepoint.errors import InputError


@dataclass(frozen=True)
class Obtained:
    """A data set that is there.

    Attributes:
        folder: where it is unpacked.
        archive: the archive; None if it was removed.
        record: what is known of the archive.
        record_path: where that is written.
        contents: what the folder holds.
        fresh: whether this call made the folder.
    """

    folder: Path
    archive: Path | None
    record: Record
    record_path: Path
    contents: Contents
    fresh: bool


def obtain(
    source: Source,
    directory: str | Path,
    *,
    keep_archive: bool = False,
    timeout: float = 30.0,
    progress: Progress | None = None,
) -> Obtained:
    """Fetch a data set's archive and unpack it to directory/NAME, unless that was done before.

    Args:
        source: what to fetch.
        directory: where to; made if need be.
        keep_archive: leave the archive where it is. One that somebody else put there is never removed.
        timeout: seconds that a server may be silent.
        progress: called with (bytes done, bytes in all, or 0 if unknown), of the archive and then of the folder.

    Raises:
        InputError: no mirror gave the archive, it is damaged or unsafe, or the folder is there but is not what was
            unpacked.
        OSError: something cannot be written.
    """
    folder, archive = Path(directory) / source.name, Path(directory) / source.file
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        return _present(folder, archive)
    fetch(source, directory, timeout=timeout, progress=progress)
    inside = unpack(archive, folder, progress)
    record = replace(Record.read(archive), contents=inside)
    record.write(archive)
    kept = keep_archive or record.url is None
    if not kept:
        archive.unlink()
    return Obtained(folder, archive if kept else None, record, record_path(archive), inside, fresh=True)


def _present(folder: Path, archive: Path) -> Obtained:
    path = record_path(archive)
    record = Record.read(archive) if path.exists() else None
    if record is None or record.contents is None or record.contents != contents(folder):
        raise InputError(
            f"{folder} is there, but {path} does not say that it was unpacked like this: "
            "remove it, or name another folder with --out"
        )
    return Obtained(folder, archive if archive.exists() else None, record, path, record.contents, fresh=False)
