"""Many pairs registered, one folder each: failures recorded, runs resumed, images described once."""

from __future__ import annotations

import contextlib
import errno
import json
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiepoint.batch.pair_list import Pair, check_names
from tiepoint.batch.settings import resolve
from tiepoint.batch.summary import Row, write_summary
from tiepoint.errors import InputError
from tiepoint.export.geotiff import check_warped, write_warped
from tiepoint.export.points import write_csv
from tiepoint.features.cache import FeatureCache, digest_file
from tiepoint.files import locked, write_json, write_text
from tiepoint.matching.bands import Band
from tiepoint.models.describer import Describer
from tiepoint.registration.large import Large, by_windows, pictured, register_large, unsuited
from tiepoint.registration.register import register
from tiepoint.registration.result import Registration
from tiepoint.registration.verdict import WEIGHTS as VERDICT
from tiepoint.report import write_report
from tiepoint.types import Progress
from tiepoint.version import __version__

RESULT, POINTS, CRASH = "result.json", "tie_points.csv", "error.txt"
EVERY = 5.0  # seconds between two summaries: with thousands of pairs each takes long to write
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
Export = Callable[[Path, Registration], object]


def register_many(
    pairs: Sequence[Pair],
    out: str | Path,
    describer: str | Path = "sdgmnet",
    *,
    report: str | None = None,
    warped: str | None = None,
    export: Export | None = None,
    large: Large = "auto",
    workers: int = 1,
    cache: bool = True,
    progress: Progress | None = None,
    **settings: Any,
) -> list[Row]:
    """Register image a of each pair to its image b.

    OUT/NAME gets result.json (`Registration.to_json`, and what it was made from), tie_points.csv and, where wanted, a
    report and the warped image; OUT gets summary.csv and summary.json, rewritten as it goes. A pair whose result is
    there, made from the same files with the same settings, weights, verdict and version, is not done again. One that
    fails for whatever reason is a row with its error, tried again in the next run; a crash leaves its traceback in
    OUT/NAME/error.txt.

    Args:
        pairs: see `tiepoint.batch.pair_list`.
        out: folder of the results, which one run at a time writes to.
        describer: a name or a path.
        report: file name of a page of HTML in each pair's folder, see `tiepoint.report`; none without it.
        warped: file name, .tif, of image a on the grid of b in each accepted pair's folder, see
            `tiepoint.export.geotiff`; none without it.
        export: called with each pair's folder and its registration before the result is written: writes further files,
            named tie_points and a suffix.
        large: which pairs are read in windows and registered by `register_large`: see `by_size.by_windows`.
        workers: pairs at a time, in threads that share the models; each holds its images in memory.
        cache: keep features in OUT/.cache, about 4.5 MB for 8,000 keypoints of 128 numbers; it may be deleted. None are
            kept of images read in windows, and of upright patches, whose turn is the pair's.
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
    _check_name("report", report, "report.html")
    _check_name("warped", warped, "warped.tif")
    if warped is not None:
        if warped == report:
            raise InputError(f"report and warped are {report} both: give two file names")
        check_warped(warped, settings.get("model", "auto"))
    check_names(pairs)
    if any(image is not None and image.parent.resolve() == out.resolve() for p in pairs for image in (p.a, p.b)):
        raise InputError(f"{out} holds the images: name another folder for the results")
    job = _prepare(out, describer, settings, _Files(report, warped, export), large, cache)
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


@dataclass(frozen=True)
class _Files:
    """What a pair's folder holds besides the result and the tie points; see `register_many`."""

    report: str | None
    warped: str | None
    export: Export | None


@dataclass
class _Job:
    """What all pairs share; `made_with` is what a result depends on besides the images."""

    out: Path
    describer: Describer
    settings: dict[str, Any]
    bands: tuple[Band, Band]
    files: _Files
    large: Large
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
        windows = by_windows(pair.a, pair.b, self.large, self.settings)
        made_from = {"a": contents[0], "b": contents[1], "windows": windows, **self.made_with}
        if (kept := self._kept(pair, made_from)) is not None:
            return kept
        if windows:
            found = register_large(pair.a, pair.b, self.describer, band=self.bands, **self.settings)
        else:
            first = self.cache.features(pair.a, contents[0], self.bands[0])
            second = self.cache.features(pair.b, contents[1], self.bands[1])
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
            names = POINTS, self.files.report, self.files.warped if result["matrix"] else None
            whole = all((folder / name).is_file() for name in names if name is not None)
            return Row.of(pair, result, reused=True) if whole and result["made_from"] == made_from else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, pair: Pair, found: Registration, result: dict[str, Any]) -> None:
        """The result last: it says that the rest is there."""
        assert pair.a is not None
        assert pair.b is not None
        folder = self.out / pair.name
        self._clear(pair)
        if self.files.export is not None:
            self.files.export(folder, found)
        write_csv(folder / POINTS, found)
        if self.files.report is not None:
            first, second, shown = pictured(found, pair.a, pair.b, self.bands)
            write_report(shown, first, second, folder / self.files.report, title=pair.name)
        if self.files.warped is not None and found.accepted:
            write_warped(folder / self.files.warped, pair.a, found)
        write_json(folder / RESULT, result)

    def _clear(self, pair: Pair) -> None:
        folder = self.out / pair.name
        named = (RESULT, CRASH, self.files.report, self.files.warped)
        for path in (*(folder / name for name in named if name is not None), *folder.glob(f"{Path(POINTS).stem}.*")):
            path.unlink(missing_ok=True)

    def _is_ours(self, error: OSError) -> bool:
        """Whether results cannot be written, which the other pairs would meet too."""
        place = None if error.filename is None else Path(str(error.filename)).resolve()
        return error.errno in FULL or (place is not None and place.is_relative_to(self.out.resolve()))


def _check_name(what: str, name: str | None, such: str) -> None:
    if name is not None and (Path(name).name != name or name in (RESULT, POINTS, CRASH)):
        raise InputError(f"{what} is {name}: of many pairs give a file name alone, such as {such}")


def _prepare(out: Path, describer: str | Path, given: dict[str, Any], files: _Files, large: Large, cache: bool) -> _Job:
    """Load the models and try the settings. Raises InputError, TypeError."""
    found = resolve(describer, given)
    if large == "always" and (why := unsuited(found.register)):
        raise InputError(why)
    key = {"tiepoint": __version__, "describer": found.plain["describer"], **found.describe}
    features = FeatureCache(out / ".cache" if cache else None, found.model, found.describe, key)
    made_with = {"tiepoint": __version__, "verdict": digest_file(VERDICT), "settings": found.plain}
    plain = json.loads(json.dumps(made_with, sort_keys=True))
    return _Job(out, found.model, found.register, found.bands, files, large, features, plain)


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
