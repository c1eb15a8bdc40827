"""The matches of two images: by nearest descriptors, or by a relater on a shortlist of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.features.describe import Features, describe
from tiepoint.images.raster import Raster, as_raster
from tiepoint.matching.neighbours import Matches as Matches
from tiepoint.matching.neighbours import mutual_nearest as mutual_nearest
from tiepoint.matching.neighbours import nearest as nearest
from tiepoint.matching.relate import order_of, relate_pairs
from tiepoint.matching.rotation import rotation_between, rotation_from_structure, search_rotation
from tiepoint.matching.shortlist import keep_most_probable, shortlist
from tiepoint.models.describer import Describer, sees_upright
from tiepoint.models.load import load_describer, load_relater
from tiepoint.models.relater import LearnedRelater
from tiepoint.types import Image, Progress

RatioRule = Literal["second", "apart"]
CANDIDATES = 5
LEAST_PROBABILITY = 0.5


@dataclass(frozen=True)
class MatchResult:
    """Two images' features and their matches."""

    a: Features
    b: Features
    matches: Matches

    @property
    def points(self) -> NDArray[np.float64]:
        """Matched positions (M, 4): xa, ya, xb, yb in pixels."""
        rows = self.matches.indices
        return np.hstack([self.a.points[rows[:, 0]], self.b.points[rows[:, 1]]])

    def keep(self, rows: NDArray[np.bool_]) -> MatchResult:
        """The same images with those of the matches for which `rows` (M,) says so."""
        return MatchResult(self.a, self.b, self.matches.take(rows))

    def to_json(self) -> dict[str, Any]:
        """Plain values: counts, and a row xa, ya, xb, yb, similarity for each match; by a relater, and probability."""
        columns: list[NDArray[Any]] = [self.points, self.matches.similarity]
        if self.matches.probability is not None:
            columns.append(self.matches.probability)
        counts = {"keypoints_a": len(self.a), "keypoints_b": len(self.b), "matches": len(self.matches)}
        return {"describer": self.a.describer, **counts, "points": np.round(np.column_stack(columns), 4).tolist()}


