"""What a user may set of detection, matching, estimation, the verdict and batches; each default stands here alone.

The docstrings of the fields are the help of the commands. Functions take an options object, single fields as keywords
(`register(a, b, max_keypoints=2000)`), or both: keywords win.
"""

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np

from tiepoint.errors import InputError
from tiepoint.types import Matrix

Model = Literal["similarity", "affine", "homography"]
TwoViewModel = Literal["fundamental", "essential"]
ModelChoice = Literal["auto", "homography", "affine", "similarity", "fundamental", "essential"]
RatioRule = Literal["snn", "fginn"]
WarpKind = Literal["thin-plate", "piecewise"]
Large = Literal["auto", "always", "never"]
Band = int | str | None
Nodata = float | None  # the grey value of pixels without data
Camera = tuple[float, float, float, float]  # focal lengths fx, fy and principal point cx, cy, in pixels
TWO_VIEW_MODELS: tuple[TwoViewModel, ...] = get_args(TwoViewModel)
MIN_CORRESPONDENCES = 4  # that a homography needs
MIN_OVERVIEW_PX = 512
MAX_ROTATIONS = 360
T = TypeVar("T")


def _check(holds: bool, complaint: str) -> None:
    if not holds:
        raise InputError(complaint)


def _check_share(name: str, value: float) -> None:
    _check(0 <= value <= 1, f"{name} is {value:g}: give a number from 0 to 1")


def _check_choice(name: str, value: str, kind: Any) -> None:
    choices = get_args(kind)
    _check(value in choices, f"no {name} {value!r}: there are {', '.join(choices)}")


@dataclass(frozen=True)
class Detection:
    """Which keypoints are detected, and how wide their patches are."""

    max_keypoints: int = 8000
    """Number of keypoints to keep in each image, the strongest first."""
    detector: str = "auto"
    """What is described: all windows of a grid (dense), or the keypoints of a detector: sift, gradient, phase, orb,
    fast, gftt, mser, akaze, grid, or kornia's harris, hessian or dog. auto is dense where the describer is auto too,
    and sift otherwise."""
    affine: bool = False
    """Measure the affine shape of each keypoint, for strong changes of viewpoint, whatever the transform that is
    fitted. A point then has one orientation. Describers of upright patches do not take it."""
    uniform: bool = False
    """Keep keypoints that are spread evenly over the image (adaptive non-maximal suppression), not the strongest."""
    contrast_threshold: float = 0.01
    """Lowest response of a keypoint. Lower it for images of little contrast."""
    support: float | None = None
    """Width of a patch in sigmas of its keypoint. Without it the describer's own width is used."""

    def __post_init__(self) -> None:
        _check(self.max_keypoints >= 1, f"max_keypoints is {self.max_keypoints}: give a positive number")
        _check(self.support is None or self.support > 0, f"support is {self.support}: give a positive number of sigmas")
        _check_share("contrast_threshold", self.contrast_threshold)


@dataclass(frozen=True)
class Matching:
    """How keypoints are matched."""

    ratio: float = 0.9
    """Largest ratio of the L2 distances to the nearest and to the second nearest descriptor; 1 switches the test off.
    With a relater, the candidates are those that this ratio calls as near as the nearest."""
    ratio_rule: RatioRule = "snn"
    """What the nearest descriptor is compared with: the second nearest (snn), or the first geometrically inconsistent
    one, which lies more than 10 px from the nearest (fginn). A relater does not use it."""
    rotations: int = 1
    """Number of evenly spaced rotations of b to try (1: only the given one). Use it when the relative rotation is
    unknown; it is for describers of upright patches."""
    top_k: int | None = None
    """Number of nearest neighbours of each keypoint that the relater considers. `match` considers 5 unless told
    otherwise; `register` lets the relater choose the keypoint matches only where this is given, which is slow."""
    spectra: tuple[str, str] | None = None
    """Spectra of a and b, by the names that the relater knows. Without them the relater's own order is used."""
    min_probability: float = 0.5
    """Lowest match probability, by the relater, of a match or a tie point, from 0 to 1."""

    def __post_init__(self) -> None:
        _check_choice("ratio_rule", self.ratio_rule, RatioRule)
        _check(
            self.rotations in range(1, MAX_ROTATIONS + 1),
            f"rotations is {self.rotations}: give their number, from 1, which tries no other one, to {MAX_ROTATIONS}",
        )
        _check(self.top_k is None or self.top_k >= 1, f"top_k is {self.top_k}: give a positive number")
        _check_share("min_probability", self.min_probability)


