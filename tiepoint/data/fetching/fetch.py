"""Published data sets as folders: fetched from the first mirror that gives the right archive, checked and unpacked."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tiepoint.data.fetching.download import MirrorError, discard, download
from tiepoint.data.fetching.sources import Source
from tiepoint.data.fetching.unpack import ArchiveError, unpack
from tiepoint.errors import InputError
from tiepoint.files import atomic_directory, hold, write_json
from tiepoint.parsed import Count, conform, read_json
from tiepoint.types import Progress

RECORD = "tiepoint-fetch.json"  # lies in the folder, which appears with it when it is whole
CHUNK_BYTES = 1 << 20
MAX_TIMEOUT_S = 3600  # seconds


@dataclass(frozen=True)
class Record:
    """What a folder was unpacked from: hashes of the archive, number of files and their bytes."""

    url: str | None  # where the archive was fetched; None if it was put there by hand
    md5: str
    sha256: str
    checked: bool  # whether the MD5 is the published one
    files: Count
    bytes: Count


def fetch(
    source: Source,
    directory: str | Path,
    *,
    keep_archive: bool = False,
    timeout: float = 30.0,
    progress: Progress | None = None,
) -> Record:
    """Fetch a data set's archive and unpack it to directory/NAME, unless that was done before.

    An archive that lies in `directory` already, under its published name, is used and left there. While one is on its
    way it is called FILE.part, which the next call goes on with. Its hash is compared where one is published and the
    mirror has the published archive; what is inside is checked by the zip's own check sums in any case.

    The directory is made if need be, and a fetched archive stays in it with `keep_archive`. A server may be silent for
    `timeout` seconds. `progress` is called with (bytes done, bytes in all, or 0 if unknown), of the archive and then of
    the folder.

    Raises InputError where no mirror gave the archive: says which file to put where, and what came of each mirror; or
    where the archive that is there is wrong, the folder was made by something else, another process fetches the same,
    or `timeout` is out of range. Raises OSError where something cannot be written, as on a full disk.
    """
    if not 0 < timeout <= MAX_TIMEOUT_S:
        raise InputError(f"timeout is {timeout} s, must be above 0 and at most {MAX_TIMEOUT_S}")
    folder, archive = Path(directory) / source.name, Path(directory) / source.file
    part = archive.with_name(archive.name + ".part")
    if record := _read_record(folder):  # before the lock, since data are often where one may only read
        return record
    Path(directory).mkdir(parents=True, exist_ok=True)
    with hold(archive.with_name(f".{archive.name}.lock")):
        if record := _read_record(folder):
            return record
        if archive.exists():
            try:
                return _unpack(source, archive, folder, None, progress)
            except ArchiveError as error:
                raise InputError(f"{archive} {error}: remove it and run again") from None
        record = _from_mirrors(source, archive, part, folder, timeout, progress)
        if keep_archive:
            part.replace(archive)
        discard(part)
        return record


def _from_mirrors(
    source: Source, archive: Path, part: Path, folder: Path, timeout: float, progress: Progress | None
) -> Record:
    """Unpack what the first mirror sends that is right; it stays in `part`."""
    failures = []
    for url in source.mirrors:
        try:
            download(url, part, timeout=timeout, most=source.most, progress=progress)
            return _unpack(source, part, folder, url, progress)
        except MirrorError as error:
            failures.append(f"{url}: {error}")
        except ArchiveError as error:
            discard(part)
            failures.append(f"{url}: what it sends {error}")
    reasons = "; ".join(failures) or "no mirror is known"
    wanted = f"with MD5 {source.md5} " if source.md5 else ""
    raise InputError(f"{source.file} cannot be fetched ({reasons}): put the file {wanted}at {archive} and run again")


def _unpack(source: Source, archive: Path, folder: Path, url: str | None, progress: Progress | None) -> Record:
    """Check an archive and unpack it. Raises ArchiveError."""
    md5, sha256 = _hashes(archive)
    if source.md5 not in (md5, None) and not source.repacked:
        raise ArchiveError(f"has MD5 {md5}, not {source.md5}")
    with atomic_directory(folder) as temporary:
        files, size = unpack(archive, temporary, progress)
        record = Record(url, md5, sha256, md5 == source.md5, files, size)
        write_json(temporary / RECORD, asdict(record))
    return record


def _hashes(path: Path) -> tuple[str, str]:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            md5.update(data)
            sha256.update(data)
    return md5.hexdigest(), sha256.hexdigest()


def _read_record(folder: Path) -> Record | None:
    """What a folder was unpacked from; None if it is empty or not there."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        record = Record(**read_json(folder / RECORD, dict[str, Any], "fetch it again"))
        return conform(record, Record, folder / RECORD)
    except (InputError, TypeError):
        remedy = "use it as it is, remove it, or name another folder with --out"
        raise InputError(f"{folder} is there, but was not made by this command (no {RECORD}): {remedy}") from None
