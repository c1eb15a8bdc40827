"""What the tests of downloads share."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from flaky_server import FlakyServer, flaky_server

from tiepoint.data.fetching import download


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the downloads would have slept."""
    slept: list[float] = []
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=slept.append))
    return slept


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    """No proxy of this machine's, no pauses, and no waiting for its disk."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture(scope="session")
def running_server() -> Iterator[FlakyServer]:
    """One server for all tests; `server` is it without what earlier tests left."""
    with flaky_server() as running:
        yield running


@pytest.fixture
def server(running_server: FlakyServer) -> FlakyServer:
    """A server that answers 404 until it is told otherwise."""
    running_server.answers.clear()
    running_server.requests.clear()
    return running_server
