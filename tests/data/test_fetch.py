from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from flaky_server import FlakyServer, content, status
from tiny_set import DATA, OTHER, md5, names, source, zipped

import tiepoint
from tiepoint.data.fetch import Record, fetch, record_path
from tiepoint.errors import InputError

pytestmark = pytest.mark.usefixtures("offline")


def test_a_whole_file(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA))
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        assert not (tmp_path / "new" / "tiny.zip").exists()
        seen.append((done, total))

    path = fetch(source(url), tmp_path / "new", progress=progress)
    assert path == tmp_path / "new" / "tiny.zip"
    assert path.read_bytes() == DATA
    assert names(path.parent) == ["tiny.zip", "tiny.zip.json"]
    assert seen[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert server.asked("Range") == [None]
    assert server.asked("User-Agent") == [f"tiepoint/{tiepoint.__version__}"]
    sha256 = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    assert Record.read(path) == Record(url, len(DATA), [md5(DATA), sha256], checked=True)


def test_what_is_there_and_right_is_left_alone(server: FlakyServer, tmp_path: Path) -> None:
    wanted = source(server.at("/tiny.zip", content(DATA)))
    path = fetch(wanted, tmp_path)
    before = [(file.name, file.stat().st_mtime_ns) for file in tmp_path.iterdir()]
    assert fetch(wanted, tmp_path) == path
    assert [(file.name, file.stat().st_mtime_ns) for file in tmp_path.iterdir()] == before
    assert len(server.requests) == 1


def test_what_somebody_put_there_is_used(tmp_path: Path) -> None:
    (tmp_path / "tiny.zip").write_bytes(DATA)
    path = fetch(source(), tmp_path)
    assert Record.read(path).url is None
    assert Record.read(path).checked


def test_a_splice_is_found_out_and_the_next_call_starts_again(server: FlakyServer, tmp_path: Path) -> None:
    old = DATA[:500] + b"\0" * (len(DATA) - 500)
    url = server.at("/tiny.zip", content(old, tag=None, upto=10_000), content(DATA, tag=None))
    with pytest.raises(InputError, match="what it sends has md5:"):
        fetch(source(url), tmp_path)
    assert names(tmp_path) == ["tiny.zip.corrupt"]
    assert fetch(source(url), tmp_path).read_bytes() == DATA


def test_corrupt_bytes_are_set_aside_and_the_next_mirror_is_asked(server: FlakyServer, tmp_path: Path) -> None:
    bad, good = server.at("/bad.zip", content(OTHER)), server.at("/good.zip", content(DATA))
    path = fetch(source(bad, good), tmp_path)
    assert path.read_bytes() == DATA
    assert (tmp_path / "tiny.zip.corrupt").read_bytes() == OTHER
    assert names(tmp_path) == ["tiny.zip", "tiny.zip.corrupt", "tiny.zip.json"]
    assert [path for path, _ in server.requests] == ["/bad.zip", "/good.zip"]
    assert Record.read(path).url == good


def test_a_part_from_another_mirror_is_not_gone_on_with(server: FlakyServer, tmp_path: Path) -> None:
    bad = server.at("/bad.zip", content(OTHER, upto=10_000), status(404))
    good = server.at("/good.zip", content(DATA))
    assert fetch(source(bad, good), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None, "bytes=10000-", None]


def test_no_mirror_answers(server: FlakyServer, tmp_path: Path) -> None:
    dead, bad = server.at("/dead.zip", status(404)), server.at("/bad.zip", content(OTHER))
    with pytest.raises(InputError) as caught:
        fetch(source(dead, bad), tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for words in (
        "tiny.zip cannot be fetched",
        f"{dead}: HTTP 404 Not Found",
        f"{bad}: what it sends has {md5(OTHER)}; it is now {tmp_path / 'tiny.zip.corrupt'}",
        f"put the file with {md5(DATA)} at {tmp_path / 'tiny.zip'} and run again",
    ):
        assert words in message
    assert names(tmp_path) == ["tiny.zip.corrupt"]


def test_nobody_serves_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"nobody is known to serve it\): put the file with {md5(DATA)} at"):
        fetch(source(), tmp_path)
    assert names(tmp_path) == []


def test_a_wrong_file_that_was_there_is_set_aside(server: FlakyServer, tmp_path: Path) -> None:
    (tmp_path / "tiny.zip").write_bytes(OTHER)
    with pytest.raises(InputError, match=rf"the file that was there has {md5(OTHER)}; it is now .*tiny\.zip\.corrupt"):
        fetch(source(), tmp_path)
    (tmp_path / "tiny.zip").write_bytes(OTHER)
    url = server.at("/tiny.zip", content(DATA))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert (tmp_path / "tiny.zip.corrupt").read_bytes() == OTHER


@pytest.mark.parametrize(("hashes", "repacked"), [((), False), ((md5(OTHER),), True)])
def test_without_a_published_hash_it_is_recorded(
    server: FlakyServer, tmp_path: Path, hashes: tuple[str, ...], repacked: bool
) -> None:
    url = server.at("/tiny.zip", content(DATA))
    wanted = source(url, hashes=hashes, repacked=repacked)
    path = fetch(wanted, tmp_path)
    assert Record.read(path).hashes[0] == md5(DATA)
    assert not Record.read(path).checked
    fetch(wanted, tmp_path)
    assert len(server.requests) == 1
    path.write_bytes(zipped(10))  # a whole zip, but not the one
    assert fetch(wanted, tmp_path).read_bytes() == DATA
    assert (tmp_path / "tiny.zip.corrupt").read_bytes() == zipped(10)


def test_a_repacked_mirror_may_send_the_original(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA))
    assert Record.read(fetch(source(url, repacked=True), tmp_path)).checked


@pytest.mark.parametrize("page", [b"<html>This domain is for sale</html>", b"", DATA[:-200]])
def test_without_a_published_hash_it_is_an_archive_at_least(server: FlakyServer, tmp_path: Path, page: bytes) -> None:
    url = server.at("/tiny.zip", content(page))
    with pytest.raises(InputError, match=r"what it sends is no whole zip or tar.*: put the file at"):
        fetch(source(url, hashes=()), tmp_path)
    assert not (tmp_path / "tiny.zip").exists()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "tiny.zip").write_bytes(DATA)
    record_path(tmp_path / "tiny.zip").write_text("{")
    with pytest.raises(InputError, match=r"tiny\.zip\.json is missing or damaged"):
        fetch(source(), tmp_path)
