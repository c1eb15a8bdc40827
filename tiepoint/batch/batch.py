"""Many pairs registered, one folder each: failures recorded, runs resumed, images described once."""

import contextlib
import errno
import functools
import json
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tiepoint.batch.pair_list import Pair, check_names
from tiepoint.batch.settings import Settings, resolve
from tiepoint.batch.summary import Result, Row, write_summary
from tiepoint.errors import InputError
from tiepoint.export.geotiff import check_warped, write_warped
from tiepoint.export.points import write_csv
from tiepoint.export.ties import CSV, GCPS, GEOJSON, write_ties
from tiepoint.features.cache import FeatureCache, digest_file
from tiepoint.files import GENERATOR, check_outputs, discard, guarded, locked, protect, write_json, write_text
from tiepoint.options import Batch, override, plain
from tiepoint.options import Registration as Options
from tiepoint.parsed import MAX_TEXT_BYTES, read_json
from tiepoint.registration.large import Input, is_read_in_windows, read_for_pictures
from tiepoint.registration.register import register
from tiepoint.registration.verdict import WEIGHTS as VERDICT
from tiepoint.report import write_report
from tiepoint.types import Progress
from tiepoint.version import __version__

RESULT, POINTS, CRASH = "result.json", CSV, "error.txt"
EVERY = 5.0  # seconds between two summaries: with thousands of pairs each takes long to write
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def register_many(
    pairs: Sequence[Pair],
    out: str | Path,
    describer: str | Path = "auto",
    options: Options | None = None,
    batch: Batch | None = None,
    *,
    relater: str | Path | None = None,
    report: str | None = None,
    warp_output: str | None = None,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
    **flat: Any,
) -> list[Row]:
    """Register image a of each pair to its image b.

    OUT/NAME gets result.json (`Registration.to_json`, and what it was made from), tie_points.csv and, where wanted, a
    report and the warped image; OUT gets summary.csv and summary.json, rewritten as it goes. A pair whose result is
    there, made from the same files with the same options, weights, verdict and version, is not done again. One that
    fails for whatever reason is a row with its error, tried again in the next run; a crash leaves its traceback in
    OUT/NAME/error.txt.

    Args:
        pairs: see `tiepoint.batch.pair_list`.
        out: folder of the results, which one run at a time writes to.
        report: file name, in each pair's folder, of a page of HTML that shows the registration.
        warp_output: file name (.tif), in each accepted pair's folder, of all bands of a on the grid of b; needs
            rasterio.
        device: where the models compute: "auto" (cuda, mps or cpu), or a torch device.
        progress: called with pairs done and their number.
        flat: fields of the options by name, which replace those of `options` and `batch`.

    Returns a row for each pair, in their order.

    Raises:
        InputError: no pairs, names that are not unique, options that no pair could be registered with, a folder that
            another run writes to.
        OSError: a disk that is full, a folder without rights. What was done before is kept, as after an interruption.
    """
    of_batch = {name: value for name, value in flat.items() if name in Batch.__dataclass_fields__}
    batch = override(batch or Batch(), of_batch)
    options = override(options or Options(), {k: v for k, v in flat.items() if k not in of_batch})
    out = Path(out)
    if not pairs:
        raise InputError("there are no pairs: give at least one")
    _check_name("report", report, "report.html")
    _check_name("warp_output", warp_output, "warped.tif")
    if warp_output is not None:
        if warp_output == report:
            raise InputError(f"report and warp_output are both {report}: give two file names")
        check_warped(warp_output, options.estimation.model)
    check_names(pairs)
    if any(image is not None and image.parent.resolve() == out.resolve() for p in pairs for image in (p.a, p.b)):
        raise InputError(f"{out} holds the images: name another folder for the results")
    settings = resolve(describer, relater, options, device)
    detection = options.detection
    key = {"tiepoint": __version__, "describer": settings.plain["describer"], **plain(detection)}
    cache = FeatureCache(out / ".cache" if batch.cache else None, settings.describer, detection, key)
    made_with = {"tiepoint": __version__, "verdict": digest_file(VERDICT), "settings": settings.plain}
    job = _Job(out, settings, report, warp_output, cache, json.loads(json.dumps(made_with, sort_keys=True)))
    rows: dict[int, Row] = {}

    def summarise() -> list[Row]:
        done = [rows[k] for k in sorted(rows)]
        write_summary(out, done, len(pairs))
        return done

    written = -EVERY
    with guarded(), locked(out):
        protect(*(image for pair in pairs for image in (pair.a, pair.b) if image is not None))
        check_outputs(out / "summary.json", out / "summary.csv")
        try:
            with contextlib.closing(_run(job, pairs, batch.workers)) as finished:
                for index, row in finished:
                    rows[index] = row
                    if progress:
                        progress(len(rows), len(pairs))
                    if time.monotonic() - written > EVERY:
                        summarise()
                        written = time.monotonic()
        except BaseException:
            with contextlib.suppress(OSError):  # of a full disk is told already
                summarise()
            raise
        return summarise()


