"""Registering one image to another: views, proposals, align, decide, tie points, warp."""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tiepoint.errors import InputError
from tiepoint.features.view import View
from tiepoint.images.raster import Reader
from tiepoint.matching.match import describe_views, match_views, resolve_auto, suit_windows
from tiepoint.matching.relate import order_of
from tiepoint.models.describer import Describer
from tiepoint.models.load import load_describer, load_relater
from tiepoint.models.relater import LearnedRelater
from tiepoint.options import TWO_VIEW_MODELS, override
from tiepoint.options import Registration as Options
from tiepoint.registration.coarse_to_fine import levels, refine_at_full_size
from tiepoint.registration.decide import from_matches, from_structure, relate_in, select_tie_points
from tiepoint.registration.epipolar_registration import register_epipolar
from tiepoint.registration.large import Input, is_read_in_windows, open_reduced
from tiepoint.registration.proposals import align_all, collect_proposals
from tiepoint.registration.result import Registration
from tiepoint.registration.task import Fit, Task
from tiepoint.registration.warp import apply_if_better
from tiepoint.types import Progress


def register(
    a: Input,
    b: Input,
    describer: str | Path | Describer = "auto",
    options: Options | None = None,
    *,
    relater: str | Path | LearnedRelater | None = None,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
    **flat: Any,
) -> Registration:
    """Register image a to image b.

    Dense descriptors, and where these are not clear the correlation of both images' structure and keypoint matches,
    propose transforms, whatever the rotation, and scales of 0.5 to 2. The proposals are refined by local correlation,
    the one that the overlap confirms most is taken, and what speaks for it makes the confidence. A registration of
    less than `min_confidence` is refused with its reasons, not raised.

    With a describer by name, keypoints are matched in place of windows, and structure is searched within 18 degrees.

    Tie points are the points whose structure agrees, or the keypoint matches where more of these do.

    Without `refine`, for `Features` alone, and for images under 192 px, the keypoint matches alone decide:
    `min_inliers` of them are needed, and the confidence is inliers / (inliers + min_inliers), a figure of their number
    and no probability. So it is with the models "fundamental" and "essential", which have to hold against chance too
    (see `tiepoint.geometry.epipolar`), and which give lines and no transform: `Registration.matrix` is then F.

    Files of more than 16 million pixels are read in windows, see `tiepoint.registration.coarse_to_fine`: TIFF and JPEG
    2000 in bounded memory where rasterio is installed (20,000 x 20,000 px in 8 bit take under 1.5 GB), others decoded
    whole. Tie points then are points at full size, and `matches` those of the reduced images in pixels of the full
    ones.

    Args:
        a: a path, an array (H, W) or (C, H, W), a `Raster`, a `View`, the `Features` of an image, or a reader of
            `open_image`, which is left open and always read in windows.
        b: the image it is registered to, in any of these forms.
        describer: "auto", which describes densely by the shipped describer for any sensors; or a name, a path or a
            loaded one, which describes keypoints unless the option `detector` is "dense".
        options: of all stages; the defaults of `tiepoint.options.Registration` without it.
        relater: a name, a path or a loaded one: gives each tie point its match probability, and drops those below
            `min_probability`. Without `refine` it drops keypoint matches, which are then fitted again. With `top_k` it
            also makes the keypoint matches, which takes minutes and helps where descriptors alone leave few. The models
            of two views accept it only so, since it compares what a transform lays over each other.
        device: where models that are given by name compute: "auto" (cuda, mps or cpu), or a torch device.
        progress: called with the steps done and their number.
        flat: fields of the options by name, which replace those of the object: `max_keypoints=2000`.

    Raises:
        InputError: an unusable image, see `describe`; an unknown option, or options that exclude each other; a device
            that is not there; for large files that have to be decoded whole, one over the limit of pixels.
    """
    chosen = override(options or Options(), flat)
    judge = _load_judge(relater, chosen, device)
    matcher = None if chosen.matching.top_k is None else judge
    with ExitStack() as stack:
        pair = open_reduced(stack, a, b, chosen) if is_read_in_windows(a, b, chosen, judge is not None) else None
        reduced = pair is not None and not pair.is_whole
        steps = _steps(progress, 4 + len(levels(pair.b.factor)) if pair is not None and reduced else 4)
        views = _views(a, b, chosen) if pair is None else pair.read((steps[0], steps[1]))
        keypoints = needs_keypoints(chosen) or not suit_windows(*views)
        describer, detection = resolve_auto(describer, chosen.detection, keypoints=keypoints)
        model = load_describer(describer, device)
        first, second, found = describe_views(
            *views, model, detection, chosen.matching, device=device, progress=steps[2]
        )
        views = first, second
        matches = match_views(*views, chosen.matching, matcher, steps[2])
        windows = (None, None) if found is None else (model, found.whole_b)
        task = Task(*views, matches, chosen, judge, *windows)
        if chosen.estimation.model in TWO_VIEW_MODELS:
            registration = register_epipolar(task)
        else:
            registration = register_views(replace(task, relater=matcher) if reduced else task)
        if pair is not None and reduced:
            registration = refine_at_full_size(registration, pair, task, steps[3:])
    registration = apply_if_better(registration, views, judge)
    if progress:
        progress(100 * len(steps), 100 * len(steps))
    return registration


