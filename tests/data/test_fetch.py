from __future__ import annotations

import hashlib
import io
import json
import random
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request

import pytest
from flaky_server import Answer, FlakyServer, content, flaky_server, hang_up, status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiepoint
from tiepoint.data import download as download_lib
from tiepoint.data.download import ATTEMPTS, MirrorError
from tiepoint.data.fetch import Record, fetch, record_path
from tiepoint.data.obtain import obtain
from tiepoint.data.partial import claim
from tiepoint.data.sources import SOURCES, Mirror, Source, find
from tiepoint.data.unpack import Contents
from tiepoint.errors import InputError


def zipped(*sizes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for index, size in enumerate(sizes):
            file.writestr(f"strip/{index}.bin", random.Random(size).randbytes(size))
    return buffer.getvalue()


DATA = zipped(30_000, 20_000)
OTHER = zipped(30_001, 20_001)


def md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data).hexdigest()}"


def source(*urls: str, hashes: tuple[str, ...] = (md5(DATA),), repacked: bool = False) -> Source:
    mirrors = tuple(Mirror(url, repacked) for url in urls)
    return Source("tiny", "tiny.zip", "a test", mirrors, hashes, "tiepoint data tiny {folder}")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the downloads would have slept. No proxy of this machine's, and no waiting for its disk."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    slept: list[float] = []
    monkeypatch.setattr(download_lib, "time", SimpleNamespace(sleep=slept.append))
    return slept


@pytest.fixture(scope="module")
def running_server() -> Iterator[FlakyServer]:
    with flaky_server() as running:
        yield running


@pytest.fixture
def server(running_server: FlakyServer) -> FlakyServer:
    running_server.answers.clear()
    running_server.requests.clear()
    return running_server


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


@pytest.mark.parametrize("validator", [{"tag": '"a"'}, {"tag": None, "date": "Mon, 06 Jan 2025 10:00:00 GMT"}])
def test_a_dropped_connection_goes_on(
    server: FlakyServer, tmp_path: Path, pauses: list[float], validator: dict[str, str | None]
) -> None:
    url = server.at("/tiny.zip", content(DATA, upto=10_000, **validator), content(DATA, **validator))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None, "bytes=10000-"]
    assert server.asked("If-Range") == [None, validator["tag"] or validator["date"]]
    assert pauses == [1]


def test_a_weak_tag_is_no_condition(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA, tag='W/"a"', upto=10_000), content(DATA, tag='W/"a"'))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None, "bytes=10000-"]
    assert server.asked("If-Range") == [None, None]


def test_the_next_call_goes_on(server: FlakyServer, tmp_path: Path, pauses: list[float]) -> None:
    url = server.at("/tiny.zip", content(DATA, upto=10_000), hang_up)
    with pytest.raises(InputError, match=f"closed connection without response, asked {ATTEMPTS} times"):
        fetch(source(url), tmp_path)
    assert len(server.requests) == ATTEMPTS
    assert pauses == [1, 2, 4, 8]
    assert names(tmp_path) == ["tiny.zip.part", "tiny.zip.part.json"]
    assert (tmp_path / "tiny.zip.part").read_bytes() == DATA[:10_000]
    server.requests.clear()
    server.at("/tiny.zip", content(DATA))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == ["bytes=10000-"]
    assert names(tmp_path) == ["tiny.zip", "tiny.zip.json"]


def test_an_interrupt_leaves_what_there_is(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA))

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source(url), tmp_path, progress=interrupt)
    there = (tmp_path / "tiny.zip.part").stat().st_size
    assert there > 0
    assert not (tmp_path / "tiny.zip").exists()
    if there < len(DATA):
        fetch(source(url), tmp_path)
        assert server.asked("Range") == [None, f"bytes={there}-"]


