"""Command lines parsed by tyro, its complaints made one line."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tiepoint.errors import InputError

T = TypeVar("T")


def parse(target: Callable[..., T], prog: str, arguments: Sequence[str], **options: Any) -> T:
    """Build `target` from the command line's arguments. What tyro says of a wrong one becomes an InputError."""
    import tyro

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed: T = tyro.cli(target, prog=prog, args=arguments, **options)
            return parsed
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_one_line(complaint.getvalue())) from None


def _one_line(box: str) -> str:
    """The text inside tyro's box, in one line: the complaint, the suggestion and where help is."""
    lines = [line.strip("│ ").strip() for line in box.splitlines() if not line.startswith(("╭", "╰"))]
    return re.sub(r" ?─+ ?", "; ", " ".join(filter(None, lines)))
