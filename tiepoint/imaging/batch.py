"""Many pairs registered, one folder each: failures recorded, runs resumed, images described once."""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import time
import traceback
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tiepoint import __version__
from tiepoint.errors import InputError
from tiepoint.files import write_json, write_text
from tiepoint.imaging.describe import describe
from tiepoint.imaging.feature_cache import FeatureCache, digest, digest_file
from tiepoint.imaging.match import Progress
from tiepoint.imaging.pairs import Pair, check_names
from tiepoint.imaging.register import Registration, register
from tiepoint.imaging.report import write_report
from tiepoint.imaging.summary import Row, write_summary
from tiepoint.imaging.tables import write_csv
from tiepoint.lock import locked
from tiepoint.models import Describer, load_describer, load_relater, weights_path

RESULT, POINTS, CRASH = "result.json", "tie_points.csv", "error.txt"
EVERY = 5.0  # seconds between two summaries: with thousands of pairs each takes long to write
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
TRIAL = "trial image"


def register_many(
    pairs: Sequence[Pair],
    out: str | Path,
    describer: str | Path = "sdgmnet",
    *,
    report: str | None = None,
    workers: int = 1,
    cache: bool = True,
    progress: Progress | None = None,
    **settings: Any,
) -> list[Row]:
    """Register image a of each pair to its image b.

    OUT/NAME gets result.json (`Registration.to_json`, and what it was made from), tie_points.csv and, where wanted, a
    report; OUT gets summary.csv and summary.json, rewritten as it goes. A pair whose result is there, made from the
    same files with the same settings, weights and version, is not done again. One that fails for whatever reason is a
    row with its error, tried again in the next run; a crash leaves its traceback in OUT/NAME/error.txt.

    Args:
        pairs: see `tiepoint.imaging.pairs`.
        out: folder of the results, which one run at a time writes to.
        describer: a name or a path.
        report: file name of a page of HTML in each pair's folder, see `tiepoint.imaging.report`; none without it.
        workers: pairs at a time, in threads that share the models; each holds its images in memory.
        cache: keep features in OUT/.cache, about 4.5 MB for 8,000 keypoints of 128 numbers; it may be deleted.
        progress: called with pairs done and their number.
        settings: further arguments of `register`.

    Returns:
        A row for each pair, in their order.

    Raises:
        InputError: no pairs, names that are not unique, settings that no pair could be registered with, a folder that
            another run writes to.
        OSError: a disk that is full, a folder without rights. What was done before is kept, as after an interruption.
        TypeError: a setting that `register` does not have.
    """
    out = Path(out)
    if not pairs:
        raise InputError("there are no pairs: give at least one")
    if workers < 1:
        raise InputError(f"workers is {workers}: give a positive number")
    if report is not None and (Path(report).name != report or report in (RESULT, POINTS, CRASH)):
        raise InputError(f"report is {report}: of many pairs give a file name alone, such as report.html")
    check_names(pairs)
    if any(image is not None and image.parent.resolve() == out.resolve() for p in pairs for image in (p.a, p.b)):
        raise InputError(f"{out} holds the images: name another folder for the results")
    job = _prepare(out, describer, settings, report, cache)
    rows: dict[int, Row] = {}
    written = -EVERY
    with locked(out):
        try:
            with contextlib.closing(_run(job, pairs, workers)) as finished:
                for index, row in finished:
                    rows[index] = row
                    if progress:
                        progress(len(rows), len(pairs))
                    if time.monotonic() - written > EVERY:
                        write_summary(out, [rows[k] for k in sorted(rows)], len(pairs))
                        written = time.monotonic()
        except BaseException:
            with contextlib.suppress(OSError):  # of a full disk is told already
                write_summary(out, [rows[k] for k in sorted(rows)], len(pairs))
            raise
        found = [rows[k] for k in sorted(rows)]
        write_summary(out, found, len(pairs))
    return found


