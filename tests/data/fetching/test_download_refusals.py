from __future__ import annotations

import io
import socket
from email.message import Message
from pathlib import Path
from urllib.request import Request

import pytest
from flaky_server import FlakyServer, content, hang_up, status
from tiny_set import DATA, names

from tiepoint.data.fetching.download import MAX_ATTEMPTS, MirrorError, _Redirects, download

pytestmark = pytest.mark.usefixtures("offline")


def got(url: str, folder: Path, timeout: float = 5.0) -> bytes:
    download(url, folder / "part", timeout=timeout)
    return (folder / "part").read_bytes()


@pytest.mark.parametrize(
    ("code", "asked"), [(404, 1), (403, 1), (410, 1), (204, 1), (304, 1), (500, 5), (503, 5), (429, 5), (599, 5)]
)
def test_statuses(server: FlakyServer, tmp_path: Path, pauses: list[float], code: int, asked: int) -> None:
    with pytest.raises(MirrorError, match=f"^HTTP {code}.*{', asked 5 times' if asked > 1 else ''}$"):
        got(server.at("/part", status(code)), tmp_path)
    assert len(server.requests) == asked
    assert pauses == [1, 2, 4, 8][: asked - 1]


def test_a_server_that_is_busy_for_a_moment(server: FlakyServer, tmp_path: Path, pauses: list[float]) -> None:
    url = server.at("/part", status(503), hang_up, content(DATA))
    assert got(url, tmp_path) == DATA
    assert pauses == [1, 2]


def test_a_stalled_connection_goes_on(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/part", content(DATA, upto=10_000, stall=server.over), content(DATA))
    assert got(url, tmp_path, timeout=0.2) == DATA
    assert server.asked("Range") == [None, "bytes=10000-"]


def test_a_silent_server_is_left(tmp_path: Path, pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/part"
        with pytest.raises(MirrorError, match=f"no answer in time, asked {MAX_ATTEMPTS} times"):
            got(url, tmp_path, timeout=0.05)
    assert len(pauses) == MAX_ATTEMPTS - 1
    assert names(tmp_path) == []


def test_a_closed_port_is_left_at_once(tmp_path: Path, pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/part"
    with pytest.raises(MirrorError, match="Connection refused"):
        got(url, tmp_path)
    assert pauses == []


def test_redirects_are_followed_with_the_range(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/part", status(302, Location="/far/away.zip"))
    server.at("/far/away.zip", content(DATA, upto=10_000), content(DATA))
    assert got(url, tmp_path) == DATA
    assert server.asked("Range") == [None, None, "bytes=10000-", "bytes=10000-"]


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/part", "data:,tiny", "http://[", "http://a:b/", "/part"]
)
def test_redirects_elsewhere_are_refused(server: FlakyServer, tmp_path: Path, location: str) -> None:
    url = server.at("/part", status(302, Location=location))
    with pytest.raises(MirrorError, match=r"^(redirects|HTTP 302)"):
        got(url, tmp_path)
    assert len(server.requests) <= (10 if location == "/part" else 1)  # a circle ends, and is not tried again
    assert names(tmp_path) == []


def test_redirects_from_https_to_http_are_refused() -> None:
    request = Request("https://example.org/a")
    handler = _Redirects()
    with pytest.raises(MirrorError, match="from https to http"):
        handler.redirect_request(request, io.BytesIO(), 302, "Found", Message(), "http://example.org/b")
    followed = handler.redirect_request(request, io.BytesIO(), 302, "Found", Message(), "https://example.org/b")
    assert followed is not None
    assert followed.full_url == "https://example.org/b"


def test_a_proxy_is_used(server: FlakyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    server.at("http://nowhere.invalid/part", content(DATA))
    assert got("http://nowhere.invalid/part", tmp_path) == DATA