def test_connections_that_bring_something_are_not_counted(
    server: FlakyServer, tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_lib, "NEWS", 4000)
    url = server.at("/tiny.zip", content(DATA, upto=4000))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert len(server.requests) == -(-len(DATA) // 4000) > 2 * ATTEMPTS
    assert set(pauses) == {1}


def test_a_server_that_cannot_resume_starts_again(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA, upto=10_000), content(DATA, ranges=False))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None, "bytes=10000-"]


def test_a_server_that_cannot_resume_and_always_drops_is_left(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA, upto=10_000, ranges=False))
    with pytest.raises(InputError, match=rf"ends after 10,000 of {len(DATA):,} bytes, asked {ATTEMPTS} times"):
        fetch(source(url), tmp_path)
    assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"tag": '"1"'}, {"tag": '"2"'}),
        ({"tag": '"1"'}, {"tag": '"2"', "heed_if_range": False}),
        ({"tag": None, "date": "Mon"}, {"tag": None, "date": "Tue", "heed_if_range": False}),
        ({"tag": None}, {"tag": None}),  # only the length tells
    ],
)
def test_a_file_that_changed_meanwhile_starts_again(
    server: FlakyServer, tmp_path: Path, old: dict[str, object], new: dict[str, object]
) -> None:
    url = server.at("/tiny.zip", content(OTHER, upto=10_000, **old), content(DATA, **new))  # type: ignore[arg-type]
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range")[:2] == [None, "bytes=10000-"]
    assert server.asked("Range")[2:] in ([], [None])


@pytest.mark.parametrize("content_range", ["bytes 0-49/50", "bytes 10001-20000/*", "items 3", "bytes 9999-50331/50332"])
def test_another_part_than_asked_is_not_pasted(server: FlakyServer, tmp_path: Path, content_range: str) -> None:
    url = server.at("/tiny.zip", content(DATA, upto=10_000), content(DATA, content_range=content_range), content(DATA))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None, "bytes=10000-", None]


def test_a_part_of_unstated_total_is_pasted(server: FlakyServer, tmp_path: Path) -> None:
    whole = f"bytes 10000-{len(DATA) - 1}/*"
    url = server.at("/tiny.zip", content(DATA, upto=10_000), content(DATA, content_range=whole))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None, "bytes=10000-"]


def test_a_splice_is_found_out_and_the_next_call_starts_again(server: FlakyServer, tmp_path: Path) -> None:
    old = DATA[:500] + b"\0" * (len(DATA) - 500)
    url = server.at("/tiny.zip", content(old, tag=None, upto=10_000), content(DATA, tag=None))
    with pytest.raises(InputError, match="what it sends has md5:"):
        fetch(source(url), tmp_path)
    assert names(tmp_path) == ["tiny.zip.corrupt"]
    assert fetch(source(url), tmp_path).read_bytes() == DATA


def test_nothing_is_left_to_ask_for(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA, stated=len(DATA) + 100), content(DATA))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None, f"bytes={len(DATA)}-"]  # answered by 416, of as many bytes


def test_a_file_shorter_than_what_there_is_starts_again(server: FlakyServer, tmp_path: Path) -> None:
    longer = DATA + bytes(100)
    url = server.at("/tiny.zip", content(longer, stated=len(longer) + 1), content(DATA))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None, f"bytes={len(longer)}-", None]


