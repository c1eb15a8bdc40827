"""Names of files and lists of them, as other programs write them: any bytes, any mark of the order of bytes, links."""

import csv
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tiepoint.errors import InputError
from tiepoint.parsed import read_bytes

FORMULA = "=+-@\t\r"  # first characters of a cell that a spreadsheet computes
MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def printable(text: object) -> str:
    """`text` on one line: what does not print, such as line breaks, escapes and stray bytes, is written `\\x1b`."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def is_utf8(name: str | Path) -> bool:
    """Whether the bytes of a file's name are UTF-8, which several libraries take for granted."""
    return not any("\udc80" <= c <= "\udcff" for c in str(name))


@contextmanager
def in_utf8(path: Path) -> Iterator[str]:
    """A path of a file or folder, with what lies beside it, for libraries that take UTF-8 alone: a link if need be."""
    if is_utf8(path):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        for other in path.parent.iterdir():
            if other.name.startswith(path.stem):
                (Path(folder) / f"image{other.name.removeprefix(path.stem)}").symlink_to(other)
        yield f"{folder}/image{path.suffix}"


def read_lines(path: str | Path, remedy: str) -> list[str]:
    """The lines of a list of names, without their ends. Bytes that are no UTF-8 stay, as in names of files.

    Raises InputError, which ends with the remedy, for a file that cannot be read or is no text.
    """
    return _text(path, remedy).replace("\r\n", "\n").replace("\r", "\n").split("\n")


def read_cells(path: str | Path, remedy: str) -> list[tuple[int, list[str]]]:
    """Line numbers and stripped cells of a table with commas, semicolons or tabs, without empty rows: `read_lines`."""
    text = _text(path, remedy)
    first = text.lstrip().partition("\n")[0]
    rule: dict[str, Any] = {"delimiter": max(",;\t", key=first.count), "strict": True, "skipinitialspace": True}
    reader = csv.reader(io.StringIO(text, newline=""), **rule)
    try:
        rows = [(reader.line_num, [_plain(cell).strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}): {remedy}") from None
    return [(line, row) for line, row in rows if any(row)]


def cell(text: str) -> str:
    """`text` as a cell of a table, in which a spreadsheet sees no formula; `read_cells` gives it back."""
    return f"'{text}" if text.lstrip("'")[:1] in (*FORMULA,) else text


def walk(folder: Path) -> Iterator[Path]:
    """What lies below a folder and is no folder. Linked folders come last, none comes twice, none holds this one."""
    folders, seen, own = [folder], set[str](), folder.resolve()
    for top in folders:  # grows as links are found
        for where, names, files in os.walk(top, onerror=_raise):
            place = os.path.realpath(where)
            if place in seen:
                names.clear()
                continue
            seen.add(place)
            names.sort()
            links = [path for path in (Path(where, name) for name in names) if path.is_symlink()]
            folders += [path for path in links if not own.is_relative_to(path.resolve())]
            yield from (Path(where, name) for name in files)


def _text(path: str | Path, remedy: str) -> str:
    data = read_bytes(path, remedy=remedy)
    mark = next((mark for mark in MARKS if data.startswith(mark)), b"")
    text = data.removeprefix(mark).decode(MARKS.get(mark, "utf-8"), "replace" if len(mark) == 2 else "surrogateescape")
    if "\0" in text:
        raise InputError(f"{path}: is no text: {remedy}")
    return text


def _plain(text: str) -> str:
    return text[1:] if text.startswith("'") and text.lstrip("'")[:1] in (*FORMULA,) else text


def _raise(error: OSError) -> None:
    raise error
