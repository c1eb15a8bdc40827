"""How one image is turned and scaled against another: by its features, by structure, and by trial."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.features.describe import PATCH, Features, describe
from tiepoint.features.extract import extract
from tiepoint.geometry.robust import estimate
from tiepoint.images.pixels import to_unit
from tiepoint.images.raster import Raster
from tiepoint.matching.neighbours import mutual_nearest
from tiepoint.models.describer import Describer
from tiepoint.structure.global_search import ROTATIONS, correlate

MAX_KEYPOINTS = 1000  # keypoints that the search matches
MAX_RESIDUAL_SHARE = 0.02  # of the longer side: residual of an inlier, as perspective bends a similarity
MIN_INLIERS = 12  # inliers that fix a turn


def rotation_from_structure(a: Raster, b: Raster, about: float = 0.0) -> NDArray[np.float64]:
    """The turn (2, 2) by correlation of structure, of rotations within 18 degrees of `about`, see `correlate`.

    Args:
        a, b: images.
        about: degrees, counter-clockwise as seen on the screen.
    """
    rotations = [about + rotation for rotation in ROTATIONS]
    return correlate(a.pixels, b.pixels, rotations=rotations, masks=(a.mask, b.mask))[0].matrix[:2, :2]


def search_rotation(
    a: Features, b: Raster, model: Describer, rotations: int, *, ratio: float = 0.9, **settings: Any
) -> float:
    """Of so many equal turns of b against a the one under which most matches agree, degrees counter-clockwise.

    The strongest 1,000 keypoints of b are described in every turn and matched with those of a; the turn counts by the
    matches that one similarity explains, to 2 % of the longer side. Where none does, it is 0.

    Args:
        a: described upright.
        b: an image.
        model: a describer of upright patches.
        rotations: how many; 8 leave a rest of at most 22.5 degrees to the correlation, 12 of 15.
        ratio: of the ratio test.
        settings: further arguments of `describe`.

    Raises:
        InputError: see `describe`, or fewer than one rotation.
    """
    if rotations < 1:
        raise InputError(f"rotations is {rotations}: give 1, which searches for none, or more")
    settings["even"] = False  # the strongest of both images are the likeliest to show the same
    settings["max_keypoints"] = min(MAX_KEYPOINTS, settings.get("max_keypoints", MAX_KEYPOINTS))
    first = replace(a, frames=a.frames[:MAX_KEYPOINTS], descriptors=a.descriptors[:MAX_KEYPOINTS])
    upright = describe(b, model, **settings)
    width = settings.get("support") or model.support
    angles = [360 * k / rotations for k in range(rotations)]
    counts = []
    for angle in angles:
        frames = upright.frames.copy()
        frames[:, :, :2] = rotation_matrix(angle) @ frames[:, :, :2]
        patches = extract(b.pixels, frames, size=PATCH, support=width)
        descriptors = model.describe(torch.from_numpy(to_unit(patches, b.limits))).cpu().float().numpy()
        counts.append(_agreeing(first, replace(upright, descriptors=descriptors), ratio)[1])
    return angles[int(np.argmax(counts))]


def rotation_between(a: Features, b: Features, ratio: float = 0.9) -> NDArray[np.float64]:
    """The turn (2, 2) of b against a as their features say.

    Where all frames of an image are alike, as those of upright describers are, it is that of b's against a's.
    Otherwise it is that of the similarity that explains the matches, if 12 agree; or by structure, if the features hold
    their images; or none.

    Args:
        a, b: features of one describer.
        ratio: of the ratio test.
    """
    linear = [features.frames[:, :, :2] for features in (a, b)]
    if all(len(axes) and np.ptp(axes, axis=0).max() == 0 for axes in linear):
        return np.asarray(linear[1][0] @ np.linalg.inv(linear[0][0]))
    matrix, count = _agreeing(a, b, ratio)
    if matrix is not None and count >= MIN_INLIERS:
        return matrix[:2, :2]
    if a.image is not None and b.image is not None:
        return correlate(a.image, b.image, masks=(a.mask, b.mask))[0].matrix[:2, :2]
    return np.eye(2)


def rotation_matrix(degrees: float) -> NDArray[np.float64]:
    """The matrix (2, 2) that turns pixels counter-clockwise as seen on the screen."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cos, sin], [-sin, cos]])


def _agreeing(a: Features, b: Features, ratio: float) -> tuple[NDArray[np.float64] | None, int]:
    """The similarity that explains most matches, and how many."""
    rows = mutual_nearest(a.descriptors, b.descriptors, ratio).indices
    points = a.points[rows[:, 0]], b.points[rows[:, 1]]
    fit = estimate(*points, "similarity", threshold=MAX_RESIDUAL_SHARE * max(b.size), size=a.size)
    return fit.matrix, int(fit.inliers.sum())
