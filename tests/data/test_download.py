from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from flaky_server import Answer, FlakyServer, content, hang_up, status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_set import AS_LONG, DATA, OTHER, names, source

from tiepoint.data import download as download_lib
from tiepoint.data.download import ATTEMPTS
from tiepoint.data.fetch import fetch
from tiepoint.errors import InputError

pytestmark = pytest.mark.usefixtures("offline")


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


@pytest.mark.parametrize("news", [4000, 1 << 20])
def test_a_server_that_cannot_resume_and_always_drops_is_left(
    server: FlakyServer, tmp_path: Path, news: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_lib, "NEWS", news)
    url = server.at("/tiny.zip", content(DATA, upto=10_000, ranges=False))
    with pytest.raises(InputError, match=rf"ends after 10,000 of {len(DATA):,} bytes, asked {ATTEMPTS} times"):
        fetch(source(url), tmp_path)
    assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize(
    ("before", "old", "new"),
    [
        (AS_LONG, {"tag": '"1"'}, {"tag": '"2"'}),
        (AS_LONG, {"tag": '"1"'}, {"tag": '"2"', "heed_if_range": False}),
        (AS_LONG, {"tag": None, "date": "Mon"}, {"tag": None, "date": "Tue", "heed_if_range": False}),
        (OTHER, {"tag": None}, {"tag": None}),  # only the length tells
    ],
)
def test_a_file_that_changed_meanwhile_starts_again(
    server: FlakyServer, tmp_path: Path, before: bytes, old: dict[str, Any], new: dict[str, Any]
) -> None:
    assert len(AS_LONG) == len(DATA) != len(OTHER)
    url = server.at("/tiny.zip", content(before, upto=10_000, **old), content(DATA, **new))
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


@pytest.mark.parametrize("chunk", [1024, 1 << 18])
def test_a_stated_length_that_is_too_small_cuts_and_is_found_out(
    server: FlakyServer, tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_lib, "CHUNK", chunk)
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