def test_a_416_to_no_range_is_a_refusal(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", status(416))
    with pytest.raises(InputError, match="HTTP 416"):
        fetch(source(url), tmp_path)
    assert len(server.requests) == 1


def test_a_stated_length_that_is_too_small_cuts_and_is_found_out(server: FlakyServer, tmp_path: Path) -> None:
    bad = server.at("/bad.zip", content(DATA, stated=5000))
    good = server.at("/good.zip", content(DATA))
    assert fetch(source(bad, good), tmp_path).read_bytes() == DATA
    assert (tmp_path / "tiny.zip.corrupt").read_bytes() == DATA[:5000]


def test_a_file_of_unstated_length(server: FlakyServer, tmp_path: Path) -> None:
    seen = []
    url = server.at("/tiny.zip", content(DATA, stated=-1))  # http.client takes that for none
    path = fetch(source(url), tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == DATA
    assert seen[-1] == (len(DATA), 0)


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


@pytest.mark.parametrize(
    ("code", "asked"), [(404, 1), (403, 1), (410, 1), (204, 1), (304, 1), (500, 5), (503, 5), (429, 5), (599, 5)]
)
def test_statuses(server: FlakyServer, tmp_path: Path, pauses: list[float], code: int, asked: int) -> None:
    bad, good = server.at("/bad.zip", status(code)), server.at("/good.zip", content(DATA))
    assert fetch(source(bad, good), tmp_path).read_bytes() == DATA
    assert [path for path, _ in server.requests] == ["/bad.zip"] * asked + ["/good.zip"]
    assert pauses == [1, 2, 4, 8][: asked - 1]


def test_a_server_that_is_busy_for_a_moment(server: FlakyServer, tmp_path: Path, pauses: list[float]) -> None:
    url = server.at("/tiny.zip", status(503), hang_up, content(DATA))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert pauses == [1, 2]


def test_a_stalled_connection_goes_on(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA, upto=10_000, stall=server.over), content(DATA))
    assert fetch(source(url), tmp_path, timeout=0.2).read_bytes() == DATA
    assert server.asked("Range") == [None, "bytes=10000-"]


def test_a_silent_server_is_left(tmp_path: Path, pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/tiny.zip"
        with pytest.raises(InputError, match=f"no answer in time, asked {ATTEMPTS} times"):
            fetch(source(url), tmp_path, timeout=0.05)
    assert len(pauses) == ATTEMPTS - 1
    assert names(tmp_path) == []


def test_a_closed_port_is_left_at_once(tmp_path: Path, pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/tiny.zip"
    with pytest.raises(InputError, match="Connection refused"):
        fetch(source(url), tmp_path)
    assert pauses == []


def test_redirects_are_followed_with_the_range(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", status(302, Location="/far/away.zip"))
    server.at("/far/away.zip", content(DATA, upto=10_000), content(DATA))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None, None, "bytes=10000-", "bytes=10000-"]


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/tiny.zip", "data:,tiny", "http://[", "http://a:b/", "/tiny.zip"]
)
def test_redirects_elsewhere_are_refused(server: FlakyServer, tmp_path: Path, location: str) -> None:
    url = server.at("/tiny.zip", status(302, Location=location))
    with pytest.raises(InputError, match=r"tiny\.zip: (redirects|HTTP 302)"):
        fetch(source(url, hashes=()), tmp_path)
    assert len(server.requests) <= (10 if location == "/tiny.zip" else 1)  # a circle ends, and is not tried again
    assert names(tmp_path) == []


def test_redirects_from_https_to_http_are_refused() -> None:
    request = Request("https://example.org/a")
    handler = download_lib._Redirects()
    with pytest.raises(MirrorError, match="from https to http"):
        handler.redirect_request(request, io.BytesIO(), 302, "Found", Message(), "http://example.org/b")
    followed = handler.redirect_request(request, io.BytesIO(), 302, "Found", Message(), "https://example.org/b")
    assert followed is not None
    assert followed.full_url == "https://example.org/b"


def test_a_proxy_is_used(server: FlakyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    server.at("http://nowhere.invalid/tiny.zip", content(DATA))
    assert fetch(source("http://nowhere.invalid/tiny.zip"), tmp_path).read_bytes() == DATA


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


@pytest.mark.parametrize("note", ["{", "[]", '{"url": 3}', None])
def test_a_part_of_unknown_origin_starts_again(server: FlakyServer, tmp_path: Path, note: str | None) -> None:
    (tmp_path / "tiny.zip.part").write_bytes(OTHER[:10_000])
    if note:
        (tmp_path / "tiny.zip.part.json").write_text(note)
    url = server.at("/tiny.zip", content(DATA))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None]
    assert names(tmp_path) == ["tiny.zip", "tiny.zip.json"]


def test_two_processes_do_not_write_one_file(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA))
    with claim(tmp_path / "tiny.zip"), pytest.raises(InputError, match=r"tiny\.zip\.part is being written by another"):
        fetch(source(url), tmp_path)
    assert names(tmp_path) == []
    assert fetch(source(url), tmp_path).read_bytes() == DATA


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf"), 1e12])
def test_timeouts_that_are_none(tmp_path: Path, timeout: float) -> None:
    with pytest.raises(InputError, match="timeout is"):
        fetch(source(), tmp_path, timeout=timeout)


def test_a_disk_without_room_is_said_before_the_first_byte(
    server: FlakyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")(len(DATA) - 1)
    monkeypatch.setattr("tiepoint.data.partial.shutil", SimpleNamespace(disk_usage=lambda _: usage))
    url = server.at("/tiny.zip", content(DATA))
    with pytest.raises(OSError, match="No space left on device") as caught:
        fetch(source(url), tmp_path)
    assert caught.value.filename == str(tmp_path / "tiny.zip.part")
    assert names(tmp_path) == []


FULL = """
import resource, sys
from pathlib import Path
from tiepoint.data.fetch import fetch
from tiepoint.data.sources import Mirror, Source
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1))
try:
    fetch(Source("tiny", "tiny.zip", "", (Mirror(sys.argv[1]),), (), ""), sys.argv[2])
except OSError as error:
    print(type(error).__name__, error.strerror, error.filename)
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""


def test_a_disk_that_fills_up_names_the_file_and_keeps_the_part(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA))
    done = subprocess.run(
        [sys.executable, "-c", FULL, url, str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=True, cwd=Path(tiepoint.__file__).parents[1],
    )  # fmt: skip
    assert done.stdout == f"OSError File too large {tmp_path / 'tiny.zip.part'}\n"
    assert done.stderr == ""
    assert (tmp_path / "tiny.zip.part").read_bytes() == DATA[:20_000]
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None, "bytes=20000-"]


# What a connection may do: be closed, be refused for now, drop after some bytes (of a file of another time, with a
# server that cannot resume), or state more bytes than there are.
FAULTS = st.one_of(
    st.tuples(st.just("closed")),
    st.tuples(st.just("refused"), st.sampled_from([429, 500, 503])),
    st.tuples(st.just("dropped"), st.integers(0, len(DATA)), st.booleans()),
    st.tuples(st.just("changed"), st.integers(0, len(OTHER) - 1), st.uuids()),
    st.tuples(st.just("overstated"), st.integers(0, len(DATA)), st.integers(len(DATA) + 1, 10**6)),
)


def answer(kind: str, *numbers: Any) -> Answer:
    match kind:
        case "closed":
            return hang_up
        case "refused":
            return status(numbers[0])
        case "dropped":
            return content(DATA, upto=numbers[0], ranges=numbers[1])
        case "changed":
            return content(OTHER, upto=numbers[0], tag=f'"{numbers[1]}"')
    return content(DATA, upto=numbers[0], stated=numbers[1])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=st.lists(FAULTS, max_size=ATTEMPTS - 2))
def test_whatever_happens_on_the_way_the_file_is_right(server: FlakyServer, faults: list[tuple[Any, ...]]) -> None:
    url = server.at("/tiny.zip", *(answer(*fault) for fault in faults), content(DATA))
    with tempfile.TemporaryDirectory() as folder:
        assert fetch(source(url), folder).read_bytes() == DATA
        assert names(Path(folder)) == ["tiny.zip", "tiny.zip.json"]


def test_obtain_unpacks_and_does_nothing_the_second_time(server: FlakyServer, tmp_path: Path) -> None:
    wanted = source(server.at("/tiny.zip", content(DATA)))
    seen: list[tuple[int, int]] = []
    first = obtain(wanted, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert first.fresh
    assert (first.folder, first.archive) == (tmp_path / "tiny", None)
    assert first.contents == first.record.contents == Contents(files=2, bytes=50_000)
    assert seen[-1] == (50_000, 50_000)
    assert (len(DATA), len(DATA)) in seen
    assert (tmp_path / "tiny" / "strip" / "0.bin").read_bytes() == random.Random(30_000).randbytes(30_000)
    assert names(tmp_path) == ["tiny", "tiny.zip.json"]
    second = obtain(wanted, tmp_path)
    assert not second.fresh
    assert (second.record, second.contents, second.folder) == (first.record, first.contents, first.folder)
    assert len(server.requests) == 1


def test_obtain_keeps_the_archive_if_asked_or_if_it_is_somebody_elses(server: FlakyServer, tmp_path: Path) -> None:
    wanted = source(server.at("/tiny.zip", content(DATA)))
    assert obtain(wanted, tmp_path / "a", keep_archive=True).archive == tmp_path / "a" / "tiny.zip"
    assert names(tmp_path / "a") == ["tiny", "tiny.zip", "tiny.zip.json"]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "tiny.zip").write_bytes(DATA)
    assert obtain(wanted, tmp_path / "b").archive == tmp_path / "b" / "tiny.zip"
    assert names(tmp_path / "b") == ["tiny", "tiny.zip", "tiny.zip.json"]


def test_a_folder_that_is_something_else_is_named_before_anything_is_fetched(
    server: FlakyServer, tmp_path: Path
) -> None:
    wanted = source(server.at("/tiny.zip", content(DATA)))
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "mine").write_text("1")
    with pytest.raises(InputError, match=r"tiny is there, but .*tiny\.zip\.json does not say"):
        obtain(wanted, tmp_path)
    assert server.requests == []
    obtain(wanted, tmp_path / "new")
    (tmp_path / "new" / "tiny" / "strip" / "0.bin").unlink()
    with pytest.raises(InputError, match="remove it, or name another folder"):
        obtain(wanted, tmp_path / "new")


def test_a_damaged_member_is_named_and_nothing_is_unpacked(server: FlakyServer, tmp_path: Path) -> None:
    broken = bytearray(DATA)
    broken[1000] ^= 1
    wanted = source(server.at("/tiny.zip", content(bytes(broken))), hashes=())
    with pytest.raises(InputError, match=r"tiny\.zip: member 'strip/0\.bin' is damaged"):
        obtain(wanted, tmp_path)
    assert names(tmp_path) == ["tiny.zip", "tiny.zip.json"]


def test_the_table_is_sound() -> None:
    assert set(SOURCES) == {
        *("liberty", "notredame", "yosemite", "liberty_harris", "notredame_harris", "yosemite_harris"), "hpatches",
    }  # fmt: skip
    for name, known in SOURCES.items():
        assert (known.name, known.then.format(folder="x").split()[:2]) == (name, ["tiepoint", "data"])
        assert Path(known.file).name == known.file != name
        assert all(mirror.url.startswith("https://") and mirror.url.endswith(known.file) for mirror in known.mirrors)
        for known_hash in known.hashes:
            kind, _, digits = known_hash.partition(":")
            assert len(bytes.fromhex(digits)) == hashlib.new(kind).digest_size
    hashes = [known_hash for known in SOURCES.values() for known_hash in known.hashes]
    assert len(set(hashes)) == len(hashes) == 6
    assert not SOURCES["liberty"].checkable
    assert SOURCES["liberty_harris"].checkable
    assert not SOURCES["hpatches"].checkable
    json.dumps([known.hashes for known in SOURCES.values()])


@pytest.mark.parametrize(
    ("name", "close"), [("libert", "liberty"), ("HPatches", "hpatches"), ("notre_dame", "notredame")]
)
def test_an_unknown_name_is_answered_by_a_close_one(name: str, close: str) -> None:
    with pytest.raises(InputError, match=f"no data set '{name}': did you mean {close}\\? there are liberty, "):
        find(name)
    with pytest.raises(InputError, match="no data set 'qq': there are liberty, "):
        find("qq")
