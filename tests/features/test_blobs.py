"""Where detectors and patches put the centre of a Gaussian blob: pixel centres are at integers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tiepoint.features import frames
from tiepoint.features.detect import detect
from tiepoint.features.extract import extract

CENTRES = [(100.0, 120.0), (81.0, 97.0), (90.3, 101.6)]
SIGMA = 6.0


def blob(centre: tuple[float, float]) -> np.ndarray:
    y, x = np.mgrid[:240, :200]
    values = 40 + 150 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * SIGMA**2))
    return np.rint(values).astype(np.uint8)


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize(
    ("name", "place", "scale"),
    [("sift", 0.03, 0.15), ("gradient", 0.1, None), ("phase", 0.8, None), ("hessian", 0.1, 0.15), ("dog", 0.1, 0.15)],
)
def test_a_blobs_centre_is_found(centre: tuple[float, float], name: str, place: float, scale: float | None) -> None:
    if name in ("hessian", "dog"):
        pytest.importorskip("kornia")
    found = detect(blob(centre), detector=name, contrast_threshold=0.001)
    near = np.linalg.norm(found.points - centre, axis=1)
    assert near.argmin() == 0  # the strongest
    np.testing.assert_allclose(found.points[0], centre, atol=place)
    if scale is not None:
        assert frames.sigmas(found.frames)[0] == pytest.approx(SIGMA, rel=scale)


def test_plain_opencv_is_a_quarter_pixel_off_and_pycolmap_a_half() -> None:
    image = blob(CENTRES[0])
    plain = max(cv2.SIFT.create().detect(image, None), key=lambda k: k.response)
    np.testing.assert_allclose(np.array(plain.pt) - CENTRES[0], 0.24, atol=0.05)
    pycolmap = pytest.importorskip("pycolmap")
    extractor = pycolmap.Sift(options=pycolmap.FeatureExtractionOptions(), device=pycolmap.Device.cpu)
    rows = np.asarray(extractor.extract(image.astype(np.float32) / 255)[0], dtype=np.float64)
    nearest = rows[np.linalg.norm(rows[:, :2] - CENTRES[0], axis=1).argmin()]
    np.testing.assert_allclose(nearest[:2] - CENTRES[0], 0.5, atol=0.05)
    ours = detect(image)
    np.testing.assert_allclose(frames.to_colmap(ours.frames[:1], columns=4)[0, :3], nearest[:3], atol=0.06)


@pytest.mark.parametrize("backend", ["opencv", "torch"])
@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize("sigma", [2.0, SIGMA, 13.0])
def test_a_patch_at_a_blob_shows_it_in_the_middle(
    centre: tuple[float, float], backend: str, size: int, sigma: float
) -> None:
    patch = extract(
        blob(centre).astype(np.float32), frames.compose([centre], [sigma], [0.7]), size=size, backend=backend
    )[0, 0]
    weights = np.maximum(patch - patch.min(), 0)
    u = (np.arange(size) + 0.5) / size - 0.5  # of the side
    place = np.array([(weights.sum(axis=0) * u).sum(), (weights.sum(axis=1) * u).sum()]) / weights.sum()
    np.testing.assert_allclose(place * 12 * sigma, 0, atol=0.05)  # in pixels of the image


@pytest.mark.parametrize("backend", ["opencv", "torch"])
def test_the_patch_of_a_sift_keypoint_has_the_blobs_width(backend: str) -> None:
    image = blob(CENTRES[0])
    patch = extract(image.astype(np.float32), detect(image).frames[:1], backend=backend)[0, 0]
    u = (np.arange(64) + 0.5) / 64 * 12 - 6  # in sigmas
    row = patch[31:33].mean(axis=0) - 40
    width = np.sqrt((row * u**2).sum() / row.sum())
    assert width == pytest.approx(SIGMA / 5.33, rel=0.1)  # SIFT finds it at 5.33 px, less the blur it assumes


def test_kornias_patch_of_our_frame_is_ours() -> None:
    feature = pytest.importorskip("kornia.feature")
    import torch

    image = blob(CENTRES[0]).astype(np.float32)
    cut = frames.compose([CENTRES[0], (104.0, 115.0)], [32 / 12, 32 / 12], [0.0, 1.1])
    lafs = torch.from_numpy(frames.to_laf(cut))[None].float()
    theirs = feature.extract_patches_from_pyramid(torch.from_numpy(image)[None, None], lafs, 32)[0]
    for backend in ("opencv", "torch"):
        np.testing.assert_allclose(extract(image, cut, size=32, backend=backend), theirs.numpy(), atol=0.5)
