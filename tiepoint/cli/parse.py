"""Command lines parsed by tyro, its complaints made one line.

How a verb is written. Its module, which the table of `tiepoint.cli` names, holds two names:

- `main`, a function of typed parameters that returns the exit code, or None for 0. Its docstring is the help: what the
  verb does, in complete sentences, then `Args:` with one sentence or more for each parameter that `SHARED` does not
  explain. Parameters before the `/` are positional (`tyro.conf.Positional[Path]`). The five most used options are
  parameters of `main` itself and come first. All others lie in frozen dataclasses, such as those of options.py, one
  parameter each: `detection: Detection = Detection()` shows the fields of `Detection` as a box "detection options",
  headed by the class's docstring, and each field by the docstring below it. The flag is `--max-keypoints`, without a
  prefix, so names of fields must differ between the classes of one verb.
- `EXAMPLES`, two or more: what follows the verb, and what it does; they end the help.

A verb that must look at its words before they are parsed, as `train` does, holds `run_words(prog, words)` in place of
`main` and calls `parse` itself. `-v`, `-q` and `--overwrite` are taken off before: log by
`logging.getLogger("tiepoint...")`, and say what was written and what may come next by `tiepoint.cli.output.note`;
neither appears beside --json. What the parameters of `OUTPUTS` name is checked before `main` is called; all
else that a verb writes it names to `tiepoint.files.check_outputs` before its work. It writes result.json first.
"""

import contextlib
import difflib
import functools
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from tiepoint.errors import InputError
from tiepoint.files import check_outputs, protect

T = TypeVar("T")
Examples = Mapping[str, str]
EVERY_VERB = {
    "-v, --verbose": "Also say which files, devices and stages are at work, on standard error.",
    "-q, --quiet": "Show no progress and no notes.",
    "--overwrite": "Replace files that tiepoint did not write; inputs are never replaced.",
}
OUTPUTS = ("plot", "page", "sheet")  # parameters that hold a file to write
OTHER_OUTPUTS = ("out", "report", "warp_output")  # those that may be a folder, or of many pairs a name
SHARED = {  # what several verbs say of a parameter; one that says it otherwise does so in its docstring
    "describer": "Name or path of a describer.",
    "device": "Where the models compute: auto, cpu, cuda or mps.",
    "json": "Print one JSON object.",
    "licence": "Licence of the set, recorded in the manifest.",
    "out": "Folder to write. It must not exist.",
}


def parse_and_run(main: Callable[..., int | None], prog: str, arguments: Sequence[str], examples: Examples) -> int:
    """Call a verb's `main` with the arguments of the command line and return its exit code."""

    @functools.wraps(main)
    def bind(*args: Any, **kwargs: Any) -> Callable[[], int | None]:
        return functools.partial(main, *args, **kwargs)

    import tyro

    short = (tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)
    call = parse(bind, prog, arguments, examples, config=short)
    given = [*_paths("", getattr(call, "args", ())), *_paths("", getattr(call, "keywords", {}))]
    protect(*(path for name, path in given if name not in (*OUTPUTS, *OTHER_OUTPUTS)))
    check_outputs(*(path for name, path in given if name in OUTPUTS))
    return call() or 0


def _paths(name: str, value: Any) -> Iterator[tuple[str, str | Path]]:
    """The words and paths in what a verb was given, with the name of the parameter or field that holds each."""
    if isinstance(value, str | Path):
        yield name, value
    elif isinstance(value, Mapping) or is_dataclass(value):
        for key, held in (value if isinstance(value, Mapping) else vars(value)).items():
            yield from _paths(key, held)
    elif isinstance(value, tuple | list):
        for held in value:
            yield from _paths(name, held)


def parse(target: Callable[..., T], prog: str, arguments: Sequence[str], examples: Examples, **options: Any) -> T:
    """Build `target` from the command line's arguments. What tyro says of a wrong one becomes an InputError.

    Help is printed with the examples at its end, which follow the verb.

    Raises:
        SystemExit: the help was asked for and has been printed.
        InputError: an unknown option, with the nearest that there is; a missing or a wrong value.
    """
    import tyro

    complaint = io.StringIO()
    try:
        with _docstrings_completed(), contextlib.redirect_stderr(complaint):
            parsed: T = tyro.cli(target, prog=prog, args=arguments, **options)
            return parsed
    except SystemExit as stop:
        if stop.code in (0, None):
            print(_ending(prog, examples))
            raise
    known = flags(help_text(lambda: tyro.cli(target, prog=prog, args=["--help"], **options)))
    for word in arguments:
        flag = word.partition("=")[0].replace("_", "-")
        if re.match(r"--?[A-Za-z]", word) and flag not in known:
            near = difflib.get_close_matches(flag, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"there is no option {word.partition('=')[0]}: {hint}`{prog} --help` lists the options")
    raise InputError(_one_line(complaint.getvalue()))


@contextlib.contextmanager
def _docstrings_completed() -> Iterator[None]:
    """Let functions say what SHARED does, and all docstrings be one paragraph a parameter: tyro breaks it at a line."""
    import docstring_parser

    def completing(read: Callable[..., Any], shared: Mapping[str, str]) -> Callable[..., Any]:
        def read_completed(source: object) -> Any:
            docstring = read(source)
            for name in shared.keys() - {parameter.arg_name for parameter in docstring.params}:
                docstring.meta.append(docstring_parser.DocstringParam([], shared[name], name, None, None, None))
            for parameter in docstring.params:
                parameter.description = " ".join((parameter.description or "").split())
            return docstring

        return read_completed

    before = docstring_parser.parse, docstring_parser.parse_from_object
    try:
        docstring_parser.parse = completing(before[0], SHARED)
        docstring_parser.parse_from_object = completing(before[1], {})
        yield
    finally:
        docstring_parser.parse, docstring_parser.parse_from_object = before


def flags(text: str) -> list[str]:
    """The flags that a help lists, in its order, and those of every verb."""
    rows = [line[2:].split("  ")[0] for line in text.splitlines() if re.match(r"[│ ] --?[A-Za-z]", line)]
    found = re.findall(r"(?<![\w-])--?[A-Za-z][\w.-]*", " ".join([*rows, *EVERY_VERB]))
    return list(dict.fromkeys(found))


def help_text(show: Callable[[], object]) -> str:
    """What `show` prints before it exits, in one column of boxes."""
    text, before = io.StringIO(), {name: value for name, value in os.environ.items() if name == "COLUMNS"}
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            show()
    finally:
        del os.environ["COLUMNS"]
        os.environ.update(before)
    return text.getvalue()


def _ending(prog: str, examples: Examples) -> str:
    verb = prog.removesuffix(" RECIPE")  # the argument that `train` takes off by itself
    lines = ["Every verb takes", *(f"  {flag:<15}  {text}" for flag, text in EVERY_VERB.items()), "", "Examples"]
    for words, what in examples.items():
        lines += [f"  # {what}", f"  {verb} {words}".rstrip()]
    return "\n".join(lines)


def _one_line(box: str) -> str:
    """The text inside tyro's box, in one line: the complaint, the suggestion and where help is."""
    lines = [line.strip("│ ").strip() for line in box.splitlines() if not line.startswith(("╭", "╰"))]
    return re.sub(r" ?─+ ?", "; ", " ".join(filter(None, lines)))
