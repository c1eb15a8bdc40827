"""Fetching of published archives: mirrors in turn, hashes, and a record of what came."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tiepoint.data.download import MirrorError, Progress, download
from tiepoint.data.members import is_archive
from tiepoint.data.partial import claim
from tiepoint.data.sources import Mirror, Source
from tiepoint.data.unpack import Contents
from tiepoint.errors import InputError
from tiepoint.files import write_json

CHUNK = 1 << 20
LONGEST = 3600  # seconds


@dataclass(frozen=True)
class Record:
    """What is known of an archive. It lies beside it as NAME.json and stays when the archive is removed.

    Attributes:
        url: where it was fetched; None if somebody put it there.
        size: bytes.
        hashes: "md5:..." and "sha256:...".
        checked: whether one of them is published for this data set.
        contents: what it unpacked to; None if it was not unpacked yet.
    """

    url: str | None
    size: int
    hashes: list[str]
    checked: bool
    contents: Contents | None = None

    @classmethod
    def read(cls, archive: Path) -> Record:
        """The record of an archive. Raises InputError if it is missing or damaged."""
        path = record_path(archive)
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            inside = fields.pop("contents")
            return cls(**fields, contents=Contents(**inside) if inside else None)
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            raise InputError(f"{path} is missing or damaged: remove it and run again") from None

    def write(self, archive: Path) -> None:
        """Write it beside the archive."""
        write_json(record_path(archive), asdict(self))


def record_path(archive: Path) -> Path:
    """Where the record of an archive is."""
    return archive.with_name(archive.name + ".json")


def fetch(source: Source, directory: str | Path, *, timeout: float = 30.0, progress: Progress | None = None) -> Path:
    """Fetch a data set's archive, unless it is there and right, and return its path.

    While it is on its way it is called NAME.part, which the next call goes on with. An archive that is not the
    published one is set aside as NAME.corrupt. Where no hash is published, it has to look like a whole zip or tar, and
    a later call compares it with the hashes that were recorded. `Record.read` tells what it was.

    Args:
        source: what to fetch.
        directory: where to; made if need be.
        timeout: seconds that a server may be silent.
        progress: called with (bytes done, bytes in all, or 0 if the server does not say).

    Raises:
        InputError: no mirror gave it; says which file to put where, and what came of each mirror. Or another process
            is fetching it, or `timeout` is no time to wait.
        OSError: it cannot be written.
    """
    if not 0 < timeout <= LONGEST:
        raise InputError(f"timeout is {timeout} s, must be above 0 and at most {LONGEST}")
    target = Path(directory) / source.file
    failures = []
    if target.exists():
        fault = _check_present(source, target)
        if fault is None:
            return target
        failures.append(f"the file that was there {fault}; it is now {target.replace(_aside(target))}")
    for mirror in source.mirrors:
        try:
            _fetch_from(mirror, source, target, timeout, progress)
        except MirrorError as error:
            failures.append(f"{mirror.url}: {error}")
        else:
            return target
    if not source.mirrors:
        failures.append("nobody is known to serve it")
    wanted = f"with {' or '.join(source.hashes)} " if source.hashes else ""
    raise InputError(
        f"{source.file} cannot be fetched ({'; '.join(failures)}): put the file {wanted}at {target} and run again"
    )


def _fetch_from(mirror: Mirror, source: Source, target: Path, timeout: float, progress: Progress | None) -> None:
    with claim(target) as partial:
        download(mirror.url, partial, timeout=timeout, progress=progress)
        record = _examine(partial.path, source, mirror.url)
        fault = _fault(partial.path, record, source, must_fit=bool(source.hashes) and not mirror.repacked)
        if fault:
            aside = _aside(target)
            partial.become(aside)
            raise MirrorError(f"what it sends {fault}; it is now {aside}")
        record.write(target)
        partial.become(target)


def _check_present(source: Source, target: Path) -> str | None:
    """What is wrong with the archive that is there; None if nothing, and then it has a record."""
    old = Record.read(target) if record_path(target).exists() else None
    new = _examine(target, source, url=None)
    same = old is not None and old.hashes == new.hashes
    fault = _fault(target, new, source, must_fit=source.checkable)
    if fault is None and old and not same and not new.checked:
        fault = f"is not the one that {record_path(target)} tells of"
    if fault is None and not same:
        new.write(target)
    return fault


def _examine(path: Path, source: Source, url: str | None) -> Record:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            md5.update(data)
            sha256.update(data)
    hashes = [f"md5:{md5.hexdigest()}", f"sha256:{sha256.hexdigest()}"]
    return Record(url, path.stat().st_size, hashes, checked=not set(hashes).isdisjoint(source.hashes))


def _fault(path: Path, record: Record, source: Source, must_fit: bool) -> str | None:
    """What is wrong with an archive, in words that follow its name."""
    if record.checked:
        return None
    if must_fit:
        kinds = tuple({known.partition(":")[0] for known in source.hashes})
        return f"has {' and '.join(found for found in record.hashes if found.startswith(kinds))}"
    return None if is_archive(path) else "is no whole zip or tar"


def _aside(target: Path) -> Path:
    return target.with_name(target.name + ".corrupt")
