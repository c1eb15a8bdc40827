"""How many times the least cost a simpler transform may have, on aligned training images with known warps.

    python scripts/choose_simpler.py ../shared/data

Every pair is warped by a seeded similarity and aligned by its structure once. The places found are then moved by known
transforms, so that the truth is a similarity, an affine map or a homography whose corners move by up to a share of the
longer side, and `tiepoint.imaging.geometry.choose` fits them with each factor. A row gives the shares of pairs whose
corners err by less than 3 and 5 px, and the mean error, of which 20 px is the most that a pair counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from calibrate_verdict import list_pairs
from numpy.typing import NDArray

from tiepoint.cli.output import emit_table, progress_bar
from tiepoint.evaluation.registration import small_warp
from tiepoint.imaging import geometry
from tiepoint.imaging.align import align
from tiepoint.imaging.coarse import correlate
from tiepoint.imaging.io import read_grey

MOST = 45  # pairs of each set
TRUTHS = (("similarity", 0.0), ("affine", 0.01), ("affine", 0.03), ("homography", 0.01), ("homography", 0.03))
FACTORS = (1.5, 2.0, 2.5, 3.0, 4.0)


class Places(NamedTuple):
    """What the structure says of a pair: points (N, 4), the truth (3, 3), width and height of a."""

    points: NDArray[np.float64]
    truth: NDArray[np.float64]
    size: tuple[int, int]


def collect(data: Path, random: np.random.Generator) -> list[Places]:
    paths = [(first, second) for name, first, second, _ in list_pairs(data, MOST) if name != "scenes"]
    places = []
    with progress_bar("aligning") as advance:
        for done, (first, second) in enumerate(paths, start=1):
            a, b = read_grey(first), read_grey(second)
            truth = small_warp(random, b.shape)
            b = cv2.warpPerspective(b, truth, b.shape[::-1])
            if (aligned := align(a, b, correlate(a, b)[0].matrix)) is not None:
                places.append(Places(aligned.points, truth, (a.shape[1], a.shape[0])))
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
    b = geometry.apply(np.asarray(onward, dtype=np.float64), places.points[:, 2:])
    return Places(np.hstack([places.points[:, :2], b]), onward @ places.truth, places.size)


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
        for factor in FACTORS:
            geometry.SIMPLER = factor
            errors = []
            for case in cases:
                fit, _ = geometry.choose(case.points[:, :2], case.points[:, 2:], size=case.size)
                errors.append(
                    np.inf if fit.matrix is None else geometry.corner_error(fit.matrix, case.truth, *case.size)
                )
            shares = [f"{np.mean(np.array(errors) < limit):.2f}" for limit in (3, 5)]
            table.append([f"{model}, {100 * most:g} %", factor, *shares, f"{np.minimum(errors, 20).mean():.2f}"])
    emit_table(
        f"Transforms chosen, {len(places)} pairs", ("truth", "factor", "< 3 px", "< 5 px", "mean px"), table, words=1
    )


if __name__ == "__main__":
    main()
