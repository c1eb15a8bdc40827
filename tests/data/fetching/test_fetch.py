from __future__ import annotations

import hashlib
import random
from pathlib import Path

import cv2
import pytest
from flaky_server import FlakyServer, content, status
from synthetic import smooth_texture
from tiny_set import DATA, OTHER, md5, names, source, tree, zipped

import tiepoint
from tiepoint.data.fetching.fetch import RECORD, Record, fetch
from tiepoint.data.readers.phototour import build_phototour
from tiepoint.errors import InputError
from tiepoint.files import hold

pytestmark = pytest.mark.usefixtures("offline")


def test_a_data_set_is_unpacked_and_left_alone_the_second_time(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA))
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        assert not (tmp_path / "new" / "tiny").exists()
        seen.append((done, total))

    record = fetch(source(url), tmp_path / "new", progress=progress)
    assert record == Record(url, md5(DATA), hashlib.sha256(DATA).hexdigest(), checked=True, files=2, bytes=50_000)
    assert names(tmp_path / "new") == ["tiny"]
    files = tree(tmp_path / "new" / "tiny")
    assert sorted(files) == ["strip/0.bin", "strip/1.bin", RECORD]
    assert files["strip/0.bin"] == random.Random(30_000).randbytes(30_000)
    assert (len(DATA), len(DATA)) in seen
    assert seen[-1] == (50_000, 50_000)
    assert server.asked("Range") == [None]
    assert server.asked("User-Agent") == [f"tiepoint/{tiepoint.__version__}"]
    assert fetch(source(url), tmp_path / "new") == record
    assert len(server.requests) == 1
    assert names(tmp_path / "new") == ["tiny"]


def test_an_archive_stays_if_asked_or_if_it_is_somebody_elses(server: FlakyServer, tmp_path: Path) -> None:
    wanted = source(server.at("/tiny.zip", content(DATA)))
    fetch(wanted, tmp_path / "a", keep_archive=True)
    assert names(tmp_path / "a") == ["tiny", "tiny.zip"]
    assert (tmp_path / "a" / "tiny.zip").read_bytes() == DATA
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "tiny.zip").write_bytes(DATA)
    record = fetch(wanted, tmp_path / "b")
    assert (record.url, record.checked) == (None, True)
    assert names(tmp_path / "b") == ["tiny", "tiny.zip"]
    assert len(server.requests) == 1


def test_a_wrong_archive_that_was_there_is_named_and_stays(server: FlakyServer, tmp_path: Path) -> None:
    (tmp_path / "tiny.zip").write_bytes(OTHER)
    with pytest.raises(InputError, match=rf"tiny\.zip has MD5 {md5(OTHER)}, not {md5(DATA)}: remove it and run again"):
        fetch(source(server.at("/tiny.zip", content(DATA))), tmp_path)
    assert names(tmp_path) == ["tiny.zip"]
    assert server.requests == []


def test_a_wrong_archive_is_thrown_away_and_the_next_mirror_is_asked(server: FlakyServer, tmp_path: Path) -> None:
    bad, good = server.at("/bad.zip", content(OTHER)), server.at("/good.zip", content(DATA))
    assert fetch(source(bad, good), tmp_path).url == good
    assert names(tmp_path) == ["tiny"]
    assert [path for path, _ in server.requests] == ["/bad.zip", "/good.zip"]


def test_a_damaged_archive_without_a_published_hash_is_found_by_its_check_sums(
    server: FlakyServer, tmp_path: Path
) -> None:
    broken = bytearray(DATA)
    broken[1000] ^= 1
    bad, good = server.at("/bad.zip", content(bytes(broken))), server.at("/good.zip", content(DATA))
    with pytest.raises(InputError, match=r"bad\.zip: what it sends is damaged at 'strip/0\.bin'.*: put the file at"):
        fetch(source(bad, md5=None), tmp_path)
    assert names(tmp_path) == []
    assert fetch(source(bad, good, md5=None), tmp_path).url == good