@dataclass
class _Job:
    """What all pairs share; `made_with` is what a result depends on besides the images."""

    out: Path
    settings: Settings
    report: str | None
    warp_output: str | None
    cache: FeatureCache
    made_with: dict[str, Any]
    digest: Callable[[Path], str] = field(default_factory=lambda: functools.cache(digest_file))

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
                with contextlib.suppress(InputError):  # of a file of someone else's in its place
                    write_text(self.out / pair.name / CRASH, f"{GENERATOR}\n{traceback.format_exc()}")
            said = " ".join(str(error).split())
            return Row.failed(pair, f"{type(error).__name__}: {said}", round(time.perf_counter() - start, 3))

    def _done(self, pair: Pair, start: float) -> Row:
        if pair.problem or pair.a is None or pair.b is None:
            raise InputError(pair.problem or "an image is missing")
        contents = self.digest(pair.a), self.digest(pair.b)
        settings, options, folder = self.settings, self.settings.options, self.out / pair.name
        check_outputs(*self._files(pair))
        windows = is_read_in_windows(pair.a, pair.b, options, settings.relater is not None)
        made_from = {"a": contents[0], "b": contents[1], "windows": windows, **self.made_with}
        if (kept := self._kept(pair, made_from)) is not None:
            return kept
        if windows:
            views: tuple[Input, Input] = (pair.a, pair.b)
        else:
            reading = options.reading
            first = self.cache.view(pair.a, contents[0], reading.band_a, reading.nodata_values[0])
            second = self.cache.view(pair.b, contents[1], reading.band_b, reading.nodata_values[1])
            views, options = (first, second), override(options, {"band_a": None, "band_b": None, "nodata": None})
        found = register(*views, settings.describer, options, relater=settings.relater)
        result = {
            "tiepoint": __version__, "name": pair.name, "a": str(pair.a), "b": str(pair.b),
            "seconds": round(time.perf_counter() - start, 3), **found.to_json(), "made_from": made_from,
        }  # fmt: skip
        self._clear(pair)
        # The first, so that what is there is known for a result of tiepoint's; see the last.
        write_json(folder / RESULT, result | {"made_from": None})
        write_ties(folder, found)
        if not found.accepted:
            write_csv(folder / POINTS, found)
        if self.report is not None:
            a, b, shown = read_for_pictures(found)
            write_report(shown, a, b, folder / self.report, title=pair.name)
        if self.warp_output is not None and found.accepted:
            write_warped(folder / self.warp_output, pair.a, found)
        write_json(folder / RESULT, result)  # the last: by `made_from` a later run takes the rest for whole
        return Row.of(pair, result)

    def _kept(self, pair: Pair, made_from: dict[str, Any]) -> Row | None:
        folder = self.out / pair.name
        try:
            result: Any = read_json(folder / RESULT, Result, "register again", MAX_TEXT_BYTES)
            names = POINTS, self.report, self.warp_output if result["matrix"] else None
            whole = all((folder / name).is_file() for name in names if name is not None)
            return Row.of(pair, result, reused=True) if whole and result["made_from"] == made_from else None
        except InputError:  # missing, damaged or of another version: it is made again
            return None

    def _clear(self, pair: Pair) -> None:
        for path in self._files(pair):
            discard(path)

    def _files(self, pair: Pair) -> list[Path]:
        """What may be written for a pair; its result, which tells whose the others are, is the last."""
        names = (CRASH, self.report, self.warp_output, CSV, GCPS, GEOJSON, RESULT)
        return [self.out / pair.name / name for name in names if name is not None]

    def _is_ours(self, error: OSError) -> bool:
        """Whether results cannot be written, which the other pairs would meet too."""
        place = None if error.filename is None else Path(str(error.filename)).resolve()
        return error.errno in FULL or (place is not None and place.is_relative_to(self.out.resolve()))


def _check_name(what: str, name: str | None, such: str) -> None:
    if name is not None and (Path(name).name != name or name in (RESULT, POINTS, CRASH)):
        raise InputError(f"{what} is {name}: of many pairs give a file name alone, such as {such}")


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
