from __future__ import annotations

import io
import socket
from email.message import Message
from pathlib import Path
from urllib.request import Request

import pytest
from flaky_server import FlakyServer, content, hang_up, status
from tiny_set import DATA, names, source

from tiepoint.data import download as download_lib
from tiepoint.data.download import ATTEMPTS, MirrorError
from tiepoint.data.fetch import fetch
from tiepoint.errors import InputError

pytestmark = pytest.mark.usefixtures("offline")


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


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf"), 1e12])
def test_timeouts_that_are_none(tmp_path: Path, timeout: float) -> None:
    with pytest.raises(InputError, match="timeout is"):
        fetch(source(), tmp_path, timeout=timeout)
