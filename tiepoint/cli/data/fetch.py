"""`tiepoint data fetch`: a published data set, fetched, checked and unpacked."""

from pathlib import Path
from typing import Annotated

import tyro

from tiepoint.cli.output import progress_bar, publish

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
) -> None:
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
        _list(json)
        return
    if not name:
        raise InputError(f"name a data set: {', '.join(SOURCES)}")
    source = find(name)
    folder = out / source.name
    was_there = (folder / RECORD).is_file()
    with progress_bar(f"{source.file} (MB)") as advance:
        record = fetch(
            source,
            out,
            keep_archive=keep_archive,
            timeout=timeout,
            progress=lambda done, total: advance(done // MEGABYTE, (total or done) // MEGABYTE),
        )
    archive, then = out / source.file, source.then.format(folder=folder)
    facts = {
        "name": source.name, "directory": str(folder), "files": record.files, "bytes": record.bytes,
        "fetched": not was_there, "archive": str(archive) if archive.exists() else None, "url": record.url,
        "md5": record.md5, "sha256": record.sha256, "checked": record.checked, "next": then,
    }  # fmt: skip
    state = "complete already, nothing to do" if was_there else "unpacked"
    unproven = "The archive could not be compared with a published hash; its own check sums hold."
    lines = [
        f"{folder}: {state}, {record.files:,} files, {record.bytes:,} bytes",
        f"From {record.url or 'an archive that was put there'}, MD5 {record.md5}, SHA-256 {record.sha256}",
        "The archive is the published one." if record.checked else unproven,
        f"Next: {then}",
    ]
    publish(facts, json, [], lines)


def _list(json: bool) -> None:
    from tiepoint.data.fetching.sources import SOURCES

    sets = [
        {"name": s.name, "about": s.about, "file": s.file, "about_bytes": s.size, "urls": s.mirrors, "md5": s.md5}
        for s in SOURCES.values()
    ]
    rows = []
    for s in SOURCES.values():
        size = f", {s.size / 1e9:.1f} GB" if s.size else ""
        rows.append((s.name, s.about + size, ", ".join(s.mirrors) or "by hand: no mirror is known"))
    publish({"data_sets": sets}, json, [("Data sets", ("name", "what", "from"), rows, 3)])
