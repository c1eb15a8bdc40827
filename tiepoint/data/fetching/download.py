"""Download over http(s) that goes on where it was interrupted (RFC 9110: 13.1.5 If-Range, 14 range requests)."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from tiepoint.data.fetching.unpack import check_room
from tiepoint.errors import InputError
from tiepoint.files import named, open_no_link, write_json
from tiepoint.parsed import Count, conform, read_json
from tiepoint.version import __version__

if TYPE_CHECKING:  # numpy is not needed here
    from tiepoint.types import Progress

MAX_ATTEMPTS = 5
CHUNK_BYTES = 1 << 18
MIN_PROGRESS_BYTES = 1 << 20  # a connection that brought this much is worth another attempt
MAX_SLOW_S = 300  # in which a connection brings at least `MIN_PROGRESS_BYTES`
MAX_UNSTATED_BYTES = 1 << 28  # where neither the server nor the caller says how long the file is
TRANSIENT_STATUSES = {408, 425, 429, *range(500, 600)}  # statuses that may be gone a moment later


class MirrorError(Exception):
    """An address that does not give the file. The message says why in a few words."""


class DropError(MirrorError):
    """The same, but it may give the file, or the rest of it, when it is asked again."""


class OversizeError(MirrorError):
    """The same, since the file is larger than it may be. What came of it is removed."""


@dataclass(frozen=True)
class Origin:
    """Where a partial file's bytes are from; it lies beside them as NAME.json."""

    url: str  # the address that was asked
    validator: str  # its ETag or date, by which the server can tell that it still has the same file
    total: Count | None  # bytes of the whole file; None if the server does not say


def download(
    url: str, part: Path, *, timeout: float, most: int | None = None, progress: Progress | None = None
) -> None:
    """Complete the file `part` from `url`.

    Bytes that are there already are kept if they are from the same address and the server says, by ETag or date, that
    it still has the same file. Proxies are those of the environment (http_proxy, https_proxy, no_proxy). The server may
    be silent for `timeout` seconds, and has to bring 1 MiB in five minutes. The file may have `most` bytes: if None, as
    many as the server states, or 256 MiB where it states no length. `progress` is called with (bytes done, bytes in
    all, or 0 if that is not known).

    Raises MirrorError where the address has no such file, or the connection dropped 5 times in a row without bringing 1
    MiB, or the file has more bytes than it may; OSError where the file cannot be written: disk full, before the first
    byte, if it does not fit.
    """
    opener = build_opener(_Redirects)
    furthest = failures = 0
    while True:
        try:
            return _attempt(opener, url, part, timeout, most, progress)
        except OversizeError:
            discard(part)
            raise
        except DropError as drop:
            size = _size(part)
            failures = 1 if size >= furthest + MIN_PROGRESS_BYTES else failures + 1
            furthest = max(furthest, size)
            if failures == MAX_ATTEMPTS:
                raise MirrorError(f"{drop}, asked {MAX_ATTEMPTS} times") from None
            time.sleep(2 ** (failures - 1))