def needs_keypoints(options: Options) -> bool:
    """Whether options are for keypoints: models of two views, a relater that matches, rotations to be tried."""
    matching = options.matching
    return options.estimation.model in TWO_VIEW_MODELS or matching.top_k is not None or matching.rotations > 1


def register_views(task: Task) -> Registration:
    """Propose transforms, align them, decide, and select the tie points."""
    keypoints = task.fit_matches(task.weights)
    if not task.has_structure:
        return _register_matches(task, keypoints)
    proposals = collect_proposals(task, keypoints)
    decision = from_structure(task, keypoints, align_all(task, proposals), proposals)
    return select_tie_points(task, decision, relate_in(task))


def _register_matches(task: Task, keypoints: Fit) -> Registration:
    """Decide by the keypoint matches alone; a relater that did not make them drops the improbable ones first."""
    weights, matrix = task.weights, keypoints.estimate.matrix
    relate = relate_in(task)
    if relate is not None and weights is None and matrix is not None:
        probabilities = relate(matrix, task.matches.points[:, 2:])
        probable = probabilities >= task.options.matching.min_probability
        task, weights = replace(task, matches=task.matches.keep(probable)), probabilities[probable]
        keypoints = task.fit_matches(weights)
    return select_tie_points(task, from_matches(task, *keypoints, weights))


def _load_judge(
    relater: str | Path | LearnedRelater | None, options: Options, device: str | torch.device
) -> LearnedRelater | None:
    """The relater, if one is named. Raises InputError for options that do not go together, before images are read."""
    if relater is None:
        if options.matching.top_k is not None:
            raise InputError(f"top_k is {options.matching.top_k}: it is for a relater: name one")
        return None
    model = options.estimation.model
    if model in TWO_VIEW_MODELS and options.matching.top_k is None:
        raise InputError(f"model {model} lays no image over the other for a relater: give top_k, or no relater")
    judge = load_relater(relater, device)
    order_of(judge, options.matching.spectra)
    return judge


def _views(a: Input, b: Input, options: Options) -> tuple[View, View]:
    """Both images, held whole."""
    assert not isinstance(a, Reader)
    assert not isinstance(b, Reader)
    reading = options.reading
    first = View.of(a, "image a", reading.band_a, reading.nodata_values[0])
    return first, View.of(b, "image b", reading.band_b, reading.nodata_values[1])


def _steps(progress: Progress | None, count: int) -> list[Progress | None]:
    """For each of `count` parts of the work, of a hundred steps each, what it calls with its own steps."""
    if progress is None:
        return [None] * count
    return [partial(_advance, progress, 100 * part, 100 * count) for part in range(count)]


def _advance(progress: Progress, start: int, whole: int, done: int, total: int) -> None:
    progress(start + 100 * done // total, whole)