def match(
    a: Image | Raster | Features,
    b: Image | Raster | Features,
    describer: str | Path | Describer = "sdgmnet",
    *,
    ratio: float = 0.9,
    ratio_rule: RatioRule = "second",
    detector: str = "sift",
    affine: bool = False,
    max_keypoints: int = 8000,
    even: bool = False,
    contrast_threshold: float = 0.01,
    support: float | None = None,
    rotations: int = 1,
    relater: str | Path | LearnedRelater | None = None,
    candidates: int = CANDIDATES,
    spectra: tuple[str, str] | None = None,
    least_probability: float = LEAST_PROBABILITY,
    progress: Progress | None = None,
) -> MatchResult:
    """Match the keypoints of two images.

    A point with several orientations may match its partner more than once; the most probable or most similar of such
    matches is kept. For a describer of upright patches (see `LearnedDescriber.upright_width`) the patches of b are
    turned and scaled as the structure of both images says, by at most 18 degrees from the turn that `rotations` finds,
    see `tiepoint.matching.rotation`.

    With a relater: keypoints among each other's `candidates` nearest that the ratio test leaves open make a shortlist
    (`tiepoint.matching.shortlist`), their patches are encoded once each and related (`relate.relate_pairs`), and the
    matches are the pairs that are each other's most probable and at least `least_probability`. The relater cuts upright
    patches of 64 px, those of b turned and scaled as its features say (`rotation_between`).

    Relating takes the time: of 1,000 keypoints of both images up to 2,000 patches are encoded, and on pairs of visible
    light and near infrared 800 to 1,800 pairs related, which RRL-Net did in two to three minutes on two cores that were
    busy besides. It takes 0.5 GB of memory, see `relate_pairs`.

    Args:
        a: a path, an array, or `Features` of `describe`, whose describer is then used as it was.
        b: likewise.
        describer: a name, a path or a loaded one.
        ratio: of the ratio test, see `mutual_nearest`; with a relater see `shortlist`.
        ratio_rule: without a relater, what the nearest is compared with: the "second" nearest, or the first that lies
            10 px "apart" from it, the first geometrically inconsistent one.
        detector: see `describe`.
        affine: measure the affine shape of keypoints, for strong changes of viewpoint, see `describe`.
        max_keypoints: see `describe`.
        even: keep keypoints that lie evenly over the image, see `describe`.
        contrast_threshold: see `describe`.
        support: see `describe`.
        rotations: for describers of upright patches: so many equal turns of b are tried on its strongest keypoints, for
            images that may lie in any direction; 1 tries none. 12 cost as much as describing 12,000 keypoints.
        relater: a name, a path or a loaded one.
        candidates: of each keypoint, at most.
        spectra: of a and of b, by the names that the relater knows; its own order if None.
        least_probability: of a match by a relater, in 0..1.
        progress: called with steps done and their number; with a relater, pairs are steps.

    Raises:
        InputError: see `describe`; a wrong argument; rotations for a describer that turns its patches itself, or for
            features.
    """
    if ratio_rule not in get_args(RatioRule):
        raise InputError(f"no ratio_rule {ratio_rule!r}: there are {', '.join(get_args(RatioRule))}")
    if not 0 <= least_probability <= 1:
        raise InputError(f"least_probability is {least_probability:g}: give a number from 0 to 1")
    if candidates < 1:
        raise InputError(f"candidates is {candidates}: give a positive number")
    judge = None if relater is None else load_relater(relater)
    if judge is not None:
        order_of(judge, spectra)  # before minutes are spent
    settings = {
        "detector": detector, "affine": affine, "max_keypoints": max_keypoints, "even": even,
        "contrast_threshold": contrast_threshold, "support": support,
    }  # fmt: skip
    first, second = _described(a, b, describer, rotations, ratio, settings, progress)
    if first.describer != second.describer:
        raise InputError(f"features of {first.describer} and {second.describer}: use one describer for both images")
    if judge is None:
        places = (first.points, second.points) if ratio_rule == "apart" else None
        found = mutual_nearest(first.descriptors, second.descriptors, ratio, places=places)
    else:
        listed = shortlist(first.descriptors, second.descriptors, candidates, ratio)
        chances = relate_pairs(
            first, second, listed.indices, judge, spectra, turn=rotation_between(first, second, ratio),
            progress=(lambda done, total: progress(2 + done, 3 + total)) if progress else None,
        )  # fmt: skip
        found = keep_most_probable(listed, chances, least_probability)
    result = MatchResult(first, second, found)
    if progress:
        steps = 3 if judge is None else 3 + len(listed)
        progress(steps, steps)
    return MatchResult(first, second, found.take(_distinct(result)))


def _described(
    a: Image | Raster | Features,
    b: Image | Raster | Features,
    describer: str | Path | Describer,
    rotations: int,
    ratio: float,
    settings: dict[str, Any],
    progress: Progress | None,
) -> tuple[Features, Features]:
    """Features of both images, those of b in the turn that upright patches need."""
    ready = isinstance(a, Features) and isinstance(b, Features)
    model: Any = describer if ready else load_describer(describer)
    both: tuple[Raster, Raster] | None = None  # whose turn matters and can be found
    if not isinstance(a, Features) and not isinstance(b, Features) and sees_upright(model):
        a, b = both = as_raster(a, "image a"), as_raster(b, "image b")
    if rotations < 1:
        raise InputError(f"rotations is {rotations}: give 1, which searches for none, or more")
    if rotations > 1 and both is None:
        raise InputError(f"rotations is {rotations}: they need two images and a describer of upright patches")
    first = a if isinstance(a, Features) else describe(a, model, **settings, name="image a")
    if progress:
        progress(1, 3)
    turn = None
    if both is not None:
        about = 0.0 if rotations == 1 else search_rotation(first, both[1], model, rotations, ratio=ratio, **settings)
        turn = rotation_from_structure(*both, about)
    second = b if isinstance(b, Features) else describe(b, model, **settings, turn=turn, name="image b")
    if progress:
        progress(2, 3)
    return first, second


def _distinct(result: MatchResult) -> NDArray[np.int64]:
    """Rows of the matches of different places, by row."""
    order = np.argsort(-result.matches.similarity, kind="stable")
    if result.matches.probability is not None:
        order = order[np.argsort(-result.matches.probability[order], kind="stable")]
    first = np.unique(result.points[order], axis=0, return_index=True)[1]
    return np.sort(order[first])