@dataclass
class _Job:
    """What all pairs share; `made_with` is what a result depends on besides the images."""

    out: Path
    describer: Describer
    settings: dict[str, Any]
    report: str | None
    cache: FeatureCache
    made_with: dict[str, Any]
    digests: dict[Path, str] = field(default_factory=dict)

    def run(self, pair: Pair) -> Row:
        """Do a pair, or take what an earlier run did. Raises OSError where results cannot be written, nothing else."""
        start = time.perf_counter()
        try:
            return self._done(pair, start)
        except Exception as error:
            if isinstance(error, OSError) and self._is_ours(error):
                raise
            self._clear(pair)
            if not isinstance(error, InputError):
                write_text(self.out / pair.name / CRASH, traceback.format_exc())
            said = " ".join(str(error).split())
            return Row.failed(pair, f"{type(error).__name__}: {said}", round(time.perf_counter() - start, 3))

    def _done(self, pair: Pair, start: float) -> Row:
        if pair.problem or pair.a is None or pair.b is None:
            raise InputError(pair.problem or "an image is missing")
        contents = self._digest(pair.a), self._digest(pair.b)
        made_from = {"a": contents[0], "b": contents[1], **self.made_with}
        if (kept := self._kept(pair, made_from)) is not None:
            return kept
        first, second = (self.cache.features(p, c) for p, c in zip((pair.a, pair.b), contents, strict=True))
        found = register(first, second, self.describer, **self.settings)
        result = {
            "name": pair.name, "a": str(pair.a), "b": str(pair.b), "seconds": round(time.perf_counter() - start, 3),
            **found.to_json(), "made_from": made_from,
        }  # fmt: skip
        self._write(pair, found, result)
        return Row.of(pair, result)

    def _digest(self, path: Path) -> str:
        if path not in self.digests:
            self.digests[path] = digest_file(path)
        return self.digests[path]

    def _kept(self, pair: Pair, made_from: dict[str, Any]) -> Row | None:
        folder = self.out / pair.name
        try:
            result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
            whole = all((folder / name).is_file() for name in (POINTS, self.report) if name is not None)
            return Row.of(pair, result, reused=True) if whole and result["made_from"] == made_from else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, pair: Pair, found: Registration, result: dict[str, Any]) -> None:
        """The result last: it says that the rest is there."""
        assert pair.a is not None
        assert pair.b is not None
        folder = self.out / pair.name
        self._clear(pair)
        write_csv(folder / POINTS, found)
        if self.report is not None:
            write_report(found, pair.a, pair.b, folder / self.report, title=pair.name)
        write_json(folder / RESULT, result)

    def _clear(self, pair: Pair) -> None:
        for name in (RESULT, POINTS, CRASH, self.report):
            if name is not None:
                (self.out / pair.name / name).unlink(missing_ok=True)

    def _is_ours(self, error: OSError) -> bool:
        """Whether results cannot be written, which the other pairs would meet too."""
        place = None if error.filename is None else Path(str(error.filename)).resolve()
        return error.errno in FULL or (place is not None and place.is_relative_to(self.out.resolve()))


def _prepare(out: Path, describer: str | Path, settings: dict[str, Any], report: str | None, cache: bool) -> _Job:
    """Load the models and try the settings. Raises InputError, TypeError."""
    takes = {k: p.default for k, p in inspect.signature(register).parameters.items() if p.kind is p.KEYWORD_ONLY}
    del takes["progress"]
    if unknown := settings.keys() - takes.keys():
        raise TypeError(f"register_many() got an unexpected keyword argument {sorted(unknown)[0]!r}")
    settings = takes | settings
    model = load_describer(describer)
    plain = settings | {"describer": _weights(describer, model.name)}
    if (relater := settings["relater"]) is not None:
        settings["relater"] = load_relater(relater)
        plain["relater"] = _weights(relater, settings["relater"].name)
    described = {k: v for k, v in settings.items() if k in inspect.signature(describe).parameters}
    _try(model, described, settings)
    key = {"tiepoint": __version__, "describer": plain["describer"], **described}
    made_with = json.loads(json.dumps({"tiepoint": __version__, "settings": plain}, sort_keys=True))
    features = FeatureCache(out / ".cache" if cache else None, model, described, key)
    return _Job(out, model, settings, report, features, made_with)


def _weights(name_or_path: str | Path, name: str) -> dict[str, str]:
    """What tells a model from others: its name, and its weights and card if it has them."""
    path = weights_path(name_or_path)
    files = [file for file in (path, path.with_suffix(".json")) if file.is_file()]
    return {"name": name, **({"weights": digest("".join(map(digest_file, files)).encode())} if files else {})}


def _try(model: Describer, described: dict[str, Any], settings: dict[str, Any]) -> None:
    """Raise the InputError of settings that fit no pair, before the first pair."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32), (0, 0), 2)
    image = np.asarray((128 + 50 * noise / noise.std()).clip(0, 255).astype(np.uint8))
    try:
        features = describe(image, model, name=TRIAL, **described)
    except InputError as error:
        if str(error).startswith(TRIAL):  # the settings may suit real images
            return
        raise
    try:
        register(features, features, model, **settings)
    except InputError:
        raise
    except Exception:  # a crash is each pair's own to record
        return


def _run(job: _Job, pairs: Sequence[Pair], workers: int) -> Generator[tuple[int, Row], None, None]:
    """Yield each pair's place and row as they are done. Closed early, it starts no further pair."""
    if workers == 1:
        for index, pair in enumerate(pairs):
            yield index, job.run(pair)
        return
    pool = ThreadPoolExecutor(workers)
    try:
        futures = {pool.submit(job.run, pair): index for index, pair in enumerate(pairs)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # pairs begun are finished
