"""The command line: `tiepoint VERB ...`. One thin file a verb; nothing heavy is imported before a verb runs."""

import difflib
import importlib
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from tiepoint.allocator import keep_memory
from tiepoint.cli.output import drop, heard_alone, logged, say
from tiepoint.cli.parse import parse_and_run
from tiepoint.errors import InputError
from tiepoint.files import guarded

VERBS = {  # verb: (module of this package, what it does)
    "register": ("register", "Register one image to another, or many pairs: transform, tie points, pictures."),
    "match": ("match", "Match the keypoints of two images."),
    "data info": ("data.info", "Show what a PatchSet holds and verify it."),
    "data audit": ("data.audit", "Find leaks between splits, and labels that mislead."),
    "data colmap": ("data.colmap", "Build a PatchSet from COLMAP projects."),
    "data phototour": ("data.phototour", "Build a PatchSet from UBC PhotoTour or patches in its layout."),
    "data hpatches": ("data.hpatches", "Build a PatchSet from HPatches."),
    "data homography": ("data.homography", "Cut strips in the layout of HPatches from image sequences."),
    "data aligned": ("data.aligned", "Build a PatchSet from aligned images of two spectra."),
    "data import": ("data.published", "Build a PatchSet from a published cross-spectral patch set."),
    "data fetch": ("data.fetch", "Fetch, check and unpack a public data set."),
    "train": ("train", "Train a network by a recipe."),
    "evaluate verification": ("evaluate.verification", "Measure patch verification on a PatchSet: FPR95, ROC, AP."),
    "evaluate scenes": ("evaluate.scenes", "Measure describers by the scene protocol on COLMAP projects."),
    "evaluate phototour": ("evaluate.phototour", "Measure describers on PhotoTour: FPR95 of the six train/test pairs."),
    "evaluate hpatches": ("evaluate.hpatches", "Measure verification, matching and retrieval on HPatches."),
    "evaluate cross-spectral": ("evaluate.cross_spectral", "Measure patch matching across two spectra, by category."),
    "compare": ("compare", "Train several recipes under one budget and measure them alike."),
    "calibrate": ("calibrate", "Fit the verdict's weights to registrations with known truth."),
    "export onnx": ("export.onnx", "Write a describer or a relater as an ONNX file, checked against torch."),
    "export weights": ("export.weights", "Write a describer's weights for kornia or the authors' code."),
    "export colmap": ("export.colmap", "Match and verify a folder of images and write a COLMAP database."),
    "export hloc": ("export.hloc", "Describe and match a folder of images and write hloc's files."),
    "completion": ("completion", "Print a script that completes verbs and options in bash, zsh or fish."),
    "demo": ("demo", "Match and register a real stereo pair with known truth."),
}
GROUPS = tuple(dict.fromkeys(verb.split()[0] for verb in VERBS if " " in verb))  # data, evaluate, export
ASKS_HELP, ASKS_VERSION = ("-h", "--help"), ("-V", "--version")
LOUDER, QUIETER, REPLACING = ("-v", "--verbose"), ("-q", "--quiet"), "--overwrite"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code: 0 done, 1 not registered or a leak, 2 an unusable input, 130 interrupted.

    After SIGTERM, or a closed terminal, it cleans up as after Ctrl-C and returns 128 + the signal's number.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this; print would take the other one
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # of an encoding without lines and Greek
    try:
        return _answer(list(sys.argv[1:] if argv is None else argv))
    except BrokenPipeError:  # whoever read the output, such as `head`, has enough
        for stream in (sys.stdout, sys.stderr):
            drop(stream)
        return 141


