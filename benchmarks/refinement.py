"""What refines a transform found by windows, on training pairs: windows 4 and 2 px apart, or the structure.

    python benchmarks/refinement.py ../shared/data [--max-pairs 12] [--relater]

Pairs are those of `tiepoint calibrate`. Each is registered to a similarity by its windows 8 px apart
(`tiepoint.dense.search`). From there

- image a is laid over b, both are described at windows 4 or 2 px apart, each window of a that has a partner is moved
  to where the similarity peaks within 8 px of it (a parabola finds the fraction), and the similarity is fitted anew;
- the structure is aligned, as `register` does.

Columns: share of pairs under 3 and 5 px, and the median corner error. With --relater, RRL-Net is asked about places 64
px apart of the visible and near-infrared pairs: its mean probability under the right transform, the largest under ones
that are shifted by 24 px, and the mean where two images show different places.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.cli.output import emit_table, progress_bar
from tiepoint.dense.grid import describe_grid, enlargement, zoom_to
from tiepoint.dense.search import MAX_SIDE_PX, search
from tiepoint.evaluation.registration.calibration import SRIF, list_pairs, small_warp, srif_truth
from tiepoint.features.corners import parabola_vertex
from tiepoint.geometry.robust import corner_error, estimate
from tiepoint.images.raster import Raster, as_raster, read_image
from tiepoint.matching.relate import relate_places
from tiepoint.models.describer import Describer
from tiepoint.models.load import load_describer, load_relater
from tiepoint.structure.align import align
from tiepoint.types import Matrix

EVERY_PX, REACH_PX, SHIFT_PX, PLACES_PX = 16, 8, 24, 64
WAYS = ("windows 8 px apart", "4 px", "2 px", "structure")


def refine(a: Raster, b: Raster, matrix: Matrix, describer: Describer, stride: int) -> Matrix | None:
    """The similarity (3, 3) fitted to windows of both images, `stride` px apart, around `matrix`."""
    zoom_a, zoom_b = zoom_to(a, MAX_SIDE_PX), zoom_to(b, MAX_SIDE_PX)
    second = describe_grid(b, describer, zoom_b, stride=stride)
    warp = np.linalg.inv(second.to_image) @ matrix @ enlargement(a, zoom_a)
    size = (round(b.pixels.shape[1] * zoom_b), round(b.pixels.shape[0] * zoom_b))
    first = describe_grid(a, describer, zoom_a, warp, size, EVERY_PX)
    reach, step = REACH_PX // stride, EVERY_PX // stride
    index = np.full(np.array(second.shape) + 2 * reach + 2, -1)
    index[tuple(second.at.T + reach + 1)] = np.arange(len(second))
    spans = range(-reach - 1, reach + 2)
    y, x = (first.at * step + reach + 1).T
    y, x = (np.clip(side, reach + 1, limit - reach - 2) for side, limit in zip((y, x), index.shape, strict=True))
    rows = np.stack([np.stack([index[y + dy, x + dx] for dx in spans], 1) for dy in spans], 1)
    near = torch.einsum("nd,nyxd->nyx", first.vectors, second.vectors[torch.from_numpy(np.maximum(rows, 0))]).numpy()
    near = np.where(rows >= 0, near, -1.0)
    inner = near[:, 1:-1, 1:-1].reshape(len(near), -1)
    v, u = (at + 1 for at in np.unravel_index(inner.argmax(axis=1), near[0, 1:-1, 1:-1].shape))
    n = np.arange(len(near))
    peaks = [parabola_vertex(near[n, v - j, u - i], near[n, v, u], near[n, v + j, u + i]) for i, j in ((1, 0), (0, 1))]
    shift = np.stack([u, v], 1) - (reach + 1) + np.nan_to_num(np.stack(peaks, 1))
    at = np.stack([first.at[:, 1], first.at[:, 0]], 1) * float(EVERY_PX) + 31.5
    kept = (rows >= 0).all(axis=(1, 2))
    partners = (at + shift * stride)[kept] * second.to_image[[0, 1], [0, 1]] + second.to_image[:2, 2]
    return estimate(first.points[kept], partners, "similarity", threshold=3.0, size=a.pixels.shape[::-1]).matrix


def related(a: NDArray[np.generic], b: NDArray[np.generic], matrix: Matrix, relater: object) -> float:
    y, x = np.mgrid[PLACES_PX // 2 : b.shape[0] : PLACES_PX, PLACES_PX // 2 : b.shape[1] : PLACES_PX].reshape(2, -1)
    inside = cv2.perspectiveTransform(np.stack([x, y], 1)[None].astype(float), np.linalg.inv(matrix))[0]
    kept = ((inside >= 32) & (inside < np.array(a.shape[::-1]) - 32)).all(axis=1)
    return float(relate_places(a, b, matrix, np.stack([x, y], 1)[kept].astype(float), relater).mean())  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--max-pairs", type=int, default=12)
    parser.add_argument("--relater", action="store_true")
    options = parser.parse_args()
    describer, random = load_describer("sdgmnet-any"), np.random.default_rng(0)
    relater = load_relater("rrlnet-visnir") if options.relater else None
    errors: dict[str, list[list[float]]] = defaultdict(list)
    chances: list[tuple[float, float, float]] = []
    pairs = [pair for pair in list_pairs(options.data_dir, options.max_pairs) if pair[0] != "scenes"]
    with progress_bar("refining") as advance:
        for done, (name, first, second, _) in enumerate(pairs, 1):
            a, b = as_raster(first, "a"), as_raster(second, "b")
            truth = srif_truth(first) if name in SRIF else small_warp(random, b.pixels.shape)
            if name not in SRIF:
                b = as_raster(cv2.warpPerspective(b.pixels, truth, b.pixels.shape[::-1]), "b")
            if relater is not None:
                if name == "visnir":
                    other = read_image(pairs[done % options.max_pairs][2]).pixels
                    other = cv2.resize(other, b.pixels.shape[::-1])
                    shifts = [np.array([[1, 0, x], [0, 1, y], [0, 0, 1]]) for x, y in ((SHIFT_PX, 0), (0, SHIFT_PX))]
                    beside = max(related(a.pixels, b.pixels, shift @ truth, relater) for shift in shifts)
                    right = related(a.pixels, b.pixels, truth, relater)
                    chances.append((right, beside, related(a.pixels, other, truth, relater)))
            else:
                start = search(a, b, describer).estimate.matrix
                found = [start, None, None, None]
                if start is not None:
                    structure = align(a.pixels, b.pixels, start, models=("similarity",), masks=(a.mask, b.mask))
                    found[1:3] = [refine(a, b, start, describer, stride) for stride in (4, 2)]
                    found[3] = None if structure is None else structure.matrix
                size = a.pixels.shape[::-1]
                errors[name].append([np.inf if m is None else corner_error(m, truth, *size) for m in found])
            advance(done, len(pairs))
    if relater is not None:
        rows = [(f"{row[0]:.2f}", f"{row[1]:.2f}", f"{row[2]:.2f}") for row in np.sort(np.array(chances), axis=0)]
        emit_table("Mean probability, each sorted", ("right", "shifted by 24 px", "another place"), rows)
        return
    table = []
    for name, values in errors.items():
        for way, column in zip(WAYS, np.array(values).T, strict=True):
            shares = (f"{(column < limit).mean():.2f}" for limit in (3, 5))
            table.append((name, way, len(column), *shares, float(np.median(column))))
    emit_table("Refinement", ("set", "way", "pairs", "< 3 px", "< 5 px", "median px"), table, words=2)


if __name__ == "__main__":
    main()
