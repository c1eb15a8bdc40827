"""The matches of two images: by nearest descriptors, or by a relater on a shortlist of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.dense.search import Search, search, to_features
from tiepoint.errors import InputError
from tiepoint.features.describe import Features
from tiepoint.features.view import View
from tiepoint.images.raster import Raster
from tiepoint.matching.neighbours import RowMatches, mutual_nearest
from tiepoint.matching.relate import order_of, relate_pairs
from tiepoint.matching.rotation import rotation_between, rotation_from_structure, search_rotation
from tiepoint.matching.shortlist import keep_most_probable, shortlist
from tiepoint.models.describer import Describer, sees_upright
from tiepoint.models.load import load_describer, load_relater
from tiepoint.models.relater import LearnedRelater
from tiepoint.options import Band, Detection, Matching, Nodata, override
from tiepoint.types import Image, Points, Progress

AUTO, ANY = "auto", "sdgmnet-any"
MIN_DENSE_PX = 128  # a side, below which too few windows fit
TOP_K = 5  # candidates of each keypoint where nothing else is asked for


@dataclass(frozen=True)
class Matches:
    """Two images' features, and which rows of them match, how alike they are, and, by a relater, how probably."""

    a: Features
    b: Features
    rows: RowMatches

    @property
    def points(self) -> Points:
        """Matched positions (M, 4): xa, ya, xb, yb in pixels."""
        indices = self.rows.indices
        return np.hstack([self.a.points[indices[:, 0]], self.b.points[indices[:, 1]]])

    def __len__(self) -> int:
        return len(self.rows)

    def keep(self, kept: NDArray[np.bool_]) -> Matches:
        """The same images with those of the matches for which `kept` (M,) is true."""
        return Matches(self.a, self.b, self.rows.take(kept))

    def to_json(self) -> dict[str, Any]:
        """Plain values: counts, and a row xa, ya, xb, yb, similarity (and, by a relater, probability) a match."""
        columns: list[NDArray[Any]] = [self.points, self.rows.similarity]
        if self.rows.probability is not None:
            columns.append(self.rows.probability)
        counts = {"keypoints_a": len(self.a), "keypoints_b": len(self.b), "matches": len(self)}
        return {"describer": self.a.describer, **counts, "points": np.round(np.column_stack(columns), 4).tolist()}


def match(
    a: Image | Raster | Features | View,
    b: Image | Raster | Features | View,
    describer: str | Path | Describer = "sdgmnet",
    detection: Detection | None = None,
    matching: Matching | None = None,
    *,
    relater: str | Path | LearnedRelater | None = None,
    bands: tuple[Band, Band] = (None, None),
    nodata: tuple[Nodata, Nodata] = (None, None),
    device: str | torch.device = "auto",
    progress: Progress | None = None,
    **flat: Any,
) -> Matches:
    """Match the keypoints of two images.

    A point with several orientations may match its partner more than once; the most probable or most similar of such
    matches is kept. For a describer of upright patches (see `Describer.upright_width`) the patches of b are rotated
    and scaled as the structure of both images says, by at most 18 degrees from the best of `rotations`, see
    `tiepoint.matching.rotation`.

    With a relater, keypoints among each other's `top_k` nearest that the ratio test leaves open make a shortlist
    (`tiepoint.matching.shortlist`). Their patches are encoded once each and related (`relate.relate_pairs`), and the
    matches are the pairs that are each other's most probable and at least `min_probability`. The relater sees upright
    patches of 64 px; those of b are rotated and scaled as its features say (`rotation.rotation_between`).

    Relating takes the time: of 1,000 keypoints of both images up to 2,000 patches are encoded, and on pairs of visible
    light and near infrared 800 to 1,800 pairs are related, which takes RRL-Net two to three minutes on two busy cores
    and 0.5 GB of memory, see `relate_pairs`.

    Args:
        a, b: a path, an array, a `Raster`, a `View`, or `Features` of `describe`, which are then used as they are.
        describer, relater: a name, a path or a loaded one.
        detection, matching: the defaults of `tiepoint.options` without them.
        bands: band of a and of b to take, see `describe`.
        nodata: value of pixels of a and of b that are not valid, see `describe`.
        device: where models that are given by name compute: "auto" (cuda, mps or cpu), or a torch device.
        progress: called with the steps done and their number; with a relater, pairs are steps.
        flat: fields of `Detection` and `Matching` by name, which replace those of the objects.

    Raises InputError for an unusable image, see `describe`; an unknown or unfit option; rotations for a describer that
    rotates its patches itself, or for features; features of two describers.
    """
    detection, matching = _split(detection or Detection(), matching or Matching(), flat)
    judge = None if relater is None else load_relater(relater, device)
    if judge is not None:
        order_of(judge, matching.spectra)  # before minutes are spent
    views = View.of(a, "image a", bands[0], nodata[0]), View.of(b, "image b", bands[1], nodata[1])
    keypoints = judge is not None or not suit_windows(*views)
    describer, detection = resolve_auto(describer, detection, keypoints=keypoints)
    first, second, _ = describe_views(*views, describer, detection, matching, device=device, progress=progress)
    return match_views(first, second, matching, judge, progress)