@dataclass(frozen=True)
class Estimation:
    """How the transform is proposed, refined and fitted."""

    model: ModelChoice = "auto"
    """Transform to fit; auto takes the simplest that explains the correspondences. fundamental and essential are for
    scenes that are not flat: they use the keypoint matches alone, and give lines instead of a transform."""
    max_residual: float = 3.0
    """Largest residual of a tie point in pixels of b."""
    global_search: bool = True
    """Search for small rotations and scales by the structure of the images too, not by keypoints alone."""
    refine: bool = True
    """Correlate the structure locally and judge by what agrees. Without it the number of keypoint matches decides."""
    warp: WarpKind | None = None
    """Bend the transform where held-out tie points say that this is better: thin-plate for smooth differences,
    piecewise for differences with edges."""
    camera_a: Camera | None = None
    """For the model essential: focal lengths and principal point of a (fx, fy, cx, cy) in pixels."""
    camera_b: Camera | None = None
    """Focal lengths and principal point of b. Without them b has the camera of a."""
    seed: int = 0
    """Seed of the robust estimation."""

    def __post_init__(self) -> None:
        _check_choice("model", self.model, ModelChoice)
        if self.warp is not None:
            _check_choice("warp", self.warp, WarpKind)
        _check(self.max_residual > 0, f"max_residual is {self.max_residual:g}: give a positive number of pixels")
        _check(
            self.model != "essential" or self.camera_a is not None,
            "model essential needs camera_a: give fx, fy, cx, cy of a, and of b as camera_b if it differs",
        )
        _check(
            self.model == "essential" or self.camera_a is None,
            f"camera_a is for the model essential, not {self.model}: leave it out",
        )
        _check(self.camera_b is None or self.camera_a is not None, "camera_b stands alone: give camera_a too")
        for name, camera in (("camera_a", self.camera_a), ("camera_b", self.camera_b)):
            if camera is not None:
                numbers = tuple(map(float, camera))
                fits = len(numbers) == 4 and all(map(math.isfinite, numbers)) and min(numbers[:2]) > 0
                _check(fits, f"{name} is {numbers}: give fx, fy, cx, cy in pixels, the focal lengths positive")
                object.__setattr__(self, name, numbers)
        _check(
            self.warp is None or self.model not in TWO_VIEW_MODELS,
            f"model {self.model} has no transform that a warp could bend: leave out warp or take another model",
        )

    @property
    def cameras(self) -> tuple[Matrix, Matrix] | None:
        """Intrinsics (3, 3) of a and of b, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; None where none are given."""
        if self.camera_a is None:
            return None
        first, second = (
            np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
            for fx, fy, cx, cy in (self.camera_a, self.camera_b or self.camera_a)
        )
        return first, second


@dataclass(frozen=True)
class Verdict:
    """When a registration is accepted."""

    # Of training images, over five folds, 158 of 160 right registrations reach it and none of 355 wrong ones.
    min_confidence: float = 0.65
    """Lowest confidence of an accepted registration, from 0 to 1."""
    min_inliers: int = 12
    """Number of tie points that a registration needs where keypoint matches alone decide, at least 4."""

    def __post_init__(self) -> None:
        _check_share("min_confidence", self.min_confidence)
        _check(
            self.min_inliers >= MIN_CORRESPONDENCES,
            f"min_inliers is {self.min_inliers}: give at least {MIN_CORRESPONDENCES}",
        )


@dataclass(frozen=True)
class Reading:
    """How the images are read."""

    band_a: Band = None
    """Band of a to take, by its name or by its number from 1. Without it colours become their luma, and of more bands
    the mean is taken."""
    band_b: Band = None
    """Band of b to take."""
    nodata: float | tuple[Nodata, Nodata] | None = None
    """Grey value, as stored, of pixels without data, beside what the files say: of both images, or one of a and one of
    b, nan for none, such as 0 nan. Of colours and of several bands, all have it."""
    large: Large = "auto"
    """Whether image files are read in windows, registered at a reduced size first and refined at full size. auto does
    so where either has more than 16 million pixels and the other options allow it."""
    overview: int = 1536
    """Largest side of the reduced images of a large pair in pixels, at least 512."""
    tile: int = 2048
    """Largest side, in pixels, of a window that is read from a large image at once."""

    def __post_init__(self) -> None:
        for name, band in (("band_a", self.band_a), ("band_b", self.band_b)):
            _check(band is None or isinstance(band, int | str), f"{name} is {band!r}: give a number or a name")
        _check_choice("large", self.large, Large)
        pair = self.nodata if isinstance(self.nodata, tuple) else (self.nodata, self.nodata)
        numbers = all(value is None or (isinstance(value, float | int) and not math.isinf(value)) for value in pair)
        _check(len(pair) == 2 and numbers, f"nodata is {self.nodata!r}: give a number, or one for a and one for b")
        first, second = (None if value is None or math.isnan(value) else value for value in pair)
        object.__setattr__(self, "nodata", first if first == second else (first, second))
        _check(self.tile >= 1, f"tile is {self.tile}: give a positive number of pixels")
        _check(self.overview >= MIN_OVERVIEW_PX, f"overview is {self.overview}: give at least {MIN_OVERVIEW_PX} px")

    @property
    def nodata_values(self) -> tuple[Nodata, Nodata]:
        """The value of pixels without data in a and in b."""
        return self.nodata if isinstance(self.nodata, tuple) else (self.nodata, self.nodata)


