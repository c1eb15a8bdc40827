"""`tiepoint data fetch`: a published data set, fetched, checked and unpacked."""

from __future__ import annotations

import json as json_lib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from tiepoint.cli.output import emit_table, progress_bar

if TYPE_CHECKING:
    from tiepoint.data.obtain import Obtained

MEGABYTE = 10**6


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

    A download that was interrupted goes on where it was. Proxies are those of http_proxy and https_proxy.

    Args:
        name: of the data set; --list shows them
        out: folder for the archive and the unpacked folder
        keep_archive: leave the archive beside the unpacked folder
        timeout: seconds that a server may be silent
        list: show the data sets that are known, and fetch nothing
        json: print one JSON object
    """
    from tiepoint.data.obtain import obtain
    from tiepoint.data.sources import SOURCES, find
    from tiepoint.errors import InputError

    if list:
        return _list(json)
    if not name:
        raise InputError(f"name a data set: {', '.join(SOURCES)}")
    source = find(name)
    with progress_bar(f"{source.file} (MB)", quiet=json) as advance:
        obtained = obtain(
            source,
            out,
            keep_archive=keep_archive,
            timeout=timeout,
            progress=lambda done, total: advance(done // MEGABYTE, (total or done) // MEGABYTE),
        )
    then = source.then.format(folder=obtained.folder)
    if json:
        print(json_lib.dumps({"name": name, **_facts(obtained), "next": then}))
    else:
        _say(obtained, then)
    return 0


def _facts(obtained: Obtained) -> dict[str, object]:
    return {
        "directory": str(obtained.folder),
        "files": obtained.contents.files,
        "bytes": obtained.contents.bytes,
        "fetched": obtained.fresh,
        "archive": str(obtained.archive) if obtained.archive else None,
        "url": obtained.record.url,
        "hashes": obtained.record.hashes,
        "checked": obtained.record.checked,
    }


def _say(obtained: Obtained, then: str) -> None:
    record, inside = obtained.record, obtained.contents
    state = "unpacked" if obtained.fresh else "complete already, nothing to do"
    print(f"{obtained.folder}: {state}, {inside.files:,} files, {inside.bytes:,} bytes")
    print(f"From {record.url or 'an archive that was put there'}, {', '.join(record.hashes)}")
    if record.checked:
        print("The archive is the published one.")
    else:
        print(f"The archive could not be checked: no hash of it is published. Recorded in {obtained.record_path}")
    print(f"Next: {then}")


def _list(json: bool) -> int:
    from tiepoint.data.sources import SOURCES

    if json:
        sets = [
            {
                "name": source.name,
                "about": source.about,
                "file": source.file,
                "about_bytes": source.size,
                "urls": [mirror.url for mirror in source.mirrors],
                "hashes": source.hashes,
            }
            for source in SOURCES.values()
        ]
        print(json_lib.dumps({"data_sets": sets}))
        return 0
    rows = [
        (
            source.name,
            source.about + (f", {source.size / 1e9:.1f} GB" if source.size else ""),
            ", ".join(mirror.url for mirror in source.mirrors) or "by hand: no mirror is known",
        )
        for source in SOURCES.values()
    ]
    emit_table("Data sets", ("name", "what", "from"), rows)
    return 0
