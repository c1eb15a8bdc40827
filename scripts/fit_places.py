"""What fit and which choice of the transform err least, on aligned training images with known warps.

    python scripts/fit_places.py ../shared/data

Every pair is warped by seeded similarities and aligned by its structure. The places found are then moved by known
transforms, so that the truth is a similarity, an affine map or a homography whose corners move by up to a share of the
longer side. For each truth: its own model by the robust fit with least squares, and settled by
`tiepoint.geometry.gls` with several shares and reaches of the smooth errors; then the model chosen by
`tiepoint.geometry.select_model` with several odds. A row gives the shares of pairs whose corners err by less than 3 and
5 px, and the mean error, of which 20 px is the most that a pair counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.cli.output import emit_table, progress_bar
from tiepoint.evaluation.registration.calibration import list_pairs, small_warp
from tiepoint.geometry import gls as correlated
from tiepoint.geometry import select_model as choose
from tiepoint.geometry.robust import Model, apply, corner_error, estimate
from tiepoint.images.raster import read_image
from tiepoint.structure.align import align
from tiepoint.structure.global_search import correlate
from tiepoint.structure.local_search import weights_of

MOST = 45  # pairs of each set
TRUTHS: tuple[tuple[Model, float], ...] = (
    ("similarity", 0.0),
    ("affine", 0.01),
    ("affine", 0.03),
    ("homography", 0.01),
    ("homography", 0.03),
)
WARPS = 2  # of each pair
SMOOTH = ((1.0, 0.3), (3.0, 0.2), (3.0, 0.3), (3.0, 0.4), (10.0, 0.3))  # share and reach of a fit
ODDS = (0.0, 10.0, 20.0, 40.0, 80.0)
SHIPPED = correlated.SMOOTH, correlated.REACH


class Places(NamedTuple):
    """What the structure says of a pair: points (N, 4), weights (N,), the truth (3, 3), width and height of a."""

    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    truth: NDArray[np.float64]
    size: tuple[int, int]


def collect(data: Path, random: np.random.Generator) -> list[Places]:
    paths = [(first, second) for name, first, second, _ in list_pairs(data, MOST) if name != "scenes"] * WARPS
    places = []
    with progress_bar("aligning") as advance:
        for done, (first, second) in enumerate(paths, start=1):
            a, b = read_image(first).pixels, read_image(second).pixels
            truth = small_warp(random, b.shape)
            b = cv2.warpPerspective(b, truth, b.shape[::-1])
            if (aligned := align(a, b, correlate(a, b)[0].matrix)) is not None:
                weights = weights_of(aligned.scores)
                places.append(Places(aligned.points, weights, truth, (a.shape[1], a.shape[0])))
            advance(done, len(paths))
    return places


def moved(places: Places, model: str, most: float, random: np.random.Generator) -> Places:
    """The places of b, and the truth, carried on by a transform that moves each corner by up to `most` of the side."""
    width, height = places.size
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=np.float32)
    there = (corners + random.uniform(-most, most, (4, 2)) * max(width, height)).astype(np.float32)
    if model == "homography":
        onward = cv2.getPerspectiveTransform(corners, there)
    else:
        onward = np.vstack([cv2.getAffineTransform(corners[:3], there[:3]), [0.0, 0.0, 1.0]])
    b = apply(np.asarray(onward, dtype=np.float64), places.points[:, 2:])
    return places._replace(points=np.hstack([places.points[:, :2], b]), truth=onward @ places.truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    places = collect(options.data_dir, random)
    if not places:
        parser.error(f"{options.data_dir} holds no training images")
    table = []
    for model, most in TRUTHS:
        cases = [moved(one, model, most, random) for one in places]
        name = f"{model}, {100 * most:g} %"
        table.append([name, "least squares", *row(cases, partial(robust, model=model))])
        for share, reach in SMOOTH:
            correlated.SMOOTH, correlated.REACH = share, reach
            table.append([name, f"settled, {share:g}, {reach:g}", *row(cases, partial(settled, models=(model,)))])
        correlated.SMOOTH, correlated.REACH = SHIPPED
        for odds in ODDS:
            choose.LOG_ODDS_PER_TWO_PARAMETERS = odds
            table.append([name, f"chosen, odds {odds:g}", *row(cases, partial(settled, models=choose.SIMPLEST_FIRST))])
    emit_table(f"Transforms, {len(places)} pairs", ("truth", "fit", "< 3 px", "< 5 px", "mean px"), table, words=2)


def robust(case: Places, model: Model) -> NDArray[np.float64] | None:
    return estimate(case.points[:, :2], case.points[:, 2:], model, size=case.size, weights=case.weights).matrix


def settled(case: Places, models: Sequence[Model]) -> NDArray[np.float64] | None:
    a, b = case.points[:, :2], case.points[:, 2:]
    return choose.select_model(a, b, models, size=case.size, weights=case.weights)[0].matrix


def row(cases: list[Places], fit: Callable[[Places], NDArray[np.float64] | None]) -> list[str]:
    found = [(case, fit(case)) for case in cases]
    errors = np.array([np.inf if m is None else corner_error(m, case.truth, *case.size) for case, m in found])
    return [*(f"{np.mean(errors < limit):.2f}" for limit in (3, 5)), f"{np.minimum(errors, 20).mean():.2f}"]


if __name__ == "__main__":
    main()
