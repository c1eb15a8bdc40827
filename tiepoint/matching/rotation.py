"""How one image is rotated and scaled against another: by its features, by structure, and by trial."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiepoint.features.describe import Features, describe, describe_patches
from tiepoint.features.view import View
from tiepoint.geometry.robust import estimate
from tiepoint.images.raster import Raster
from tiepoint.images.window import rotation_matrix
from tiepoint.matching.neighbours import mutual_nearest
from tiepoint.models.describer import Describer
from tiepoint.options import Detection, Matching, override
from tiepoint.structure.global_search import ROTATIONS, correlate

MAX_KEYPOINTS = 1000  # that the search matches, the strongest
LOOSE_SHARE = 0.02  # of the longer side: residual of an inlier, as perspective bends a similarity
MIN_INLIERS = 12  # that fix a rotation


def rotation_from_structure(a: Raster, b: Raster, about: float = 0.0) -> NDArray[np.float64]:
    """The rotation and scale (2, 2) of b against a by correlation of structure, see `correlate`.

    Rotations within 18 degrees of `about` are tried, counter-clockwise as seen on the screen.
    """
    rotations = [about + rotation for rotation in ROTATIONS]
    return correlate(a.pixels, b.pixels, rotations=rotations, masks=(a.mask, b.mask))[0].matrix[:2, :2]


def search_rotation(a: Features, b: Raster, model: Describer, detection: Detection, matching: Matching) -> float:
    """Of evenly spaced rotations of b against a the one under which most matches agree, degrees counter-clockwise.

    The strongest 1,000 keypoints of b are described in every rotation and matched with those of a. A rotation counts by
    the matches that one similarity explains, to 2 % of the longer side. Where none does, it is 0.

    Args:
        a: features described upright.
        b: an image.
        model: a describer of upright patches.
        detection: which keypoints are detected. Raises InputError, see `describe`.
        matching: its `rotations` is their number: 8 leave at most 22.5 degrees to the correlation, 12 leave 15; its
            `ratio` is that of the ratio test.
    """
    # The strongest keypoints of both images are the likeliest to show the same.
    strongest = override(detection, {"uniform": False, "max_keypoints": min(MAX_KEYPOINTS, detection.max_keypoints)})
    first = replace(a, frames=a.frames[:MAX_KEYPOINTS], descriptors=a.descriptors[:MAX_KEYPOINTS])
    upright = describe(b, model, strongest)
    width = detection.support or model.support
    angles = [360 * k / matching.rotations for k in range(matching.rotations)]
    counts = []
    for angle in angles:
        frames = upright.frames.copy()
        frames[:, :, :2] = rotation_matrix(angle) @ frames[:, :, :2]
        descriptors = describe_patches(b.pixels, frames, model, width, b.limits)
        counts.append(_agreeing(first, replace(upright, descriptors=descriptors), matching.ratio)[1])
    return angles[int(np.argmax(counts))]


def rotation_between(a: View, b: View, ratio: float) -> NDArray[np.float64]:
    """How b is rotated and scaled against a (2, 2), as their features say.

    Where all frames of an image are alike, as those of upright describers are, it is that of b's against a's.
    Otherwise it is that of the similarity that explains the matches by `ratio`, if 12 agree; or else by structure,
    where both images are at hand; or else the identity.
    """
    linear = [view.known.frames[:, :, :2] for view in (a, b)]
    if all(len(axes) and np.ptp(axes, axis=0).max() == 0 for axes in linear):
        return np.asarray(linear[1][0] @ np.linalg.inv(linear[0][0]))
    matrix, count = _agreeing(a.known, b.known, ratio)
    if matrix is not None and count >= MIN_INLIERS:
        return matrix[:2, :2]
    if a.raster is not None and b.raster is not None:
        return rotation_from_structure(a.raster, b.raster)
    return np.eye(2)


def _agreeing(a: Features, b: Features, ratio: float) -> tuple[NDArray[np.float64] | None, int]:
    """The similarity that explains most matches, and how many."""
    rows = mutual_nearest(a.descriptors, b.descriptors, ratio).indices
    points = a.points[rows[:, 0]], b.points[rows[:, 1]]
    fit = estimate(*points, "similarity", threshold=LOOSE_SHARE * max(b.size), size=a.size)
    return fit.matrix, int(fit.inliers.sum())
