"""The data of a report: the whole registration, the tie points that the page draws, and their patches."""

import json
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.registration.overlay import outline
from tiepoint.registration.result import Registration
from tiepoint.report.draw import even_sample
from tiepoint.types import Matrix, Picture

MAX_SHOWN = MAX_REJECTED = 1000
PATCH_PX, COLUMNS = 64, 20


def payload(registration: Registration, names: tuple[str, str]) -> dict[str, Any]:
    """What the script of the page reads, in plain and finite values.

    `shown` holds the tie points, or all correspondences where the registration is refused: at most a thousand, an even
    sample from the largest residual to the smallest (without residuals, from the least similar to the most), in that
    order. `rejected` samples the other correspondences in the same proportion. A registration by a fundamental matrix
    has residuals, but `mapped` is None. `agreement` holds the windows that were asked; None where none were.
    """
    if registration.matrix is None:
        points, residuals, mapped = registration.points, None, None
        rows, order = np.arange(len(points)), np.argsort(registration.scores, kind="stable")
    else:
        points, residuals = registration.tie_points, registration.residuals
        mapped = None if registration.mapping is None else registration.map(points[:, :2])
        rows, order = np.flatnonzero(registration.inliers), np.argsort(-residuals, kind="stable")
    given, asked = registration.probabilities, registration.agreement  # probabilities are those of the tie points
    windows = None if asked is None else {
        "points": _plain(asked.points), "similarities": _plain(asked.similarity),
        "recognised": asked.recognised.tolist(), "width": asked.width,
    }  # fmt: skip
    chosen = order[even_sample(len(order), MAX_SHOWN)]
    others = np.empty((0, 4)) if registration.mapping is None else registration.points[~registration.inliers]
    rejected = min(MAX_REJECTED, round(len(others) * len(chosen) / max(1, len(order))))  # in their proportion
    return {
        "registration": registration.to_json(),
        "a": {"name": names[0], "width": registration.a.size[0], "height": registration.a.size[1]},
        "b": {"name": names[1], "width": registration.b.size[0], "height": registration.b.size[1]},
        "coverage": coverage(registration),
        "shown": {
            "rows": chosen.tolist(),
            "points": _plain(points[chosen]),
            "mapped": None if mapped is None else _plain(mapped[chosen]),
            "residuals": None if residuals is None else _plain(residuals[chosen]),
            "similarities": _plain(registration.scores[rows[chosen]]),
            "probabilities": None if given is None or not len(given) else _plain(given[chosen]),
        },
        "rejected": _plain(others[even_sample(len(others), rejected)]),
        "agreement": windows,
        "sprite": {"columns": max(1, min(COLUMNS, len(chosen))), "size": PATCH_PX},
    }


def coverage(registration: Registration) -> float | None:
    """Share of the overlap of both images, measured in b, that lies in the convex hull of the tie points.

    None if no transform says what overlaps.
    """
    if registration.mapping is None:
        return None
    width, height = registration.b.size
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32) - np.float32(0.5)
    edge = outline(registration.mapping, registration.a.size)
    seen = cv2.convexHull(edge.astype(np.float32))
    hull = cv2.convexHull(registration.tie_points[:, 2:].astype(np.float32))
    overlap, common = cv2.intersectConvexConvex(frame, seen)
    covered = cv2.intersectConvexConvex(common, hull)[0] if overlap > 0 else 0.0
    return round(min(1.0, covered / overlap), 4) if overlap > 0 else 0.0


def sprite(a: Picture, b: Picture, points: Matrix) -> Picture:
    """One sheet of the patches, 64x64 pixels, upright and unscaled, around each point in images a and b, both (H, W).

    `points` (K, 4) are xa, ya, xb, yb in pixels, K at least 1. In the sheet (64 * rows, 128 * columns) point k is at
    row k // 20 and column k % 20, a left and b right of it.
    """
    columns = min(COLUMNS, len(points))
    sheet = np.zeros((-(-len(points) // columns) * PATCH_PX, columns * 2 * PATCH_PX), dtype=np.uint8)
    for k, (xa, ya, xb, yb) in enumerate(points.tolist()):
        top, left = k // columns * PATCH_PX, k % columns * 2 * PATCH_PX
        # The point lies in the middle of the patch, between its two central pixels; the border pixel is repeated.
        pair = [cv2.getRectSubPix(image, (PATCH_PX, PATCH_PX), at) for image, at in ((a, (xa, ya)), (b, (xb, yb)))]
        sheet[top : top + PATCH_PX, left : left + 2 * PATCH_PX] = np.hstack(pair)
    return sheet


def json_script(value: Any) -> str:
    """JSON for the inside of a script element, which no text in it can end. Raises ValueError for NaN and infinity."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _plain(values: NDArray[Any]) -> list[Any]:
    return list(np.round(values.astype(np.float64), 4).tolist())
