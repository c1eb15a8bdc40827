from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import namedtuple
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flaky_server import Answer, FlakyServer, content, hang_up, status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_set import AS_LONG, DATA, OTHER, names

import tiepoint
from tiepoint.data.fetching import download as download_lib
from tiepoint.data.fetching.download import MAX_ATTEMPTS, MirrorError, download
from tiepoint.types import Progress

pytestmark = pytest.mark.usefixtures("offline")


def got(url: str, folder: Path, progress: Progress | None = None) -> bytes:
    download(url, folder / "part", timeout=5, progress=progress)
    return (folder / "part").read_bytes()


@pytest.mark.parametrize("validator", [{"tag": '"a"'}, {"tag": None, "date": "Mon, 06 Jan 2025 10:00:00 GMT"}])
def test_a_dropped_connection_goes_on(
    server: FlakyServer, tmp_path: Path, pauses: list[float], validator: dict[str, str | None]
) -> None:
    url = server.at("/part", content(DATA, upto=10_000, **validator), content(DATA, **validator))
    assert got(url, tmp_path) == DATA
    assert server.asked("Range") == [None, "bytes=10000-"]
    assert server.asked("If-Range") == [None, validator["tag"] or validator["date"]]
    assert pauses == [1]


@pytest.mark.parametrize("tag", ['W/"a"', None])
def test_what_cannot_be_recognised_later_is_not_gone_on_with(
    server: FlakyServer, tmp_path: Path, tag: str | None
) -> None:
    url = server.at("/part", content(DATA, tag=tag, upto=10_000), content(DATA, tag=tag))
    assert got(url, tmp_path) == DATA
    assert server.asked("Range") == [None, None]
    assert names(tmp_path) == ["part"]


def test_the_next_call_goes_on(server: FlakyServer, tmp_path: Path, pauses: list[float]) -> None:
    url = server.at("/part", content(DATA, upto=10_000), hang_up)
    with pytest.raises(MirrorError, match=f"closed connection without response, asked {MAX_ATTEMPTS} times"):
        got(url, tmp_path)
    assert len(server.requests) == MAX_ATTEMPTS
    assert pauses == [1, 2, 4, 8]
    assert names(tmp_path) == ["part", "part.json"]
    assert (tmp_path / "part").read_bytes() == DATA[:10_000]
    server.requests.clear()
    server.at("/part", content(DATA))
    assert got(url, tmp_path) == DATA
    assert server.asked("Range") == ["bytes=10000-"]
    assert names(tmp_path) == ["part", "part.json"]


