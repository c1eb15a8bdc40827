"""The ways to match two images that benchmarks/homography.py compares: functions of both, a budget and a ratio."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.features.describe import describe
from tiepoint.features.extract import extract
from tiepoint.features.frames import to_laf
from tiepoint.matching.match import AUTO, match
from tiepoint.matching.neighbours import mutual_nearest
from tiepoint.models.load import load
from tiepoint.options import ModelChoice
from tiepoint.registration.register import register

Grey = NDArray[np.uint8]
Vectors = NDArray[np.float32]
Described = tuple[NDArray[np.float64], Vectors]  # places (N, 2) and descriptors (N, D)
KORNIA_PATCH = 41  # pixels, which kornia's SIFT pipelines describe
MKD_PATCH = 32


@dataclass(frozen=True)
class Found:
    """What a method gives for a pair.

    Attributes:
        points: (M, 4) matches, xa, ya, xb, yb.
        keypoints: of a and of b, their number.
        own_matrix: the transform, alone in a tuple, or None in it, where the method estimates by itself.
    """

    points: NDArray[np.float64]
    keypoints: list[int]
    own_matrix: tuple[NDArray[np.float64] | None] | None = None


Method = Callable[[Grey, Grey, int, float], Found]


def tiepoint_pipeline(
    describer: str, a: Grey, b: Grey, most: int, ratio: float, detector: str = "sift", affine: bool = False
) -> Found:
    """The library as users call it."""
    found = match(a, b, loaded(describer), detector=detector, affine=affine, max_keypoints=most, ratio=ratio)
    return Found(found.points, [len(found.a), len(found.b)])


def registered(describer: str, model: ModelChoice, a: Grey, b: Grey, most: int, ratio: float) -> Found:
    """Its registration with all other defaults."""
    named = describer if describer == AUTO else loaded(describer)
    found = register(a, b, named, model=model, max_keypoints=most, ratio=ratio)
    return Found(found.tie_points, [found.a.keypoints, found.b.keypoints], (found.matrix,))


def opencv_pipeline(contrast: float, a: Grey, b: Grey, most: int, ratio: float) -> Found:
    """SIFT of OpenCV, made RootSIFT, brute force; nothing of tiepoint's."""
    sift = cv2.SIFT.create(nfeatures=most, contrastThreshold=contrast)
    places, vectors = [], []
    for image in (a, b):
        keypoints, descriptors = sift.detectAndCompute(image, None)
        order = np.argsort([-k.response for k in keypoints], kind="stable")[:most]
        raw = descriptors[order]
        places.append(np.array([keypoints[i].pt for i in order]))
        vectors.append(np.sqrt(raw / raw.sum(axis=1, keepdims=True)))
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    ways = (matcher.knnMatch(*vectors, k=2), matcher.knnMatch(*vectors[::-1], k=2))
    passed = [{m.queryIdx: m.trainIdx for m, n in way if ratio == 1 or m.distance < ratio * n.distance} for way in ways]
    pairs = [(i, j) for i, j in passed[0].items() if passed[1].get(j) == i]
    rows = np.array(pairs, dtype=int).reshape(-1, 2)
    return Found(np.hstack([places[0][rows[:, 0]], places[1][rows[:, 1]]]), [len(p) for p in places])


def kornia_pipeline(name: str, a: Grey, b: Grey, most: int, ratio: float) -> Found:
    """A pipeline of kornia's with its own detector."""
    return matched(*(_kornia_features(name, image, most) for image in (a, b)), ratio)


def same_keypoints(describer: str, a: Grey, b: Grey, most: int, ratio: float) -> Found:
    """The describer on the keypoints that tiepoint takes by default."""
    return matched(*(_on_our_keypoints(describer, image, most) for image in (a, b)), ratio)


def matched(a: Described, b: Described, ratio: float) -> Found:
    """Mutual nearest neighbours that pass the ratio test both ways."""
    rows = mutual_nearest(a[1], b[1], ratio).indices
    return Found(np.hstack([a[0][rows[:, 0]], b[0][rows[:, 1]]]), [len(a[0]), len(b[0])])


@functools.cache
def loaded(name: str) -> Any:
    """A describer, loaded once."""
    return load(name)


def _on_our_keypoints(name: str, image: Grey, most: int) -> Described:
    of_patch = name.startswith(("kornia", "patch"))
    found = describe(image, loaded("rootsift" if of_patch else name), max_keypoints=most)
    if name.startswith("kornia"):
        return found.points, _kornia_descriptors(name, image, found.frames)
    return found.points, _of_patches("rootsift", image, found.frames) if of_patch else found.descriptors


def _of_patches(describer: str, image: Grey, frames: NDArray[np.float64]) -> Vectors:
    model = loaded(describer)
    patches = torch.from_numpy(extract(image, frames, size=64, support=model.support)).float() / 255
    return np.asarray(model.describe(patches).numpy())


