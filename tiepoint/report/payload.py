"""The data of a report: the registration as it is, and the tie points that the page draws."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError
from tiepoint.registration.result import Registration
from tiepoint.report.pictures import COLUMNS, PATCH, outline

MOST_SHOWN = 1000
MOST_REJECTED = 300


def payload(registration: Registration, names: tuple[str, str], probabilities: ArrayLike | None) -> dict[str, Any]:
    """What the page's script reads; plain, finite values.

    `shown` holds the tie points, or all correspondences where the registration is refused: all of them or a thousand,
    evenly taken from the largest residual to the smallest (without residuals, from the least alike to the most), in
    that order. A registration without a transform has residuals, but `mapped` is None.
    """
    chances = _probabilities(registration, registration.probabilities if probabilities is None else probabilities)
    matches = registration.matches
    if registration.matrix is None:
        points, residuals, mapped = registration.points, None, None
        rows, order = np.arange(len(points)), np.argsort(registration.scores, kind="stable")
    else:
        points, residuals = registration.tie_points, registration.residuals
        mapped = None if registration.transform is None else registration.map(points[:, :2])
        rows, order = np.flatnonzero(registration.inliers), np.argsort(-residuals, kind="stable")
    chosen = order[_evenly(len(order), MOST_SHOWN)]
    others = np.empty((0, 4)) if registration.transform is None else registration.points[~registration.inliers]
    return {
        "registration": registration.to_json(),
        "a": {"name": names[0], "width": matches.a.size[0], "height": matches.a.size[1]},
        "b": {"name": names[1], "width": matches.b.size[0], "height": matches.b.size[1]},
        "coverage": coverage(registration),
        "shown": {
            "rows": chosen.tolist(),
            "points": _plain(points[chosen]),
            "mapped": None if mapped is None else _plain(mapped[chosen]),
            "residuals": None if residuals is None else _plain(residuals[chosen]),
            "similarities": _plain(registration.scores[rows[chosen]]),
            "probabilities": None if chances is None else _plain(chances[rows[chosen]]),
        },
        "rejected": _plain(others[_evenly(len(others), MOST_REJECTED)]),
        "sprite": {"columns": max(1, min(COLUMNS, len(chosen))), "size": PATCH},
    }


def coverage(registration: Registration) -> float | None:
    """Share of the images' overlap, measured in b, that lies in the convex hull of the tie points.

    None if refused, and where no transform says what overlaps.
    """
    if registration.transform is None:
        return None
    width, height = registration.matches.b.size
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32) - np.float32(0.5)
    edge = outline(registration.transform, registration.matches.a.size, registration.warp)
    seen = cv2.convexHull(edge.astype(np.float32))
    hull = cv2.convexHull(registration.tie_points[:, 2:].astype(np.float32))
    overlap, common = cv2.intersectConvexConvex(frame, seen)
    covered = cv2.intersectConvexConvex(common, hull)[0] if overlap > 0 else 0.0
    return round(min(1.0, covered / overlap), 4) if overlap > 0 else 0.0


def _probabilities(registration: Registration, given: ArrayLike | None) -> NDArray[np.float64] | None:
    """One for each match; NaN for a match that is no tie point where only tie points have one."""
    if given is None or not np.size(given):
        return None
    values, count = np.asarray(given, dtype=np.float64), len(registration.inliers)
    if values.shape not in ((count,), (len(registration.tie_points),)):
        raise InputError(
            f"probabilities have shape {values.shape}: give one for each of the {count} correspondences "
            f"or of the {len(registration.tie_points)} tie points"
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("probabilities hold a value outside 0..1: give calibrated probabilities, not logits")
    if len(values) == count:
        return values
    spread = np.full(count, np.nan)
    spread[registration.inliers] = values
    return spread


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` of 0 .. count - 1, evenly spaced, the first and the last among them."""
    return np.unique(np.rint(np.linspace(0, count - 1, min(count, most))).astype(np.int64))


def _plain(values: NDArray[Any]) -> list[Any]:
    rounded: list[Any] = np.round(values.astype(np.float64), 4).tolist()
    return rounded
