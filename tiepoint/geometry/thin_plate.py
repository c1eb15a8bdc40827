"""The thin-plate spline: the smoothest warp near tie points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import RBFInterpolator
from scipy.spatial.distance import cdist
from scipy.special import xlogy

from tiepoint.geometry.displacement import check_smoothing, check_ties, folded_share, make_lattice, refuse_folds
from tiepoint.geometry.least_squares import apply
from tiepoint.images.raster import Raster
from tiepoint.images.resample import resample
from tiepoint.images.window import Window
from tiepoint.types import Mask, Planes, Points, Size

MAX_CONTROLS = 500
FOLD_GRID = 40  # points a side of the grid on which folds are looked for
SMOOTHINGS = (0.0, *(10.0 ** (k / 2) for k in range(-18, 7)))
EVALUATION_STEP_PX = 8  # px between the points at which the spline is evaluated when an image is warped
INVERSE_GRID = 12  # points a side of the grid that holds the inverse, beside the tie points


@dataclass(frozen=True)
class ThinPlate:
    """A transform and a thin-plate spline of what it leaves over.

    f(p) = M p + c (1, x, y) + sum_i w_i U(|p - a_i|), U(r) = r^2 log r, minimises sum_i |f(a_i) - b_i|^2 + smoothing N
    E over N tie points, with the bending energy E = sum_ij w_i U(|a_i - a_j|) w_j, in coordinates of unit spread.
    Smoothing 0 meets every tie point; much of it leaves an affine correction of M.

    Source: Bookstein, PAMI 1989; Wahba, Spline Models for Observational Data, 1990, chapters 2 and 4. The spline is
    scipy's RBFInterpolator; the choice of the smoothing, which scipy lacks, is ours.
    """

    matrix: Points  # (3, 3), M: a -> b
    controls: Points  # (K, 2) pixels of a
    displacements: Points  # (K, 2) pixels of b from where M takes the controls, to which the spline is fitted
    centre: Points  # (2,), of the spline's coordinates, which have unit spread
    scale: float  # pixels of a per unit of these
    smoothing: float  # as given or chosen
    folded: float  # share of a grid over the image and of the tie points at which the warp mirrors the image

    @classmethod
    def fit(
        cls, a: ArrayLike, b: ArrayLike, matrix: ArrayLike, smoothing: float | None = None, *, size: Size | None = None
    ) -> ThinPlate:
        """Fit to tie points.

        Args:
            a, b: (N, 2) pixels, not on a line; a uniform selection of 500 is used if there are more.
            matrix: (3, 3), the transform a -> b that they come from.
            smoothing: 0 or more; None takes what predicts each tie point best from the others (leave-one-out, in closed
                form), or the least above it that does not fold.
            size: width and height of image a, where folds are looked for; the tie points' bounding box if None.

        Raises InputError, see `check_ties` and `check_smoothing`.
        """
        places, partners, transform = check_ties(a, b, matrix, MAX_CONTROLS)
        fixed = None if smoothing is None else check_smoothing(smoothing)
        look = np.vstack([make_lattice(places, size, FOLD_GRID), places])
        return _solve(places, partners, transform, fixed, look)

    def map(self, points: ArrayLike) -> Points:
        """Pixels (N, 2) of a to those of b; infinite beyond the horizon of the matrix."""
        places = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        return apply(self.matrix, places) + self._displacement(places)

    def inverse(self, size: Size | None = None) -> ThinPlate:
        """The warp from b to a: a spline through where this one takes its tie points and a grid over image a.

        Without the `size` of image a the grid covers the tie points alone. Raises InputError if this warp folds.
        """
        refuse_folds(self.folded)
        places = np.vstack([self.controls, make_lattice(self.controls, size, INVERSE_GRID)])
        mapped, first = np.unique(self.map(places), axis=0, return_index=True)
        kept = np.isfinite(mapped).all(axis=1)
        back = np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)
        return _solve(mapped[kept], places[first[kept]], back, 0.0, None)

    def warp(self, image: Raster, shape: tuple[int, int], fill: float = 0) -> tuple[Planes, Mask]:
        """Resample image a onto the grid of b, of `shape` rows and columns, by the inverse, as `warp_image` does.

        The spline is evaluated every 8 px and interpolated between. Raises InputError if this warp folds.
        """
        height, width = image.pixels.shape
        return resample(image, self.inverse((width, height))._block, shape, fill)

    def _block(self, window: Window) -> tuple[Points, Points]:
        x = np.arange(0, window.width + EVALUATION_STEP_PX, EVALUATION_STEP_PX)
        y = np.arange(0, window.height + EVALUATION_STEP_PX, EVALUATION_STEP_PX)
        nodes = np.stack(np.meshgrid(x + window.x, y + window.y), axis=-1).reshape(-1, 2).astype(np.float64)
        values = self._displacement(nodes).reshape(len(y), len(x), 2)
        row, down = np.divmod(np.arange(window.height), EVALUATION_STEP_PX)
        column, right = np.divmod(np.arange(window.width), EVALUATION_STEP_PX)
        part = (down / EVALUATION_STEP_PX)[:, None, None]
        values = (1 - part) * values[row] + part * values[row + 1]
        part = (right / EVALUATION_STEP_PX)[None, :, None]
        values = (1 - part) * values[:, column] + part * values[:, column + 1]
        u, v = np.moveaxis(apply(self.matrix, window.pixels).reshape(values.shape) + values, -1, 0)
        return u, v

    def _displacement(self, places: Points) -> Points:
        return np.asarray(self._spline((places - self.centre) / self.scale))

    @cached_property
    def _spline(self) -> RBFInterpolator:
        """Maps points (N, 2) in coordinates of unit spread to displacements (N, 2)."""
        unit = (self.controls - self.centre) / self.scale
        smoothing = self.smoothing * len(unit)
        return RBFInterpolator(unit, self.displacements, smoothing=smoothing, kernel="thin_plate_spline", degree=1)


def _solve(places: Points, partners: Points, matrix: Points, fixed: float | None, look: Points | None) -> ThinPlate:
    """The spline of a smoothing that is `fixed`, or chosen; folds are looked for at the points `look`."""
    centre = places.mean(axis=0)
    scale = float(np.sqrt(((places - centre) ** 2).sum(axis=1).mean()))
    unit = (places - centre) / scale
    left = partners - apply(matrix, places)

    def fit(smoothing: float) -> ThinPlate:
        warp = ThinPlate(matrix, places, left, centre, scale, smoothing, 0.0)
        return warp if look is None else replace(warp, folded=folded_share(warp.map, matrix, look))

    if fixed is not None:
        return fit(fixed)
    chosen = int(np.argmin(_held_out_errors(unit, left)))
    for smoothing in SMOOTHINGS[chosen:]:
        warp = fit(smoothing)
        if warp.folded == 0:
            break
    return warp


def _held_out_errors(unit: Points, left: Points) -> list[float]:
    """For each of SMOOTHINGS the sum of squares by which the spline without a point misses it, over all points."""
    squares = cdist(unit, unit, "sqeuclidean")
    kernel = 0.5 * xlogy(squares, squares)
    # Bending has no part that is affine at the points: it lies in `basis`, in which its energy is diagonal.
    q = np.linalg.qr(np.column_stack([np.ones(len(unit)), unit]), mode="complete")[0]
    energies, vectors = np.linalg.eigh(q[:, 3:].T @ kernel @ q[:, 3:])
    energies = np.maximum(energies, 1e-14 * energies.max())
    basis = q[:, 3:] @ vectors
    seen = basis.T @ left
    errors = []
    for smoothing in SMOOTHINGS:
        # The error of the fit without a point: its residual over 1 - leverage, in which the smoothing cancels.
        shrink = 1 / (energies + smoothing * len(unit))
        away = (basis @ (shrink[:, None] * seen)) / np.maximum(basis**2 @ shrink, 1e-30)[:, None]
        errors.append(float((away**2).sum()))
    return errors
