"""A web server on this machine that can do what goes wrong with real ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class FlakyServer:
    """Answers per path, given in turn; the last one again and again. `requests` tells what was asked."""

    port: int = 0
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, Message]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def at(self, path: str, *answers: Answer) -> str:
        self.answers[path] = list(answers)
        return f"http://127.0.0.1:{self.port}{path}"

    def asked(self, header: str) -> list[str | None]:
        return [headers.get(header) for _, headers in self.requests]


def content(
    data: bytes,
    *,
    tag: str | None = '"1"',
    date: str | None = None,
    ranges: bool = True,
    heed_if_range: bool = True,
    upto: int | None = None,
    stated: int | None = None,
    stall: threading.Event | None = None,
    content_range: str | None = None,
) -> Answer:
    """Serve `data` well, or: without ranges, dropped or stalled after `upto` bytes, with another length than it has."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and ranges else None
        if condition and heed_if_range and condition not in (tag, date):
            start = None
        if start is not None and start >= len(data):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(data)}")
            handler.end_headers()
            return
        part = data[start or 0 :]
        handler.send_response(200 if start is None else 206)
        handler.send_header("Content-Length", str(len(part) if stated is None else stated))
        if start is not None:
            handler.send_header("Content-Range", content_range or f"bytes {start}-{len(data) - 1}/{len(data)}")
        if tag:
            handler.send_header("ETag", tag)
        if date:
            handler.send_header("Last-Modified", date)
        handler.end_headers()
        handler.wfile.write(part if upto is None else part[:upto])
        handler.wfile.flush()
        if stall:
            stall.wait(10)

    return answer


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word."""


@contextmanager
def flaky_server() -> Iterator[FlakyServer]:
    script = FlakyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.requests.append((self.path, self.headers))
            answers = script.answers.get(self.path, [status(404)])
            (answers.pop(0) if len(answers) > 1 else answers[0])(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        script.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield script
        finally:
            script.over.set()
            server.shutdown()
            thread.join()