def describe_views(
    a: View,
    b: View,
    describer: str | Path | Describer,
    detection: Detection,
    matching: Matching,
    *,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
) -> tuple[View, View, Search | None]:
    """Both views with features, those of b rotated and scaled as upright patches need it; the search of windows.

    Raises InputError.
    """
    if detection.detector == "dense":
        return _describe_densely(a, b, load_describer(describer, device))
    has_images = [view.features is None for view in (a, b)]
    model = load_describer(describer, device) if any(has_images) else None
    turning = all(has_images) and model is not None and sees_upright(model)
    if matching.rotations > 1 and not turning:
        raise InputError(f"rotations is {matching.rotations}: they need two images and a describer of upright patches")
    first = a if model is None else a.described(model, detection)
    if progress:
        progress(1, 3)
    rotation = _rotation(first, b, model, detection, matching) if turning and model is not None else None
    second = b if model is None else b.described(model, detection, rotation)
    if first.known.describer != second.known.describer:
        names = f"{first.known.describer} and {second.known.describer}"
        raise InputError(f"features of {names}: use one describer for both images")
    if progress:
        progress(2, 3)
    return first, second, None


def match_views(
    a: View, b: View, matching: Matching, relater: LearnedRelater | None, progress: Progress | None = None
) -> Matches:
    """The matches of two described views; see `match`."""
    first, second = a.known, b.known
    steps, ratio = 3, 1.0 if first.spacing else matching.ratio  # of a grid, the neighbour of the nearest is as near
    if relater is None:
        places = (first.points, second.points) if matching.ratio_rule == "fginn" else None
        found = mutual_nearest(first.descriptors, second.descriptors, ratio, places=places)
    else:
        listed = shortlist(first.descriptors, second.descriptors, matching.top_k or TOP_K, matching.ratio)
        probabilities = relate_pairs(
            a, b, listed.indices, relater, matching.spectra, rotation=rotation_between(a, b, matching.ratio),
            progress=(lambda done, total: progress(2 + done, 3 + total)) if progress else None,
        )  # fmt: skip
        found = keep_most_probable(listed, probabilities, matching.min_probability)
        steps += len(listed)
    if progress:
        progress(steps, steps)
    return Matches(first, second, found.take(_distinct(Matches(first, second, found))))


def _describe_densely(a: View, b: View, describer: Describer) -> tuple[View, View, Search]:
    if a.raster is None or b.raster is None:
        raise InputError("detector dense: it needs both images, not features: name a detector of keypoints")
    found = search(a.raster, b.raster, describer)
    first, second = to_features(found, a.raster, b.raster, describer)
    return replace(a, features=first), replace(b, features=second), found


def resolve_auto(
    describer: str | Path | Describer, detection: Detection, *, keypoints: bool
) -> tuple[str | Path | Describer, Detection]:
    """What the describer "auto" and the detector "auto" stand for.

    Images are described densely by `ANY`, or, if `keypoints` are needed or a detector is named, at these by "sdgmnet".
    A describer that is named keeps to keypoints, unless the detector is "dense".
    """
    detector = detection.detector
    if describer == AUTO:
        dense = detector == "dense" or (detector == AUTO and not keypoints and not detection.affine)
        describer, detector = (ANY, "dense") if dense else ("sdgmnet", detector)
    return describer, replace(detection, detector="sift" if detector == AUTO else detector)


def suit_windows(a: View, b: View) -> bool:
    """Whether both are images that hold enough windows to be described densely."""
    return all(view.features is None and view.is_wide(MIN_DENSE_PX) for view in (a, b))


def _split(detection: Detection, matching: Matching, flat: dict[str, Any]) -> tuple[Detection, Matching]:
    """Both objects with the keywords that are theirs; what is neither's is refused."""
    of_detection = {name: value for name, value in flat.items() if name in Detection.__dataclass_fields__}
    rest = {name: value for name, value in flat.items() if name not in of_detection}
    return override(detection, of_detection), override(matching, rest)


def _rotation(a: View, b: View, model: Describer, detection: Detection, matching: Matching) -> Points:
    """How b is rotated and scaled against a (2, 2)."""
    assert a.raster is not None
    assert b.raster is not None
    about = 0.0 if matching.rotations == 1 else search_rotation(a.known, b.raster, model, detection, matching)
    return rotation_from_structure(a.raster, b.raster, about)


def _distinct(result: Matches) -> NDArray[np.int64]:
    """Rows of the matches of different points, by row."""
    order = np.argsort(-result.rows.similarity, kind="stable")
    if result.rows.probability is not None:
        order = order[np.argsort(-result.rows.probability[order], kind="stable")]
    first = np.unique(result.points[order], axis=0, return_index=True)[1]
    return np.sort(order[first])
