"""What the verbs share: progress on standard error, results on standard output as a table or as one JSON object."""

import json as json_lib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from tiepoint.names import printable

LOG = logging.getLogger("tiepoint")
Rows = Sequence[Sequence[Any]]
Table = tuple[str, Sequence[str], Rows] | tuple[str, Sequence[str], Rows, int]  # as `emit_table` takes them


class _ToStandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


def say(text: str) -> None:
    """Write text to standard error, or nowhere if that takes nothing. Raises BrokenPipeError."""
    try:
        print(*map(printable, text.split("\n")), sep="\n", file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError:
        drop(sys.stderr)


def drop(stream: TextIO) -> None:
    """Let what is written to a stream from now on, and what waits in it, go nowhere."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def logged(level: int) -> Iterator[None]:
    """Write what the package logs, from `level` on, to standard error. Progress and notes are shown from INFO on."""
    handler, before = _ToStandardError(), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(level)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(before)


@contextmanager
def heard_alone(others: bool) -> Iterator[None]:
    """Let standard error hold what this package says, and what libraries print, warn and log only with `others`.

    Libraries in C write to descriptor 2: it leads nowhere meanwhile, and `sys.stderr` writes to a copy of it.
    """
    if others:
        yield
        return
    root, nowhere, before = logging.getLogger(), logging.NullHandler(), sys.stderr
    with ExitStack() as undo, warnings.catch_warnings(action="ignore"), open(os.devnull, "w") as void:
        root.addHandler(nowhere)  # without a handler logging prints to standard error
        undo.callback(root.removeHandler, nowhere)
        with suppress(OSError):  # closed, or replaced by a program that calls this one
            copy = os.dup(2)
            undo.callback(os.close, copy)
            if before.fileno() == 2:
                before.flush()
                sys.stderr = open(copy, "w", 1, before.encoding, "backslashreplace", closefd=False)  # noqa: SIM115
                undo.callback(setattr, sys, "stderr", before)
            os.dup2(void.fileno(), 2)
            undo.callback(os.dup2, copy, 2)
        yield


def note(*wrote: Path | str | None, then: str = "") -> None:
    """Say what a command wrote and what may be done next, each in a line on standard error; not with -q or --json."""
    if places := [str(place) for place in wrote if place is not None]:
        LOG.info("wrote %s", ", ".join(places))
    if then:
        LOG.info("next: %s", then)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[..., None]]:
    """Yield advance(done, total, text), whose text may be left out. With -v the time that the work took is logged.

    The bar is drawn on standard error if that is a terminal, but not with -q or --json.
    """
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    hidden = LOG.level > logging.INFO or not console.is_terminal
    began = time.perf_counter()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(label, total=None)

        def advance(done: int, total: int, text: str = label) -> None:
            bar.update(task, completed=done, total=total, description=printable(text))

        yield advance
    LOG.debug("%s: %.2f s", label, time.perf_counter() - began)


def emit(result: Mapping[str, Any], as_json: bool, title: str) -> None:
    """Print a flat result as a two-column table, or as one JSON object."""
    publish(result, as_json, [facts(title, result)])


def facts(title: str, result: Mapping[str, Any]) -> Table:
    """A flat result as a two-column table."""
    return title, ("", ""), [(key.replace("_", " "), value) for key, value in result.items()]


def publish(report: Mapping[str, Any], as_json: bool, tables: Iterable[Table], lines: Iterable[str] = ()) -> None:
    """Print a report as one JSON object, or its tables and the lines below them."""
    if as_json:
        print(json_lib.dumps(report, allow_nan=False))
        return
    for table in tables:
        emit_table(*table)
    for line in lines:
        print(*map(printable, line.split("\n")), sep="\n")


def emit_table(title: str, header: Sequence[str], rows: Rows, words: int = 1) -> None:
    """Print a table on standard output, in which names are no markup. The first `words` columns align left, the others,
    of numbers, right.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=printable(title), show_header=any(header), title_justify="left")
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index < words else "right", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 160  # a pipe or a file has no width of its own
    console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else printable(value)
