"""Download over http(s) that goes on where it was interrupted (RFC 9110: 13.1.5 If-Range, 14 range requests)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, InvalidURL
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from tiepoint import __version__
from tiepoint.data.partial import Origin, Partial

Progress = Callable[[int, int], None]  # bytes done, bytes in all or 0 if unknown
ATTEMPTS = 5
CHUNK = 1 << 18
NEWS = 1 << 20  # bytes; a connection that brought so many was worth another one
PASSING = {408, 425, 429, *range(500, 600)}  # statuses that may be gone a moment later


class MirrorError(Exception):
    """An address that does not give the file. The message says why in a few words."""


class DropError(MirrorError):
    """The same, but it may give the file, or the rest of it, when it is asked again."""


def download(url: str, partial: Partial, *, timeout: float, progress: Progress | None = None) -> None:
    """Complete `partial` from `url`.

    Bytes that are there already are kept if they are from the same address and the server says, by ETag or date, that
    it still has the same file. Proxies are those of the environment (http_proxy, https_proxy, no_proxy).

    Args:
        url: http or https.
        partial: what there is of the file.
        timeout: seconds that the server may be silent.
        progress: called with (bytes done, bytes in all, or 0 if the server does not say).

    Raises:
        MirrorError: the address has no such file, or the connection dropped 5 times in a row without bringing 1 MiB.
        OSError: the file cannot be written.
    """
    opener = build_opener(_Redirects)
    furthest = failures = 0
    while True:
        try:
            _attempt(opener, url, partial, timeout, progress)
        except DropError as drop:
            failures = 1 if partial.size >= furthest + NEWS else failures + 1
            furthest = max(furthest, partial.size)
            if failures == ATTEMPTS:
                raise MirrorError(f"{drop}, asked {ATTEMPTS} times") from None
            time.sleep(2 ** (failures - 1))
        else:
            return


def _attempt(opener: OpenerDirector, url: str, partial: Partial, timeout: float, progress: Progress | None) -> None:
    origin = partial.origin()
    if origin and origin.url != url:
        origin = None
    offset = partial.size if origin else 0
    with _open(opener, _request(url, offset, origin), timeout) as response:
        if response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            _settle_unsatisfiable(response, partial, offset)
            return
        total = _begin(response, url, partial, origin, offset)
        partial.check_room((total or 0) - partial.size)
        _receive(response, partial, total, progress)


def _request(url: str, offset: int, origin: Origin | None) -> Request:
    request = Request(url, headers={"User-Agent": f"tiepoint/{__version__}", "Accept-Encoding": "identity"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
        if origin and origin.validator:
            request.add_header("If-Range", origin.validator)
    return request


def _open(opener: OpenerDirector, request: Request, timeout: float) -> Any:
    """The answer, if it is one to go on with: status 200, 206 or, to a request for a range, 416.

    It is an HTTPResponse, or in the last case an HTTPError, which has a status, headers and an end too.
    """
    try:
        response: HTTPResponse | HTTPError = opener.open(request, timeout=timeout)
    except HTTPError as error:
        response = error
    except URLError as error:
        reason = error.reason
        passing = isinstance(reason, TimeoutError | ConnectionError) and not isinstance(reason, ConnectionRefusedError)
        raise (DropError if passing else MirrorError)(_why(reason)) from None
    except (ValueError, InvalidURL):
        raise MirrorError("redirects to something that is no address") from None
    except (OSError, HTTPException) as error:
        raise DropError(_why(error)) from None
    status = response.status or 0
    if status in (200, 206) or (status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and request.has_header("Range")):
        return response
    response.close()
    phrase = f" {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else ""
    raise (DropError if status in PASSING else MirrorError)(f"HTTP {status}{phrase}")


def _begin(response: HTTPResponse, url: str, partial: Partial, origin: Origin | None, offset: int) -> int | None:
    """Make `partial` end where the answer's bytes begin, and return the bytes of the whole file if they are known."""
    if response.status == HTTPStatus.OK:
        partial.restart(Origin(url, _validator(response.headers), response.length))
        return response.length
    start, total = _content_range(response.headers)
    if origin is None or start != offset or not _same_file(response.headers, total, origin):
        partial.restart()
        raise DropError("sends another part than it was asked for")
    return total or origin.total


def _receive(response: HTTPResponse, partial: Partial, total: int | None, progress: Progress | None) -> None:
    while total is None or partial.size < total:
        try:
            # read1 hands over what has come, where read would lose it if the connection drops before the chunk is full
            data = response.read1(CHUNK if total is None else min(CHUNK, total - partial.size))
        except (OSError, HTTPException) as error:
            raise DropError(f"{_why(error)} after {partial.size:,} bytes") from None
        if not data:
            break
        partial.append(data)
        if progress:
            progress(partial.size, total or 0)
    if total is not None and partial.size < total:
        raise DropError(f"the connection ends after {partial.size:,} of {total:,} bytes")


def _settle_unsatisfiable(response: HTTPResponse, partial: Partial, offset: int) -> None:
    """There is nothing after `offset`: the file is whole if the server's ends there, else it is another file."""
    _, total = _content_range(response.headers)
    if total != offset:
        partial.restart()
        raise DropError("has a shorter file than before")


def _content_range(headers: Message) -> tuple[int | None, int | None]:
    """First byte and total of a Content-Range."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", (headers.get("Content-Range") or "").strip())
    if not match:
        return None, None
    first, total = match.groups()
    return int(first) if first else None, None if total == "*" else int(total)


def _validator(headers: Message) -> str | None:
    """The ETag, unless it is weak and so of no use for ranges, or the date."""
    tag: str | None = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _same_file(headers: Message, total: int | None, origin: Origin) -> bool:
    """Whether a part is of the file that the bytes so far are from, as far as the server tells."""
    if origin.validator:
        header = "ETag" if origin.validator.startswith('"') else "Last-Modified"
        if headers.get(header, origin.validator) != origin.validator:
            return False
    return None in (total, origin.total) or total == origin.total


def _why(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    text = (isinstance(reason, OSError) and reason.strerror) or str(reason) or type(reason).__name__
    return "".join(c for c in " ".join(str(text).split()) if c.isprintable())[:200]


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to other web addresses alone, and none from https to http."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if new not in ("http", "https") or (old, new) == ("https", "http"):
            raise MirrorError(f"redirects from {old} to {new}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