def _answer(words: list[str]) -> int:
    level = logging.WARNING if {"--json", *QUIETER} & {*words} else logging.INFO
    if {*LOUDER} & {*words}:
        level = logging.DEBUG
    overwrite = REPLACING in words
    words = [word for word in words if word not in (*LOUDER, *QUIETER, REPLACING)]
    try:
        with _interrupted_by_signals(), heard_alone(others=level == logging.DEBUG), logged(level), guarded(overwrite):
            try:
                return _run(words)
            finally:  # also of help, which raises SystemExit
                _flush()
    except InputError as error:
        return _fail(str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}: free space, check the path and its rights, and run again")
    except KeyboardInterrupt as error:
        say("tiepoint: interrupted")
        if any(isinstance(number, int) for number in error.args):
            return 128 + int(error.args[0])
        return 130
    except Exception as error:
        if not (excuse := _excuse(error)):
            raise
        return _fail(excuse)


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt a command as Ctrl-C does, unless they are ignored or handled already."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one would interrupt the cleaning up
        raise KeyboardInterrupt(number)

    wanted = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    free = [number for number in wanted if number is not None and signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        free = []  # Python takes handlers from the main thread alone
    for number in free:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in free:
            signal.signal(number, signal.SIG_DFL)


def _run(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if not words or words[0] in ASKS_HELP:
        print(_overview(VERBS))
        return 0 if words else 2
    if words[0] in ASKS_VERSION:
        from tiepoint.version import __version__

        print(__version__)
        return 0
    if words[0] in GROUPS and (len(words) == 1 or words[1] in ASKS_HELP):
        print(_overview([verb for verb in VERBS if verb.split()[0] == words[0]], f" {words[0]}"))
        return 0 if len(words) > 1 else 2
    verb = next((verb for verb in VERBS if words[: len(verb.split())] == verb.split()), None)
    if verb is None:
        raise InputError(_no_verb(words))
    # Threads that spin while they wait make a busy machine ten times slower; read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    module = importlib.import_module(f"tiepoint.cli.{VERBS[verb][0]}")
    prog, arguments = f"tiepoint {verb}", words[len(verb.split()) :]
    if hasattr(module, "run_words"):
        return int(module.run_words(prog, arguments))
    return parse_and_run(module.main, prog, arguments, module.EXAMPLES)


def _no_verb(words: Sequence[str]) -> str:
    """What to say of a verb that there is not: the nearest one, or all."""
    firsts = list(dict.fromkeys(verb.split()[0] for verb in VERBS))
    first = next(iter(difflib.get_close_matches(words[0], firsts, n=1)), None)
    if first in GROUPS:
        seconds = [verb.split()[1] for verb in VERBS if verb.split()[0] == first]
        near = [f"{first} {second}" for second in difflib.get_close_matches(" ".join(words[1:2]), seconds, n=1)]
        said, there_are = " ".join(words[:2]), [f"{first} {second}" for second in seconds]
    else:
        near = [first] if first else [verb for verb in VERBS if words[0] in verb.split()]
        said, there_are = words[0], list(VERBS)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(there_are)}"
    return f"there is no verb {said!r}: {hint} `tiepoint help` lists the verbs"


def _fail(message: str) -> int:
    message = re.sub(r"\s*\n\s*", " ", message.strip())
    say(f"tiepoint: error: {message}")
    return 2


def _excuse(error: Exception) -> str:
    """What to say of an error of a library that is no fault of this package; nothing of another."""
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return f"{error.object}: is no UTF-8, which a library that is needed here takes alone: rename it"
    if isinstance(error, MemoryError) or re.search("out of memory|allocate memory|Insufficient memory", str(error)):
        return "the memory is full: give smaller images, tiles or batches, or close other programs"
    return ""


def _flush() -> None:
    """Let output that cannot be written raise here: the interpreter, as it ends, would say so by a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        drop(sys.stdout)
        raise


def _overview(verbs: Sequence[str] | dict[str, tuple[str, str]], group: str = "") -> str:
    width = max(map(len, verbs))
    rows = [f"  {verb:<{width}}  {VERBS[verb][1]}" for verb in verbs]
    ending = "`tiepoint help VERB` explains a verb. Every verb takes --json, -v, -q and --overwrite."
    return "\n".join([f"usage: tiepoint{group} VERB ...", "", *rows, "", ending])
