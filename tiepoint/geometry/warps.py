"""Warps for parallax and other distortion that no single transform explains, fitted to tie points.

A warp starts from the transform of a registration and adds what it leaves over at the tie points:
`ThinPlate` bends smoothly and evens out their noise, `PiecewiseAffine` keeps to them triangle by triangle. Whether that
is better than the transform alone is seen at tie points held out: compare `held_out` with
`tiepoint.geometry.robust.residuals`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tiepoint.errors import InputError
from tiepoint.geometry.piecewise import PiecewiseAffine as PiecewiseAffine
from tiepoint.geometry.thin_plate import ThinPlate as ThinPlate
from tiepoint.types import Points, Size

Warp = ThinPlate | PiecewiseAffine
WARPS: dict[str, type[ThinPlate] | type[PiecewiseAffine]] = {"thin-plate": ThinPlate, "piecewise": PiecewiseAffine}


@dataclass(frozen=True)
class WarpTrial:
    """Whether a warp tells where tie points lie better than the transform does, in pixels of b."""

    kind: str  # of the warp, one of WARPS
    points: int  # tie points that it was tried on
    before: float | None = None  # median residual of the transform at them; None where there were too few to try
    after: float | None = None  # median distance from where a warp of the others takes them; None likewise
    reason: str | None = None  # why the transform stays, in words; None where the warp was taken

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": self.kind,
            "taken": self.reason is None,
            "points": self.points,
            "held_out_before": None if self.before is None else round(self.before, 4),
            "held_out_after": None if self.after is None else round(self.after, 4),
            "reason": self.reason,
        }


def held_out(
    warp: str,
    a: ArrayLike,
    b: ArrayLike,
    matrix: ArrayLike,
    smoothing: float | None = None,
    *,
    size: Size | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Points:
    """Distances (N,) in pixels of b between tie points and where a warp of the others takes them.

    Points of a that are the same are held out together. Where a distance is large while its neighbours' are small, the
    tie point is wrong rather than the warp. `warp` is "thin-plate" or "piecewise", `folds` the number of parts, divided
    by the `seed`, that are held out one after another; other arguments are those of its `fit`. Raises InputError for no
    such warp, fewer than 2 folds, or what `fit` refuses of a part.
    """
    if warp not in WARPS:
        raise InputError(f"no warp {warp!r}: there are {', '.join(WARPS)}")
    if folds < 2:
        raise InputError(f"folds is {folds}: give at least 2")
    places, partners = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or places.shape != partners.shape:
        raise InputError(f"tie points have shapes {places.shape} and {partners.shape}: give (N, 2) twice")
    different, index = np.unique(places, axis=0, return_inverse=True)
    part = (np.random.default_rng(seed).permutation(len(different)) % folds)[index.reshape(-1)]
    distances = np.full(len(places), np.inf)
    for number in range(folds):
        out = part == number
        if out.any():
            fitted = WARPS[warp].fit(places[~out], partners[~out], matrix, smoothing, size=size)
            distances[out] = np.linalg.norm(fitted.map(places[out]) - partners[out], axis=1)
    return distances
