"""Detectors by name: functions of an 8-bit image, the lowest response and the number of keypoints wanted.

They return keypoints in any order and at least as many as wanted, if the image has them; `tiepoint.features.detect`
sorts, selects and shapes them. Those that measure no scale give `tiepoint.features.keypoints.DEFAULT_SIGMA_PX`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.features import corners, phase
from tiepoint.features.corners import find_peaks
from tiepoint.features.frames import compose, from_laf, sigmas
from tiepoint.features.keypoints import Keypoints
from tiepoint.options import Detection
from tiepoint.types import Points

Grey = NDArray[np.uint8]
Detector = Callable[[Grey, float, int], Keypoints]

POOL_FACTOR = 4  # how many times the wanted number detectors with a limit of their own are asked for, to choose from
PHASE_BLUR = 1.5
PHASE_FAST_THRESHOLD = 12  # FAST's threshold, of 255 for the largest moment
MIN_KORNIA_SIDE_PX = 16  # pixels; it cannot pad images of a few
MAX_MSER_SHARE = 0.25  # share of the image


def sift(contrast_threshold: float = Detection.contrast_threshold) -> cv2.SIFT:
    """OpenCV's SIFT with the precise upscale; without it every keypoint is 0.24 px off in x and y."""
    return cv2.SIFT.create(contrastThreshold=contrast_threshold, enable_precise_upscale=True)


def detect_sift(image: Grey, contrast: float, count: int) -> Keypoints:
    """SIFT (Lowe, IJCV 2004). A point with several orientations gives several keypoints."""
    return Keypoints.from_opencv(tuple(sift(contrast).detect(image, None)))


def detect_gradient(image: Grey, contrast: float, count: int) -> Keypoints:
    """Corners of the edge structure, see `tiepoint.features.corners`; `contrast` is the lowest response, in 0..1."""
    return Keypoints.at(*find_peaks(corners.cornerness(image), contrast))


def detect_phase(image: Grey, contrast: float, count: int) -> Keypoints:
    """Corners and edge points of phase congruency, see `tiepoint.features.phase`, by its smaller moment.

    Peaks of the smaller moment, and where none is near, FAST points of the greater one, as in RIFT (Li, Hu and Ai, IEEE
    TIP 29, 2020). A tenth of `contrast` is the lowest smaller moment, in 0..1.
    """
    greater, smaller = phase.moments(image)
    smaller = np.asarray(cv2.GaussianBlur(smaller, (0, 0), PHASE_BLUR), dtype=np.float32)
    points, responses = find_peaks(smaller, contrast / 10)
    far = np.ones(image.shape, dtype=np.uint8)
    x, y = np.rint(points).astype(int).T
    far[y, x] = 0
    far = np.asarray(cv2.erode(far, np.ones((5, 5), dtype=np.uint8)))
    edges = (greater * (255 / max(float(greater.max()), 1e-6))).astype(np.uint8)
    more, _ = _fast(edges, PHASE_FAST_THRESHOLD)
    x, y = more.astype(int).T
    kept = (far[y, x] > 0) & (smaller[y, x] > contrast / 10)
    strengths = np.concatenate([responses, smaller[y[kept], x[kept]]])
    return Keypoints.at(np.concatenate([points, more[kept]]), strengths)


def detect_orb(image: Grey, contrast: float, count: int) -> Keypoints:
    """ORB (Rublee et al., ICCV 2011): oriented FAST over a pyramid; a patch of 12 sigmas is the one ORB describes."""
    detector = cv2.ORB.create(max(POOL_FACTOR * count, 1), fastThreshold=_grey_levels(contrast))
    return _without_octaves(detector.detect(image, None), 1 / 12)  # `size` is the width of the patch


def detect_fast(image: Grey, contrast: float, count: int) -> Keypoints:
    """FAST-9 (Rosten and Drummond, ECCV 2006), at whole pixels; `contrast` is a share of the grey values' range."""
    return Keypoints.at(*_fast(image, _grey_levels(contrast)))


def detect_gftt(image: Grey, contrast: float, count: int) -> Keypoints:
    """Good features to track (Shi and Tomasi, CVPR 1994); `contrast` is a share of the image's best response."""
    response = np.asarray(cv2.cornerMinEigenVal(image, 3), dtype=np.float32)
    return Keypoints.at(*find_peaks(response, contrast * float(response.max())))


