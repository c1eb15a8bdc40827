from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiepoint.features import frames
from tiepoint.features.detect import sift

CENTRE, SIGMA = (100.0, 120.0), 6.0


def blob(turn: float | None = None) -> np.ndarray:
    """A Gaussian blob at CENTRE, uint8; with `turn` (radians, counter-clockwise as seen) brighter towards that side."""
    y, x = np.mgrid[:240, :200]
    dx, dy = x - CENTRE[0], y - CENTRE[1]
    image = 40 + 150 * np.exp(-(dx**2 + dy**2) / (2 * SIGMA**2))
    if turn is not None:
        image = image * (1 + 0.03 * (dx * math.cos(turn) - dy * math.sin(turn)) / SIGMA)
    return np.rint(image).clip(0, 255).astype(np.uint8)


def test_opencv_keypoint_of_a_blob_lies_at_its_centre() -> None:
    found = frames.from_opencv([max(sift().detect(blob(), None), key=lambda k: k.response)])
    np.testing.assert_allclose(found[0, :, 2], CENTRE, atol=0.02)


def test_pycolmap_and_opencv_agree_on_a_blob() -> None:
    pycolmap = pytest.importorskip("pycolmap")
    options = pycolmap.FeatureExtractionOptions()
    keypoints, _ = pycolmap.Sift(options=options, device=pycolmap.Device.cpu).extract(blob().astype(np.float32) / 255)
    theirs = frames.from_colmap(np.asarray(keypoints, dtype=np.float64)[:, :4])
    ours = frames.from_opencv([max(sift().detect(blob(), None), key=lambda k: k.response)])
    nearest = np.argmin(np.linalg.norm(theirs[:, :, 2] - CENTRE, axis=1))
    np.testing.assert_allclose(theirs[nearest, :, 2], ours[0, :, 2], atol=0.05)
    np.testing.assert_allclose(frames.sigmas(theirs[[nearest]]), frames.sigmas(ours), rtol=0.02)


@pytest.mark.parametrize("degrees", [-150, -60, 30, 90])
def test_orientation_is_counter_clockwise_as_seen(degrees: float) -> None:
    turn = math.radians(degrees)
    found = [k for k in sift().detect(blob(turn), None) if math.dist(k.pt, CENTRE) < 3 and k.size > SIGMA]
    seen = frames.angles(frames.from_opencv(found))
    apart = np.abs(np.angle(np.exp(1j * (seen - turn))))
    assert apart.min() < math.radians(12)


def test_pycolmap_orientation_agrees_with_opencv() -> None:
    pycolmap = pytest.importorskip("pycolmap")
    rng = np.random.default_rng(3)
    image = cv2.GaussianBlur(rng.normal(size=(200, 200)).astype(np.float32), (0, 0), 3)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    options = pycolmap.FeatureExtractionOptions()
    raw, _ = pycolmap.Sift(options=options, device=pycolmap.Device.cpu).extract(image.astype(np.float32) / 255)
    theirs = frames.from_colmap(np.asarray(raw, dtype=np.float64)[:, :4])
    ours = frames.from_opencv(sift().detect(image, None))
    apart = np.linalg.norm(theirs[:, None, :, 2] - ours[None, :, :, 2], axis=2)
    scales = np.abs(np.log(frames.sigmas(theirs)[:, None] / frames.sigmas(ours)[None]))
    same = (apart < 0.3) & (scales < 0.1)
    turns = np.abs(np.angle(np.exp(1j * (frames.angles(theirs)[:, None] - frames.angles(ours)[None]))))
    paired = same.any(axis=1)
    assert paired.sum() > 50
    best = np.where(same, turns, np.inf).min(axis=1)[paired]
    assert np.median(best) < math.radians(3)
    offsets = (theirs[:, None, :, 2] - ours[None, :, :, 2])[same]
    np.testing.assert_allclose(np.median(offsets, axis=0), 0, atol=0.03)


def test_six_columns_of_colmap_are_the_affine_shape() -> None:
    frame = frames.from_colmap(np.array([[10.5, 20.5, 2.0, 0.5, -0.25, 3.0]]))[0]
    np.testing.assert_allclose(frame, [[2.0, 0.5, 10.0], [-0.25, 3.0, 20.0]])


def test_columns_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="4 or 6 columns"):
        frames.from_colmap(np.zeros((3, 5)))


def test_an_unoriented_opencv_keypoint_looks_right() -> None:
    assert frames.angles(frames.from_opencv([cv2.KeyPoint(5, 5, 4, -1)]))[0] == 0


def test_no_keypoints_give_no_frames() -> None:
    assert frames.from_opencv([]).shape == (0, 2, 3)


coordinate = st.floats(-1e4, 1e4)
scale = st.floats(0.1, 1e3)
angle = st.floats(-math.pi + 1e-6, math.pi)


@given(coordinate, coordinate, scale, angle)
def test_compose_round_trip(x: float, y: float, sigma: float, turn: float) -> None:
    frame = frames.compose([(x, y)], [sigma], [turn])
    np.testing.assert_allclose(frame[0, :, 2], (x, y))
    np.testing.assert_allclose(frames.sigmas(frame), sigma, rtol=1e-9)
    assert abs(np.angle(np.exp(1j * (frames.angles(frame)[0] - turn)))) < 1e-9


@given(coordinate, coordinate, scale, angle)
def test_opencv_and_colmap_round_trips(x: float, y: float, sigma: float, turn: float) -> None:
    ours = frames.compose([(x, y)], [sigma], [turn])
    opencv = frames.from_opencv([cv2.KeyPoint(x, y, 2 * sigma, math.degrees(-turn) % 360)])
    colmap = frames.from_colmap(np.array([[x + 0.5, y + 0.5, sigma, -turn]]))
    np.testing.assert_allclose(opencv, ours, rtol=1e-5, atol=1e-3 + 1e-6 * sigma * 10)  # cv2.KeyPoint holds float32
    np.testing.assert_allclose(colmap, ours, rtol=1e-9, atol=1e-9)


@given(angle, scale)
def test_perturb_by_a_turn_adds_to_the_angle(turn: float, sigma: float) -> None:
    frame = frames.compose([(3.0, 4.0)], [sigma], [0.2])
    cos, sin = math.cos(turn), math.sin(turn)
    turned = frames.perturb(frame, np.array([[[cos, sin, 0.0], [-sin, cos, 0.0]]]))
    assert abs(np.angle(np.exp(1j * (frames.angles(turned)[0] - 0.2 - turn)))) < 1e-9
    np.testing.assert_allclose(turned[0, :, 2], (3, 4))


def test_perturb_shifts_in_sides_of_the_patch() -> None:
    frame = frames.compose([(10.0, 10.0)], [2.0], [0.0])
    shifted = frames.perturb(frame, np.array([[[1.0, 0.0, 0.25], [0.0, 1.0, 0.0]]]), support=12.0)
    np.testing.assert_allclose(shifted[0, :, 2], (10 + 0.25 * 24, 10))