@dataclass(frozen=True)
class Registration:
    """All options of `register`."""

    estimation: Estimation = Estimation()
    detection: Detection = Detection()
    matching: Matching = Matching()
    verdict: Verdict = Verdict()
    reading: Reading = Reading()

    def __post_init__(self) -> None:
        if self.reading.large == "always" and (reason := self.whole_only()):
            raise InputError(reason)

    def whole_only(self, relater: bool = False) -> str | None:
        """Why these options are for images held whole alone, and not read in windows; None if they suit both."""
        if self.estimation.model in TWO_VIEW_MODELS:
            return (
                f"model is {self.estimation.model!r}: large images are registered by auto, {', '.join(get_args(Model))}"
            )
        if self.estimation.warp is not None and relater:
            return "a warp and a relater do not go together for large images: leave one of them out"
        if not self.estimation.refine:
            return "large images are registered by the structure at full size: leave refine switched on"
        return None


@dataclass(frozen=True)
class Verification:
    """How pairs of images are verified for COLMAP."""

    max_residual: float = Estimation.max_residual
    """Largest Sampson distance of an inlier in pixels."""
    min_inliers: int = 15
    """Number of inliers that a verified pair needs, at least 8; COLMAP's mapper takes no pair with fewer than 15."""
    seed: int = Estimation.seed
    """Seed of the robust estimation."""


@dataclass(frozen=True)
class Cameras:
    """The cameras of images for COLMAP."""

    single_camera: bool = False
    """All images are of one camera, and of one size. Without it each image has its own camera."""
    focal: float | None = None
    """Focal length in pixels, if it is known. Without it COLMAP starts from 1.2 times the longer side."""

    def __post_init__(self) -> None:
        _check(self.focal is None or self.focal > 0, f"focal is {self.focal}: give a positive number of pixels")


@dataclass(frozen=True)
class Files:
    """What `tiepoint register` writes besides --out."""

    report: Path | None = None
    """File for a page of HTML that shows the registration and needs no network. Of many pairs it is the name of the
    page in each pair's folder."""
    warp_output: Path | None = None
    """File (.tif) for all bands of A on the grid of B, with its georeference, if accepted; needs rasterio. Of many
    pairs it is the name of the file in each pair's folder."""


@dataclass(frozen=True)
class Batch:
    """How many pairs are registered."""

    workers: int = 1
    """Number of pairs registered at a time, in threads that share the models. Each holds its images in memory."""
    cache: bool = True
    """Keep the features of each image in the folder of the results, about 4.5 MB for 8,000 keypoints, for other pairs
    and later runs. They may be deleted. None are kept of images read in windows, nor by describers of upright patches,
    whose patches depend on the pair."""

    def __post_init__(self) -> None:
        _check(self.workers >= 1, f"workers is {self.workers}: give a positive number")


def override(options: T, flat: Mapping[str, Any]) -> T:
    """Options with single fields replaced, also those of the dataclasses within.

    Args:
        options: an options object, which stays as it is.
        flat: field names and values.

    Raises:
        InputError: a name that is no field, or a value or combination that makes no sense.
    """
    known = dict(_leaves(options))
    for name in flat:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
            raise InputError(f"unknown option {name!r}: {hint}")
    return _override(options, flat)


def _override(options: T, flat: Mapping[str, Any]) -> T:
    changed: dict[str, Any] = {}
    for one in fields(options):  # type: ignore[arg-type]
        value = getattr(options, one.name)
        if is_dataclass(value):
            changed[one.name] = _override(value, flat)
        elif one.name in flat:
            given = flat[one.name]
            changed[one.name] = given.item() if isinstance(given, np.generic) else given
    return replace(options, **changed)  # type: ignore[type-var]


def plain(options: Any) -> dict[str, Any]:
    """The fields as plain values by name, those of the dataclasses within among them: for JSON."""
    return dict(_leaves(options))


def _leaves(options: Any) -> Iterator[tuple[str, Any]]:
    for one in fields(options):
        value = getattr(options, one.name)
        if is_dataclass(value):
            yield from _leaves(value)
        else:
            yield one.name, value
