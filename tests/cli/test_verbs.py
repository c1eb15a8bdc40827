"""The table of verbs, their helps, and what is said of a verb or an option that there is not."""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import pytest
from synthetic import smooth_texture

from tiepoint.cli import GROUPS, VERBS, main
from tiepoint.cli.parse import flags
from tiepoint.errors import InputError
from tiepoint.version import __version__


def help_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--help"])
    assert stopped.value.code in (0, None)
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_a_module_a_docstring_and_examples_that_its_help_explains(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"tiepoint.cli.{VERBS[verb][0]}")
    assert module.__doc__ is not None
    assert hasattr(module, "run_words") or module.main.__doc__
    text = help_of(verb.split(), capsys)
    assert len(module.EXAMPLES) >= 2
    known = flags(text)
    for words, what in module.EXAMPLES.items():
        assert f"  # {what}\n  tiepoint {verb} {words}".rstrip() in text
        assert what.endswith(".")
        assert {word for word in shlex.split(words) if word.startswith("--")} <= {*known}
    assert {"--verbose", "--quiet", "--json"} <= {*known}


def test_help_of_a_verb_is_the_verbs_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["help", "data", "info"])
    assert capsys.readouterr().out == help_of(["data", "info"], capsys)


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"], []])
def test_the_overview_lists_every_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == (0 if words else 2)
    listed = re.findall(r"^  (\S+(?: \S+)?)  ", capsys.readouterr().out, re.MULTILINE)
    assert listed == list(VERBS)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_lists_its_verbs(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, code in (([group, "--help"], 0), (["help", group], 0), ([group], 2)):
        assert main(words) == code
        out = capsys.readouterr().out
        assert {verb for verb in VERBS if f"  {verb} " in out} == {v for v in VERBS if v.startswith(f"{group} ")}


@pytest.mark.parametrize("word", ["-V", "--version"])
def test_the_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("regsiter a b", "there is no verb 'regsiter': did you mean register?"),
        ("help mtach", "there is no verb 'mtach': did you mean match?"),
        ("data inof patches", "there is no verb 'data inof': did you mean data info?"),
        ("exprot onnx sdgmnet", "there is no verb 'exprot onnx': did you mean export onnx?"),
        ("onnx sdgmnet", "there is no verb 'onnx': did you mean export onnx?"),
        ("data zzz", "there is no verb 'data zzz': there are data info, "),
        ("zzz", "there is no verb 'zzz': there are register, match, "),
        ("register a b --ouput x", "there is no option --ouput: did you mean --out?"),
        ("register a b --max_keypoint=3", "there is no option --max_keypoint: did you mean --max-keypoints?"),
        ("data info patches --quite", "there is no option --quite: did you mean --quiet?"),
        ("data info patches --zzzzz", "there is no option --zzzzz: `tiepoint data info --help` lists the options"),
        ("train --loss.memry 3", "there is no option --loss.memry: did you mean --loss.memory?"),
    ],
)
def test_a_wrong_word_is_named_with_the_nearest(command: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_an_option_of_underscores_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["register", "a", "b", "--max_keypoints", "few"]) == 2
    assert "Error parsing --max-keypoints" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "logged"),
    [
        ([], ["note"]),
        (["-q"], []),
        (["--json"], []),
        (["-v"], ["note", "detail"]),
        (["-v", "--json"], ["note", "detail"]),
    ],
)
def test_how_much_is_said(
    words: list[str], logged: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tiepoint.cli.data import info
    from tiepoint.cli.output import LOG, note

    def verb(*, json: bool = False) -> int:
        """Do nothing.

        Args:
            json: print an object
        """
        LOG.debug("detail")
        note(then="note")
        print("{}")
        return 0

    monkeypatch.setattr(info, "main", verb)
    handlers = list(LOG.handlers)
    assert main(["data", "info", *words]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {}
    said = captured.err.replace("next: ", "").split()
    assert sorted(said) == sorted(logged)
    assert LOG.handlers == handlers


@pytest.mark.parametrize("words", [[], ["-v"]])
def test_what_libraries_say_by_themselves_is_heard_with_verbose_alone(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tiepoint.cli.data import info

    def verb() -> int:
        """Do what libpng, torch and rasterio do."""
        os.write(2, b"libpng error: IDAT: CRC error\n")
        warnings.warn("deprecated", UserWarning, stacklevel=1)
        logging.getLogger("foreign").warning("GDAL")
        raise InputError("x [/b]\n\x1b[1m: cannot be\n  read")

    monkeypatch.setattr(info, "main", verb)
    monkeypatch.setattr(info, "EXAMPLES", {})
    handlers = list(logging.getLogger().handlers)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert main(["data", "info", *words]) == 2
    *said, last = capfd.readouterr().err.splitlines()
    assert last == r"tiepoint: error: x [/b] \x1b[1m: cannot be read"
    assert ("libpng error: IDAT: CRC error" in said) == (words == ["-v"])
    assert len(warned) == (words == ["-v"])
    if not words:
        assert said == []
    assert logging.getLogger().handlers == handlers
    os.write(2, b"heard again\n")
    assert capfd.readouterr().err == "heard again\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UnicodeEncodeError("utf-8", "caf\udce9", 3, 4, "surrogates not allowed"), r"caf\udce9: is no UTF-8, which"),
        (MemoryError(), "the memory is full"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes.\nBuy more"),
            "the memory is full",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 MiB"), "the memory is full"),
    ],
)
def test_what_no_code_can_mend_is_one_line(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tiepoint.cli.data import info

    def verb() -> int:
        """Fail."""
        raise error

    monkeypatch.setattr(info, "main", verb)
    assert main(["data", "info"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"tiepoint: error: {said}")
    assert line.count("\n") == 1


def test_an_unexpected_error_is_a_defect_and_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from tiepoint.cli.data import info

    def verb() -> int:
        """Fail."""
        raise RuntimeError("defect")

    monkeypatch.setattr(info, "main", verb)
    with pytest.raises(RuntimeError, match="defect"):
        main(["data", "info"])


def test_names_in_tables_are_neither_markup_nor_emoji_nor_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tiepoint.cli.output import publish

    publish(
        {},
        False,
        [("t [/i]", ("a", "[b]"), [["x[/red].png", ":smile:"], ["caf\udce9", "\x1b[31m\n\u202e"]])],
        ["[/c]\x07"],
    )
    out = capsys.readouterr().out
    for text in ("t [/i]", "[b]", "x[/red].png", ":smile:", r"caf\udce9", r"\x1b[31m\n\u202e", r"[/c]\x07"):
        assert text in out


def shell(command: str) -> subprocess.CompletedProcess[bytes]:
    """`command` in a shell, in which `t` is tiepoint."""
    script = f't() {{ "$PYTHON" -m tiepoint "$@"; }}; {command}'
    return subprocess.run(["sh", "-c", script], capture_output=True, env={**os.environ, "PYTHON": sys.executable})


@pytest.mark.whole
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("t help >/dev/full", 2, b"tiepoint: error: No space left on device: free space, check the path"),
        ("t help >&-", 0, b""),
        ("t register gone a 2>&-", 2, b""),
        ("t register gone a 2>/dev/full", 2, b""),
    ],
)
def test_output_that_cannot_be_written_is_said_in_one_line_or_nowhere(command: str, code: int, said: bytes) -> None:
    finished = shell(command)
    assert (finished.returncode, finished.stdout) == (code, b"")
    assert finished.stderr.startswith(said)
    assert finished.stderr.count(b"\n") == bool(said)


@pytest.mark.whole
@pytest.mark.parametrize(
    ("words", "stream"), [(["help"], "stdout"), (["data", "info", "--help"], "stdout"), (["data", "gone"], "stderr")]
)
def test_a_reader_that_has_enough_is_no_error(words: list[str], stream: str) -> None:
    read, write = os.pipe()
    os.close(read)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: write}
    finished = subprocess.run([sys.executable, "-m", "tiepoint", *words], **pipes)  # type: ignore[call-overload]
    os.close(write)
    assert finished.returncode == 141
    assert not finished.stderr
    assert not finished.stdout


def test_verbose_names_files_and_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(tmp_path / f"{name}.png") for name in "ab"]
    for file in files:
        cv2.imwrite(file, smooth_texture(120, seed=1))
    words = ["match", *files, "--describer", "sift", "--max-keypoints", "20", "--out", str(tmp_path / "out")]
    assert main([*words, "--verbose", "--json"]) == 0
    captured = capsys.readouterr()
    json.loads(captured.out)
    lines = captured.err.splitlines()
    assert {f"read {file}: (120, 120), uint8" for file in files} <= {*lines}
    assert f"wrote {tmp_path / 'out' / 'result.json'}" in lines
    assert any(re.fullmatch(r"matching: \d+\.\d\d s", line) for line in lines)
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
