"""`tiepoint data fetch`: a published data set, fetched, checked and unpacked."""

from __future__ import annotations

import json as json_lib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tiepoint.cli.output import emit_table, progress_bar

if TYPE_CHECKING:
    from tiepoint.data.fetching.fetch import Record
    from tiepoint.data.fetching.sources import Source

MEGABYTE = 10**6

EXAMPLES = {"--list": "List the data sets that can be fetched.", "liberty --out data": "Fetch one of them."}


def main(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = "",
    /,
    *,
    out: Path = Path("data"),
    keep_archive: bool = False,
    timeout: float = 30.0,
    list: bool = False,
    json: bool = False,
) -> int:
    """Fetch a published data set, check it, and unpack it to a folder of its name.

    A download that was interrupted goes on where it stopped. Proxies are those of http_proxy and https_proxy.

    Args:
        name: Name of the data set; --list shows the names.
        out: Folder for the archive and the unpacked folder.
        keep_archive: Leave the archive beside the unpacked folder.
        timeout: Seconds for which a server may be silent.
        list: List the data sets that are known, and fetch nothing.
    """
    from tiepoint.data.fetching.fetch import RECORD, fetch
    from tiepoint.data.fetching.sources import SOURCES, find
    from tiepoint.errors import InputError

    if list:
        return _list(json)
    if not name:
        raise InputError(f"name a data set: {', '.join(SOURCES)}")
    source = find(name)
    was_there = (out / name / RECORD).is_file()
    with progress_bar(f"{source.file} (MB)") as advance:
        record = fetch(
            source,
            out,
            keep_archive=keep_archive,
            timeout=timeout,
            progress=lambda done, total: advance(done // MEGABYTE, (total or done) // MEGABYTE),
        )
    facts = _facts(source, out, record, fetched=not was_there)
    if json:
        print(json_lib.dumps(facts))
    else:
        _say(facts)
    return 0


def _facts(source: Source, out: Path, record: Record, fetched: bool) -> dict[str, Any]:
    folder, archive = out / source.name, out / source.file
    return {
        "name": source.name,
        "directory": str(folder),
        "files": record.files,
        "bytes": record.bytes,
        "fetched": fetched,
        "archive": str(archive) if archive.exists() else None,
        "url": record.url,
        "md5": record.md5,
        "sha256": record.sha256,
        "checked": record.checked,
        "next": source.then.format(folder=folder),
    }


def _say(facts: dict[str, Any]) -> None:
    state = "unpacked" if facts["fetched"] else "complete already, nothing to do"
    print(f"{facts['directory']}: {state}, {facts['files']:,} files, {facts['bytes']:,} bytes")
    print(f"From {facts['url'] or 'an archive that was put there'}, MD5 {facts['md5']}, SHA-256 {facts['sha256']}")
    if facts["checked"]:
        print("The archive is the published one.")
    else:
        print("The archive could not be compared with a published hash; its own check sums hold.")
    print(f"Next: {facts['next']}")


def _list(json: bool) -> int:
    from tiepoint.data.fetching.sources import SOURCES

    if json:
        sets = [
            {
                "name": source.name,
                "about": source.about,
                "file": source.file,
                "about_bytes": source.size,
                "urls": source.mirrors,
                "md5": source.md5,
            }
            for source in SOURCES.values()
        ]
        print(json_lib.dumps({"data_sets": sets}))
        return 0
    rows = [
        (
            source.name,
            source.about + (f", {source.size / 1e9:.1f} GB" if source.size else ""),
            ", ".join(source.mirrors) or "by hand: no mirror is known",
        )
        for source in SOURCES.values()
    ]
    emit_table("Data sets", ("name", "what", "from"), rows, words=3)
    return 0