def test_connections_that_bring_something_are_not_counted(
    server: FlakyServer, tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_lib, "MIN_PROGRESS_BYTES", 4000)
    url = server.at("/part", content(DATA, upto=4000))
    assert got(url, tmp_path) == DATA
    assert len(server.requests) == -(-len(DATA) // 4000) > 2 * MAX_ATTEMPTS
    assert set(pauses) == {1}


def test_a_server_that_cannot_resume_starts_again(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/part", content(DATA, upto=10_000), content(DATA, ranges=False))
    assert got(url, tmp_path) == DATA
    assert server.asked("Range") == [None, "bytes=10000-"]


@pytest.mark.parametrize("news", [4000, 1 << 20])
def test_a_server_that_cannot_resume_and_always_drops_is_left(
    server: FlakyServer, tmp_path: Path, news: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_lib, "MIN_PROGRESS_BYTES", news)
    url = server.at("/part", content(DATA, upto=10_000, ranges=False))
    with pytest.raises(MirrorError, match=rf"ends after 10,000 of {len(DATA):,} bytes, asked {MAX_ATTEMPTS} times"):
        got(url, tmp_path)
    assert len(server.requests) == MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("before", "old", "new"),
    [
        (AS_LONG, {"tag": '"1"'}, {"tag": '"2"'}),
        (AS_LONG, {"tag": '"1"'}, {"tag": '"2"', "heed_if_range": False}),
        (AS_LONG, {"tag": None, "date": "Mon"}, {"tag": None, "date": "Tue", "heed_if_range": False}),
        (OTHER, {}, {"heed_if_range": False}),  # only the length tells
    ],
)
def test_a_file_that_changed_meanwhile_starts_again(
    server: FlakyServer, tmp_path: Path, before: bytes, old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert len(AS_LONG) == len(DATA) != len(OTHER)
    url = server.at("/part", content(before, upto=10_000, **old), content(DATA, **new))
    assert got(url, tmp_path) == DATA
    assert server.asked("Range")[:2] == [None, "bytes=10000-"]
    assert server.asked("Range")[2:] in ([], [None])


@pytest.mark.parametrize("content_range", ["bytes 0-49/50", "bytes 10001-20000/*", "items 3", "bytes 9999-50331/50332"])
def test_another_part_than_asked_is_not_pasted(server: FlakyServer, tmp_path: Path, content_range: str) -> None:
    url = server.at("/part", content(DATA, upto=10_000), content(DATA, content_range=content_range), content(DATA))
    assert got(url, tmp_path) == DATA
    assert server.asked("Range") == [None, "bytes=10000-", None]


def test_a_part_of_unstated_total_is_pasted(server: FlakyServer, tmp_path: Path) -> None:
    whole = f"bytes 10000-{len(DATA) - 1}/*"
    url = server.at("/part", content(DATA, upto=10_000), content(DATA, content_range=whole))
    assert got(url, tmp_path) == DATA
    assert server.asked("Range") == [None, "bytes=10000-"]


def test_a_whole_file_is_not_asked_for(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/part", content(DATA))
    assert got(url, tmp_path) == got(url, tmp_path) == DATA
    assert len(server.requests) == 1


def test_a_file_shorter_than_what_there_is_starts_again(server: FlakyServer, tmp_path: Path) -> None:
    longer = DATA + bytes(100)
    url = server.at("/part", content(longer, stated=len(longer) + 1), content(DATA))
    assert got(url, tmp_path) == DATA
    assert server.asked("Range") == [None, f"bytes={len(longer)}-", None]


def test_a_416_to_no_range_is_a_refusal(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/part", status(416))
    with pytest.raises(MirrorError, match="HTTP 416"):
        got(url, tmp_path)
    assert len(server.requests) == 1


@pytest.mark.parametrize("chunk", [1024, 1 << 18])
def test_no_more_than_the_stated_length_is_taken(
    server: FlakyServer, tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_lib, "CHUNK_BYTES", chunk)
    assert got(server.at("/part", content(DATA, stated=5000)), tmp_path) == DATA[:5000]


def test_a_file_of_unstated_length(server: FlakyServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    url = server.at("/part", content(DATA, stated=-1))  # http.client takes that for none
    assert got(url, tmp_path, lambda done, total: seen.append((done, total))) == DATA
    assert seen[-1] == (len(DATA), 0)


def test_an_interrupt_leaves_what_there_is(
    server: FlakyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_lib, "CHUNK_BYTES", 1000)
    url = server.at("/part", content(DATA))

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        got(url, tmp_path, interrupt)
    there = (tmp_path / "part").stat().st_size
    assert 0 < there <= 1000
    assert got(url, tmp_path) == DATA
    assert server.asked("Range") == [None, f"bytes={there}-"]


@pytest.mark.parametrize("note", ["{", "[]", '{"url": 3}', '{"url": "u", "validator": "v", "total": 9}', None])
def test_a_part_of_unknown_origin_starts_again(server: FlakyServer, tmp_path: Path, note: str | None) -> None:
    (tmp_path / "part").write_bytes(OTHER[:10_000])
    if note:
        (tmp_path / "part.json").write_text(note)
    assert got(server.at("/part", content(DATA)), tmp_path) == DATA
    assert server.asked("Range") == [None]


def test_a_disk_without_room_is_said_before_the_first_byte(
    server: FlakyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")(len(DATA) - 1)
    monkeypatch.setattr("tiepoint.data.fetching.unpack.shutil", SimpleNamespace(disk_usage=lambda _: usage))
    with pytest.raises(OSError, match="No space left on device") as caught:
        got(server.at("/part", content(DATA)), tmp_path)
    assert caught.value.filename == str(tmp_path)
    assert names(tmp_path) == []


FULL = """
import resource, sys
from pathlib import Path
from tiepoint.data.fetching.download import download
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1))
try:
    download(sys.argv[1], Path(sys.argv[2]), timeout=5)
except OSError as error:
    print(type(error).__name__, error.strerror, error.filename)
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""


@pytest.mark.whole
def test_a_disk_that_fills_up_names_the_file_and_keeps_the_part(server: FlakyServer, tmp_path: Path) -> None:
    url, part = server.at("/part", content(DATA)), tmp_path / "part"
    done = subprocess.run(
        [sys.executable, "-c", FULL, url, str(part)],
        capture_output=True, text=True, timeout=60, check=True, cwd=Path(tiepoint.__file__).parents[2],
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"OSError File too large {part}\n", "")
    assert part.read_bytes() == DATA[:20_000]
    assert got(url, tmp_path) == DATA
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
@given(faults=st.lists(FAULTS, max_size=MAX_ATTEMPTS - 2))
def test_whatever_happens_on_the_way_the_file_is_right(server: FlakyServer, faults: list[tuple[Any, ...]]) -> None:
    url = server.at("/part", *(answer(*fault) for fault in faults), content(DATA))
    with tempfile.TemporaryDirectory() as folder:
        assert got(url, Path(folder)) == DATA


def test_a_server_that_never_ends_is_left(server: FlakyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            while not server.over.is_set():
                handler.wfile.write(bytes(1 << 14))

    monkeypatch.setattr(download_lib, "MAX_UNSTATED_BYTES", 100_000)
    url = server.at("/part", endless)
    with pytest.raises(MirrorError, match="sends more than the 100,000 bytes that the file may have"):
        got(url, tmp_path)
    assert names(tmp_path) == []
    url = server.at("/part", content(DATA))
    with pytest.raises(MirrorError, match=f"states {len(DATA):,} bytes, more than the 9,999"):
        download(url, tmp_path / "part", timeout=5, most=9_999)
    assert names(tmp_path) == []


def test_a_server_that_drips_is_left(
    server: FlakyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    clock = iter(range(0, 10**9, 200))  # seconds, at each look
    monkeypatch.setattr(download_lib, "monotonic", lambda: next(clock))
    monkeypatch.setattr(download_lib, "CHUNK_BYTES", 1000)
    url = server.at("/part", content(DATA, tag=None))
    with pytest.raises(MirrorError, match=r"brings less than 1,048,576 bytes in 300 seconds, asked 5 times"):
        got(url, tmp_path)
