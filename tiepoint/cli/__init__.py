"""The command line: `tiepoint VERB ...`. One thin file a verb; nothing heavy is imported before a verb runs."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tiepoint.allocator import keep_memory
from tiepoint.cli.parse import parse
from tiepoint.errors import InputError

Main = Callable[..., int]
Run = Callable[[str, Sequence[str]], int]  # program name, arguments -> exit code


def _data_info() -> Run:
    from tiepoint.cli.data.info import main

    return functools.partial(_parse_and_run, main)


def _data_audit() -> Run:
    from tiepoint.cli.data.audit import main

    return functools.partial(_parse_and_run, main)


def _data_colmap() -> Run:
    from tiepoint.cli.data.colmap import main

    return functools.partial(_parse_and_run, main)


def _data_phototour() -> Run:
    from tiepoint.cli.data.phototour import main

    return functools.partial(_parse_and_run, main)


def _data_hpatches() -> Run:
    from tiepoint.cli.data.hpatches import main

    return functools.partial(_parse_and_run, main)


def _data_homography() -> Run:
    from tiepoint.cli.data.homography import main

    return functools.partial(_parse_and_run, main)


def _data_pairs() -> Run:
    from tiepoint.cli.data.pairs import main

    return functools.partial(_parse_and_run, main)


def _data_cross() -> Run:
    from tiepoint.cli.data.cross import main

    return functools.partial(_parse_and_run, main)


def _data_fetch() -> Run:
    from tiepoint.cli.data.fetch import main

    return functools.partial(_parse_and_run, main)


def _train() -> Run:
    from tiepoint.cli.train import run

    return run


def _evaluate_pairs() -> Run:
    from tiepoint.cli.evaluate.pairs import main

    return functools.partial(_parse_and_run, main)


def _evaluate_scenes() -> Run:
    from tiepoint.cli.evaluate.scenes import main

    return functools.partial(_parse_and_run, main)


def _evaluate_phototour() -> Run:
    from tiepoint.cli.evaluate.phototour import main

    return functools.partial(_parse_and_run, main)


def _evaluate_hpatches() -> Run:
    from tiepoint.cli.evaluate.hpatches import main

    return functools.partial(_parse_and_run, main)


def _evaluate_cross_spectral() -> Run:
    from tiepoint.cli.evaluate.cross_spectral import main

    return functools.partial(_parse_and_run, main)


def _compare() -> Run:
    from tiepoint.cli.compare import main

    return functools.partial(_parse_and_run, main)


def _match() -> Run:
    from tiepoint.cli.match import main

    return functools.partial(_parse_and_run, main)


def _register() -> Run:
    from tiepoint.cli.register import main

    return functools.partial(_parse_and_run, main)


def _export_onnx() -> Run:
    from tiepoint.cli.export.onnx import main

    return functools.partial(_parse_and_run, main)


def _export_colmap() -> Run:
    from tiepoint.cli.export.colmap import main

    return functools.partial(_parse_and_run, main)


def _export_hloc() -> Run:
    from tiepoint.cli.export.hloc import main

    return functools.partial(_parse_and_run, main)


def _demo() -> Run:
    from tiepoint.cli.demo import main

    return functools.partial(_parse_and_run, main)


VERBS: dict[str, tuple[Callable[[], Run], str]] = {
    "register": (_register, "register image A to image B, or many pairs: transform, tie points, pictures"),
    "match": (_match, "match the keypoints of two images"),
    "data info": (_data_info, "show and verify a PatchSet"),
    "data audit": (_data_audit, "find leaks between splits, and labels that mislead"),
    "data colmap": (_data_colmap, "build a PatchSet from COLMAP projects"),
    "data phototour": (_data_phototour, "build a PatchSet from UBC PhotoTour or patches in its layout"),
    "data hpatches": (_data_hpatches, "build a PatchSet from HPatches"),
    "data homography": (_data_homography, "cut strips in the layout of HPatches from image sequences"),
    "data pairs": (_data_pairs, "build a PatchSet from aligned images of two spectra"),
    "data cross": (_data_cross, "build a PatchSet from a published cross-spectral patch set"),
    "data fetch": (_data_fetch, "fetch and check a public data set"),
    "train": (_train, "train a network by a recipe"),
    "evaluate pairs": (_evaluate_pairs, "patch verification on a PatchSet: FPR95, ROC, AP"),
    "evaluate scenes": (_evaluate_scenes, "the scene protocol on COLMAP projects"),
    "evaluate phototour": (_evaluate_phototour, "FPR95 on PhotoTour, six train/test pairs; brown_phototour_revisited"),
    "evaluate hpatches": (_evaluate_hpatches, "verification, matching and retrieval on HPatches"),
    "evaluate cross-spectral": (_evaluate_cross_spectral, "patch matching across two spectra: FPR95 by category, ECE"),
    "compare": (_compare, "train several recipes under one budget and measure them alike"),
    "export onnx": (_export_onnx, "a describer or a relater as an ONNX file, checked against torch"),
    "export colmap": (_export_colmap, "a folder of images, matched and verified, as a COLMAP database"),
    "export hloc": (_export_hloc, "a folder of images, described and matched, in hloc's files"),
    "demo": (_demo, "match and register a real stereo pair with known truth"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code: 0 done, 1 not registered or a leak, 2 an unusable input, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else 2
    if words[0] == "--version":
        from tiepoint.version import __version__

        print(__version__)
        return 0
    verb = next((v for v in VERBS if words[: len(v.split())] == v.split()), None)
    if verb is None:
        return _fail(f"no verb {' '.join(words[:2])!r}: there are {', '.join(VERBS)}")
    # Threads that spin while they wait make a busy machine ten times slower; read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    try:
        return VERBS[verb][0]()(f"tiepoint {verb}", words[len(verb.split()) :])
    except InputError as error:
        return _fail(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}: free space, check the path and its rights, and run again")
    except KeyboardInterrupt:
        print("tiepoint: interrupted", file=sys.stderr)
        return 130


def _parse_and_run(verb: Main, prog: str, arguments: Sequence[str]) -> int:
    @functools.wraps(verb)
    def bind(*args: Any, **kwargs: Any) -> Callable[[], int]:
        return functools.partial(verb, *args, **kwargs)

    return parse(bind, prog, arguments)()


def _fail(message: str) -> int:
    print(f"tiepoint: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _overview() -> str:
    width = max(map(len, VERBS))
    rows = [f"  {verb:<{width}}  {text}" for verb, (_, text) in VERBS.items()]
    return "\n".join(
        ["usage: tiepoint VERB ...", "", *rows, "", "`tiepoint VERB --help` explains a verb. Every verb takes --json."]
    )