def test_a_part_from_another_mirror_is_not_gone_on_with(server: FlakyServer, tmp_path: Path) -> None:
    bad = server.at("/bad.zip", content(OTHER, upto=10_000), status(404))
    good = server.at("/good.zip", content(DATA))
    assert fetch(source(bad, good), tmp_path).checked
    assert server.asked("Range") == [None, "bytes=10000-", None]


def test_no_mirror_answers(server: FlakyServer, tmp_path: Path) -> None:
    dead, bad = server.at("/dead.zip", status(404)), server.at("/bad.zip", content(OTHER))
    with pytest.raises(InputError) as caught:
        fetch(source(dead, bad), tmp_path)
    assert str(caught.value) == (
        f"tiny.zip cannot be fetched ({dead}: HTTP 404 Not Found; "
        f"{bad}: what it sends has MD5 {md5(OTHER)}, not {md5(DATA)}): "
        f"put the file with MD5 {md5(DATA)} at {tmp_path / 'tiny.zip'} and run again"
    )
    assert names(tmp_path) == []


def test_nobody_serves_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"no mirror is known\): put the file with MD5 {md5(DATA)} at"):
        fetch(source(), tmp_path)


def test_a_repacked_mirror_may_send_another_archive(server: FlakyServer, tmp_path: Path) -> None:
    original, other = server.at("/a.zip", content(DATA)), server.at("/b.zip", content(OTHER))
    assert fetch(source(original, repacked=True), tmp_path / "a").checked
    record = fetch(source(other, repacked=True), tmp_path / "b")
    assert (record.checked, record.md5, record.bytes) == (False, md5(OTHER), 50_002)


@pytest.mark.parametrize("page", [b"<html>This domain is for sale</html>", b"", DATA[:-200]])
def test_what_is_no_archive_is_refused(server: FlakyServer, tmp_path: Path, page: bytes) -> None:
    with pytest.raises(InputError, match="what it sends is not a whole zip"):
        fetch(source(server.at("/tiny.zip", content(page)), md5=None), tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("record", [None, "{", "[]", '{"url": 3}'])
def test_a_folder_that_is_something_else_is_named_before_anything_is_fetched(
    server: FlakyServer, tmp_path: Path, record: str | None
) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "mine").write_text("1")
    if record:
        (tmp_path / "tiny" / RECORD).write_text(record)
    with pytest.raises(InputError, match=r"tiny is there, but was not made by this command"):
        fetch(source(server.at("/tiny.zip", content(DATA))), tmp_path)
    assert server.requests == []


def test_two_processes_do_not_fetch_the_same(server: FlakyServer, tmp_path: Path) -> None:
    wanted = source(server.at("/tiny.zip", content(DATA)))
    with hold(tmp_path / ".tiny.zip.lock"), pytest.raises(InputError, match="another run is writing there"):
        fetch(wanted, tmp_path)
    (tmp_path / ".tiny.zip.lock").touch()  # as a process that was killed leaves it
    assert fetch(wanted, tmp_path).checked
    assert names(tmp_path) == ["tiny"]


def test_an_interrupted_unpacking_fetches_nothing_again(server: FlakyServer, tmp_path: Path) -> None:
    wanted = source(server.at("/tiny.zip", content(DATA)))

    def interrupt(done: int, total: int) -> None:
        if total == 50_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(wanted, tmp_path, progress=interrupt)
    assert names(tmp_path) == ["tiny.zip.part", "tiny.zip.part.json"]
    assert fetch(wanted, tmp_path).checked
    assert len(server.requests) == 1


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf"), 1e12])
def test_timeouts_that_are_none(tmp_path: Path, timeout: float) -> None:
    with pytest.raises(InputError, match="timeout is"):
        fetch(source(), tmp_path, timeout=timeout)


def test_what_was_fetched_is_what_the_builder_reads(tmp_path: Path) -> None:
    page = cv2.imencode(".bmp", smooth_texture(128, seed=1))[1].tobytes()
    files = {"tiny/patches0000.bmp": page, "tiny/info.txt": b"0 0\n0 0\n1 0\n1 0\n"}
    (tmp_path / "tiny.zip").write_bytes(zipped(files))
    fetch(source(md5=None), tmp_path)
    assert build_phototour(tmp_path / "tiny", tmp_path / "set").points.tolist() == [0, 0, 1, 1]