@torch.inference_mode()
def _kornia_features(name: str, image: Grey, most: int) -> Described:
    from kornia.feature import laf_is_filled

    lafs, _, vectors = _kornia(name, most)(_tensor(image))
    filled = laf_is_filled(lafs)[0]
    return lafs[0, filled, :, 2].double().numpy(), vectors[0, filled].float().numpy()


@torch.inference_mode()
def _kornia_descriptors(name: str, image: Grey, frames: NDArray[np.float64]) -> Vectors:
    lafs = torch.from_numpy(to_laf(frames).astype(np.float32))[None]
    return np.asarray(_kornia_describer(name)(_tensor(image), lafs)[0].float().numpy())


@functools.cache
def _kornia(name: str, most: int) -> Any:
    """Modules of kornia's that need no download."""
    from kornia import feature as kf
    from kornia.geometry import ScalePyramid

    if name == "kornia SIFTFeature":
        return kf.SIFTFeature(most).eval()
    if name.startswith("kornia SIFTFeatureScaleSpace"):
        return kf.SIFTFeatureScaleSpace(most, descriptor_backend="pyramid" if "pyramid" in name else "patch").eval()
    blobs = name == "kornia DoG + MKD"
    detector = kf.ScaleSpaceDetector(
        most,
        resp_module=kf.BlobDoG() if blobs else kf.BlobHessian(),
        scale_pyr_module=ScalePyramid(3, 1.6, 32, double_image=True),
        ori_module=kf.LAFOrienter(19),
        aff_module=None if blobs else kf.LAFAffineShapeEstimator(preserve_orientation=False),
        scale_space_response=blobs,
        minima_are_also_good=blobs,
        mr_size=6.0,
    )
    return kf.LocalFeature(detector, _kornia_describer("kornia MKD" if blobs else "kornia RootSIFT")).eval()


@functools.cache
def _kornia_describer(name: str) -> Any:
    from kornia import feature as kf

    if name == "kornia MKD":  # the whitening would be downloaded
        return kf.LAFDescriptor(kf.MKDDescriptor(MKD_PATCH, whitening=None), patch_size=MKD_PATCH).eval()
    return kf.LAFDescriptor(kf.SIFTDescriptor(KORNIA_PATCH, rootsift=True), patch_size=KORNIA_PATCH).eval()


def _tensor(image: Grey) -> torch.Tensor:
    return torch.from_numpy(image)[None, None].float() / 255


_KORNIA = (
    "kornia SIFTFeature",
    "kornia SIFTFeatureScaleSpace",
    "kornia SIFTFeatureScaleSpace pyramid",
    "kornia Hessian-affine + RootSIFT",
    "kornia DoG + MKD",
)
_OURS = ("sift", "rootsift", "sdgmnet", "sdgmnet-visnir")
OWN: dict[str, Method] = {
    "opencv RootSIFT": functools.partial(opencv_pipeline, 0.04),
    "opencv RootSIFT, contrast 0.01": functools.partial(opencv_pipeline, 0.01),
    **{name: functools.partial(kornia_pipeline, name) for name in _KORNIA},
    **{f"tiepoint {name}": functools.partial(tiepoint_pipeline, name) for name in _OURS},
    "tiepoint sdgmnet, affine": functools.partial(tiepoint_pipeline, "sdgmnet", affine=True),
    "tiepoint sdgmnet, gradient, affine": functools.partial(
        tiepoint_pipeline, "sdgmnet", detector="gradient", affine=True
    ),
    "kornia Hessian, tiepoint sdgmnet, affine": functools.partial(
        tiepoint_pipeline, "sdgmnet", detector="hessian", affine=True
    ),
}
SAME: dict[str, Method] = {
    "sift (opencv, on the image)": functools.partial(same_keypoints, "sift"),
    "rootsift (opencv, on the image)": functools.partial(same_keypoints, "rootsift"),
    "rootsift of the patch": functools.partial(same_keypoints, "patch"),
    "sdgmnet": functools.partial(same_keypoints, "sdgmnet"),
    "kornia RootSIFT": functools.partial(same_keypoints, "kornia RootSIFT"),
    "kornia MKD, not whitened": functools.partial(same_keypoints, "kornia MKD"),
}
REGISTER: dict[str, Method] = {
    "register": functools.partial(registered, AUTO, "auto"),
    "register, homography": functools.partial(registered, AUTO, "homography"),
    "register, rootsift": functools.partial(registered, "rootsift", "auto"),
    "register, sdgmnet": functools.partial(registered, "sdgmnet", "auto"),
    "register, rootsift, homography": functools.partial(registered, "rootsift", "homography"),
    "register, sdgmnet, homography": functools.partial(registered, "sdgmnet", "homography"),
}
