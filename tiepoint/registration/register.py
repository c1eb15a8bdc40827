"""Registering one image to another: the transform, its tie points and a verdict."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

import numpy as np

from tiepoint.errors import InputError
from tiepoint.features.describe import Features
from tiepoint.geometry.robust import MIN_MATCHES, Model
from tiepoint.geometry.select_model import SIMPLEST_FIRST, select_model
from tiepoint.geometry.warps import WARPS
from tiepoint.images.raster import Raster
from tiepoint.matching.bands import Bands, band_of_each, with_band
from tiepoint.matching.match import CANDIDATES, RatioRule, match
from tiepoint.matching.relate import order_of, relate_places
from tiepoint.models.describer import Describer
from tiepoint.models.load import load_relater
from tiepoint.models.relater import LearnedRelater
from tiepoint.registration.decide import LEAST_PROBABILITY, by_matches, by_structure
from tiepoint.registration.result import TWO_VIEWS, Choice
from tiepoint.registration.result import Registration as Registration
from tiepoint.registration.two_views import Cameras, by_two_views
from tiepoint.registration.warp import bend
from tiepoint.structure.align import align
from tiepoint.structure.global_search import correlate
from tiepoint.types import Image, Progress

# Of training images, over five folds, 158 of 160 right registrations reach it and none of 355 wrong ones.
LEAST_CONFIDENCE = 0.65
SMALLEST_STRUCTURE = 192  # px a side, to hold a window and its search


def register(
    a: Image | Raster | Features,
    b: Image | Raster | Features,
    describer: str | Path | Describer = "sdgmnet",
    *,
    model: Choice = "auto",
    cameras: Cameras | None = None,
    warp: Literal["thin-plate", "piecewise"] | None = None,
    band: Bands = None,
    ratio: float = 0.9,
    ratio_rule: RatioRule = "second",
    rotations: int = 1,
    threshold: float = 3.0,
    detector: str = "sift",
    affine: bool = False,
    max_keypoints: int = 8000,
    even: bool = False,
    contrast_threshold: float = 0.01,
    support: float | None = None,
    structure: bool = True,
    refine: bool = True,
    relater: str | Path | LearnedRelater | None = None,
    candidates: int | None = None,
    spectra: tuple[str, str] | None = None,
    least_confidence: float = LEAST_CONFIDENCE,
    min_inliers: int = 12,
    seed: int = 0,
    progress: Progress | None = None,
) -> Registration:
    """Register image a to image b.

    Keypoint matches and, with `structure`, the correlation of both images' structure each propose a transform. The
    proposals are refined by local correlation, the one that more of the overlap confirms is taken, and what speaks for
    it makes the confidence. A registration of less than `least_confidence` is refused with its reasons, not raised.

    Tie points are the places whose structure agrees, or the keypoint matches where more of these do.

    Without `refine`, for `Features` that hold no image, and for images under 192 px, the keypoint matches alone decide:
    `min_inliers` of them are needed, and the confidence is inliers / (inliers + min_inliers), a figure of their number
    and no probability. So it is with the models "fundamental" and "essential", which have to hold against chance, too
    (see `tiepoint.geometry.epipolar`), and which give lines and no transform: `Registration.matrix` is then F.

    Args:
        a: a path, an array (H, W) or (C, H, W), a `Raster`, or the `Features` of one.
        b: likewise.
        describer: a name, a path or a loaded one.
        model: "homography", "affine", "similarity", or "auto": the simplest that explains the correspondences, see
            `tiepoint.geometry.select_model`; for a scene that is not flat "fundamental", or "essential".
        cameras: of the model "essential": (3, 3) intrinsics of a and of b, [[fx, s, cx], [0, fy, cy], [0, 0, 1]].
        warp: "thin-plate" or "piecewise": bend the transform of an accepted registration where tie points held out say
            that it is better, see `tiepoint.registration.warp`.
        band: take one band, by its number from 1 or by its name: of both images, or a pair, of a and of b; None for the
            default, see `tiepoint.images.raster.read_image`.
        ratio: of the ratio test, see `mutual_nearest`.
        ratio_rule: what the nearest is compared with, see `match`.
        rotations: so many equal turns of b are tried, for describers of upright patches, see `match`.
        threshold: largest residual of a tie point, pixels of b.
        detector: see `describe`.
        affine: measure the affine shape of keypoints, see `describe`; whatever the `model`.
        max_keypoints: see `describe`.
        even: keep keypoints that lie evenly over the image, see `describe`.
        contrast_threshold: see `describe`.
        support: see `describe`.
        structure: look for small rotations and scales without keypoints too, see `tiepoint.structure.global_search`.
        refine: correlate locally, see `tiepoint.structure.align`.
        relater: a name, a path or a loaded one: gives each tie point its match probability, and drops those below 0.5;
            without `refine` it drops keypoint matches, which are then fitted again, weighted by their probabilities. It
            compares what a transform lays over each other, so the models of two views take it with `candidates` alone.
        candidates: the relater also makes the keypoint matches, out of so many candidates for each keypoint, see
            `match`: slower by far, and more matches where descriptors alone leave few. None for none.
        spectra: of a and of b, by the names that the relater knows; its own order if None.
        least_confidence: of an accepted registration, in 0..1.
        min_inliers: where keypoint matches alone decide: tie points that a registration needs, at least 4.
        seed: of the robust estimation.
        progress: called with steps done and their number.

    Raises:
        InputError: an unusable image, see `describe`, or argument.
    """
    if min_inliers < MIN_MATCHES:
        raise InputError(f"min_inliers is {min_inliers}: give at least {MIN_MATCHES}")
    if not 0 <= least_confidence <= 1:
        raise InputError(f"least_confidence is {least_confidence:g}: give a number from 0 to 1")
    if warp is not None and warp not in WARPS:
        raise InputError(f"no warp {warp!r}: there are {', '.join(WARPS)}")
    if candidates is not None and relater is None:
        raise InputError(f"candidates is {candidates}: they are for a relater: name one")
    _check_model(model, cameras, warp, relater is not None and candidates is None)
    first_band, second_band = band_of_each(band)
    judge = None if relater is None else load_relater(relater)
    if judge is not None:
        order_of(judge, spectra)  # refused before the images are read
    found = match(
        with_band(a, "image a", first_band), with_band(b, "image b", second_band), describer, ratio=ratio,
        ratio_rule=ratio_rule, rotations=rotations, detector=detector, affine=affine, max_keypoints=max_keypoints,
        even=even, contrast_threshold=contrast_threshold, support=support,
        relater=None if candidates is None else judge,
        candidates=CANDIDATES if candidates is None else candidates, spectra=spectra,
        progress=(lambda done, total: progress(done, total + 1)) if progress else None,
    )  # fmt: skip
    chances = None if found.matches.probability is None else found.matches.probability.astype(np.float64)
    if model == "fundamental" or model == "essential":
        result = by_two_views(found, model, cameras, threshold, min_inliers, seed, chances)
        if progress:
            progress(4, 4)
        return result
    models: tuple[Model, ...] = SIMPLEST_FIRST if model == "auto" else (model,)
    fitting = functools.partial(select_model, models=models, threshold=threshold, seed=seed, size=found.a.size)
    fit, fitted = fitting(found.points[:, :2], found.points[:, 2:], weights=chances)
    first, second, masks = found.a.image, found.b.image, (found.a.mask, found.b.mask)
    if not refine or first is None or second is None or min(*first.shape, *second.shape) < SMALLEST_STRUCTURE:
        unjudged = None if chances is not None else judge
        if unjudged is not None and fit.matrix is not None and first is not None and second is not None:
            related = relate_places(first, second, fit.matrix, found.points[:, 2:], unjudged, spectra)
            likely = related >= LEAST_PROBABILITY
            found, chances = found.keep(likely), related[likely]
            fit, fitted = fitting(found.points[:, :2], found.points[:, 2:], weights=chances)
        result = by_matches(found, fit, fitted, min_inliers, chances)
    else:
        proposals = [] if fit.matrix is None else [fit.matrix]
        coarse = correlate(first, second, masks=masks)[0] if structure else None
        if coarse is not None:
            proposals.append(coarse.matrix)
        aligned = [
            align(first, second, matrix, models=models, threshold=threshold, seed=seed, masks=masks)
            for matrix in proposals
        ]
        sound = [alignment for alignment in aligned if alignment is not None]
        best = max(sound, key=lambda alignment: alignment.inliers.sum() * alignment.agreement, default=None)
        result = by_structure(
            found, fit, fitted, best, threshold, least_confidence, judge, spectra,
            None if coarse is None else coarse.score,
        )  # fmt: skip
    if warp is not None:
        result = bend(result, warp, threshold, judge, spectra)
    if progress:
        progress(4, 4)
    return result


def _check_model(model: Choice, cameras: Cameras | None, warp: str | None, judges: bool) -> None:
    """Refuse arguments that do not go together, before the images are read."""
    if (model == "essential") != (cameras is not None):
        raise InputError(
            "model essential needs cameras: give the intrinsics (3, 3) of a and of b"
            if model == "essential"
            else f"cameras are for the model essential, not {model}: leave them out"
        )
    if cameras is not None and (len(cameras) != 2 or any(np.shape(camera) != (3, 3) for camera in cameras)):
        raise InputError("cameras are not two (3, 3) matrices: give the intrinsics of a and of b in pixels")
    if model not in TWO_VIEWS:
        return
    if warp is not None:
        raise InputError(f"model {model} has no transform that a warp could bend: leave out warp or take another")
    if judges:
        raise InputError(f"model {model} lays no image over the other for a relater: give candidates, or no relater")