def detect_mser(image: Grey, contrast: float, count: int) -> Keypoints:
    """Maximally stable extremal regions (Matas et al., BMVC 2002), as the ellipses of their second moments.

    The response is the contrast of the region to its bounding box, in grey values; `contrast` is the least, as a share
    of the range, over which a region must be stable. A disc gives the sigma at which SIFT would find it.
    """
    detector = cv2.MSER.create(_grey_levels(contrast), max_area=max(60, int(MAX_MSER_SHARE * image.size)))
    regions, boxes = detector.detectRegions(image)
    frames, responses = np.zeros((len(regions), 2, 3)), np.zeros(len(regions), dtype=np.float32)
    for i, (pixels, (left, top, width, height)) in enumerate(zip(regions, boxes, strict=True)):
        region = np.asarray(pixels)  # (K, 2), x and y
        covariance = np.cov(region.T.astype(np.float64), bias=True) + np.eye(2) / 12  # of a pixel's square
        values, vectors = np.linalg.eigh(covariance)
        frames[i, :, :2] = (vectors * np.sqrt(2 * values)) @ vectors.T  # a disc of radius r: sigma r / sqrt 2
        frames[i, :, 2] = region.mean(axis=0)
        box = image[top : top + height, left : left + width]
        responses[i] = abs(float(image[region[:, 1], region[:, 0]].mean()) - float(box.mean()))
    return Keypoints(frames, responses)


def detect_akaze(image: Grey, contrast: float, count: int) -> Keypoints:
    """AKAZE (Alcantarilla, Nuevo and Bartoli, BMVC 2013). OpenCV 5 has it in its contrib modules alone."""
    akaze = getattr(cv2, "AKAZE", None) or getattr(getattr(cv2, "xfeatures2d", None), "AKAZE", None)
    if akaze is None:
        raise InputError(
            "detector akaze: OpenCV 5 moved it to its contrib modules: install opencv-contrib-python-headless in place "
            "of opencv-python-headless, or take 'sift'"
        )
    return _without_octaves(akaze.create(threshold=contrast / 10).detect(image, None), 0.5)


def detect_grid(image: Grey, contrast: float, count: int) -> Keypoints:
    """About `count` points of a square grid, whatever the image shows there; all responses are 1."""
    height, width = image.shape
    spacing = math.sqrt(height * width / max(count, 1))
    rows, columns = (min(n, max(1, round(n / spacing))) for n in image.shape)
    y = (np.arange(rows) + 0.5) * height / rows - 0.5
    x = (np.arange(columns) + 0.5) * width / columns - 0.5
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return Keypoints.at(points, np.ones(len(points)))


def detect_kornia(image: Grey, contrast: float, count: int, name: str) -> Keypoints:
    """kornia's detector over a scale pyramid from the full image down to 16 px.

    Harris corners, maxima of the Hessian's determinant, or extrema of differences of Gaussians ("dog"), SIFT's blobs.
    """
    try:
        import kornia.feature as feature
    except ImportError:
        raise InputError(f"detector {name}: needs kornia: pip install 'tiepoint[kornia]'") from None
    import torch

    # The measure, and the power to which it raises the contrast of the image.
    measure, power = {
        "harris": (feature.CornerHarris(0.04), 4), "hessian": (feature.BlobHessian(), 2), "dog": (feature.BlobDoG(), 1)
    }[name]  # fmt: skip
    if min(image.shape) < MIN_KORNIA_SIDE_PX:
        return Keypoints.at(np.empty((0, 2)), np.empty(0))
    both = name == "dog"
    detector = feature.ScaleSpaceDetector(
        POOL_FACTOR * count, mr_size=6.0, resp_module=measure, minima_are_also_good=both, scale_space_response=both
    )
    with torch.inference_mode():
        lafs, responses = detector(torch.from_numpy(image)[None, None].float() / 255)
    kept = responses[0] > (contrast / 10) ** power  # the places it did not fill have response 0
    frames = from_laf(lafs[0][kept].double().numpy(), support=12.0)
    # Its octaves' sides are rounded, which makes its circles ellipses by a percent or two.
    circles = compose(frames[:, :, 2], sigmas(frames), np.zeros(len(frames)))
    return Keypoints(circles, responses[0][kept].numpy())


# Left out: KeyNet, whose weights kornia downloads.
DETECTORS: dict[str, Detector] = {
    "sift": detect_sift, "gradient": detect_gradient, "phase": detect_phase, "orb": detect_orb, "fast": detect_fast,
    "gftt": detect_gftt, "mser": detect_mser, "akaze": detect_akaze, "grid": detect_grid,
    **{name: partial(detect_kornia, name=name) for name in ("harris", "hessian", "dog")},
}  # fmt: skip
ORIENTED = {"sift", "orb", "akaze"}  # these measure orientations themselves
SHAPED = {"mser"}  # and this its affine shape


def _fast(image: Grey, threshold: int) -> tuple[Points, NDArray[np.float32]]:
    """Points (N, 2) at whole pixels and responses (N,)."""
    found = Keypoints.from_opencv(tuple(cv2.FastFeatureDetector.create(threshold).detect(image)))
    return found.points, found.responses


def _grey_levels(contrast: float) -> int:
    return max(1, round(255 * contrast))


def _without_octaves(found: Sequence[cv2.KeyPoint], unit: float) -> Keypoints:
    """OpenCV's keypoints, `unit` sigmas to a unit of their size. Their octaves would mislead SIFT's descriptor."""
    keypoints = Keypoints.from_opencv(tuple(found))
    keypoints.frames[:, :, :2] *= 2 * unit
    return replace(keypoints, opencv=())