def discard(part: Path) -> None:
    """Remove a partial file and what says where it is from."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _attempt(
    opener: OpenerDirector, url: str, part: Path, timeout: float, most: int | None, progress: Progress | None
) -> None:
    origin = _origin(part, url)
    offset = _size(part) if origin else 0
    if origin and offset == origin.total:
        return
    request = Request(url, headers={"User-Agent": f"tiepoint/{__version__}", "Accept-Encoding": "identity"})
    if origin and offset:
        request.add_header("Range", f"bytes={offset}-")
        request.add_header("If-Range", origin.validator)
    with _open(opener, request, timeout) as response:
        if response.status == HTTPStatus.OK:
            discard(part)
            offset, total = 0, response.length
        elif origin and _goes_on(response, offset, origin):
            total = origin.total
        else:  # another part, or 416: the file is shorter than what there is
            discard(part)
            raise DropError("sends another part than it was asked for")
        most = most or total or MAX_UNSTATED_BYTES
        if (total or 0) > most:
            raise OversizeError(f"states {total:,} bytes, more than the {most:,} that the file may have")
        check_room(part.parent, (total or 0) - offset)
        validator = _validator(response.headers)
        if not offset and validator:  # something to recognise the bytes by
            write_json(_note(part), asdict(Origin(url, validator, response.length)))
        _receive(response, part, offset, total, most, progress)


def _open(opener: OpenerDirector, request: Request, timeout: float) -> Any:
    """The answer, if it is one to go on with: status 200 or, to a request for a range, 206 or 416."""
    try:
        response: HTTPResponse | HTTPError = opener.open(request, timeout=timeout)
    except HTTPError as error:
        response = error  # has a status, headers and an end too
    except URLError as error:
        reason = error.reason
        passing = isinstance(reason, TimeoutError | ConnectionError) and not isinstance(reason, ConnectionRefusedError)
        raise (DropError if passing else MirrorError)(_why(reason)) from None
    except (ValueError, InvalidURL):
        raise MirrorError("redirects to something that is not an address") from None
    except (OSError, HTTPException) as error:
        raise DropError(_why(error)) from None
    status = response.status or 0
    if status == HTTPStatus.OK or (status in (206, 416) and request.has_header("Range")):
        return response
    response.close()
    phrase = f" {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else ""
    raise (DropError if status in TRANSIENT_STATUSES else MirrorError)(f"HTTP {status}{phrase}")


def _goes_on(response: HTTPResponse, offset: int, origin: Origin) -> bool:
    """Whether an answer's bytes follow those that there are; not all servers heed If-Range."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not match or _validator(response.headers) not in (origin.validator, None):
        return False
    return int(match[1]) == offset and match[2] in ("*", str(origin.total))


def _validator(headers: Message) -> str | None:
    """The ETag, unless it is weak and so of no use for ranges, or the date."""
    tag: str | None = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _receive(
    response: HTTPResponse, part: Path, done: int, total: int | None, most: int, progress: Progress | None
) -> None:
    mark, since = done, monotonic()
    # Without a buffer, a full disk is met where bytes are written and not a second time when the file is closed.
    with named(part), open(part, "ab", buffering=0, opener=open_no_link) as file:
        while total is None or done < total:
            try:
                # read1 hands over what has come; read would lose it if the connection drops before the chunk is full
                data = response.read1(CHUNK_BYTES if total is None else min(CHUNK_BYTES, total - done))
            except (OSError, HTTPException) as error:
                raise DropError(f"{_why(error)} after {done:,} bytes") from None
            if not data:
                break
            done += len(data)
            if done > most:
                raise OversizeError(f"sends more than the {most:,} bytes that the file may have")
            if done - mark >= MIN_PROGRESS_BYTES:
                mark, since = done, monotonic()
            elif monotonic() - since > MAX_SLOW_S:
                raise DropError(f"brings less than {MIN_PROGRESS_BYTES:,} bytes in {MAX_SLOW_S} seconds")
            while data:
                data = data[file.write(data) :]
            if progress:
                progress(done, total or 0)
    if total is not None and done < total:
        raise DropError(f"the connection ends after {done:,} of {total:,} bytes")


def _origin(part: Path, url: str) -> Origin | None:
    """Where the bytes are from; None if that is elsewhere, or if nothing readable says so."""
    try:
        origin = conform(Origin(**read_json(_note(part), dict[str, Any], "fetch it again")), Origin, part)
    except (InputError, TypeError):
        return None
    return origin if origin.url == url and origin.validator.isprintable() else None


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _why(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    text = (isinstance(reason, OSError) and reason.strerror) or str(reason) or type(reason).__name__
    return "".join(c for c in " ".join(str(text).split()) if c.isprintable())[:200]


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to other web addresses alone, and none from https to http."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if new not in ("http", "https") or (old, new) == ("https", "http"):
            raise MirrorError(f"redirects from {old} to {new}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
