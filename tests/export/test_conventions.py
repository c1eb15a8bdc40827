"""The border to OpenCV, COLMAP and kornia, in both directions, on blobs of known place, size and orientation."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tiepoint.features import frames
from tiepoint.features.detect import sift
from tiepoint.features.extract import extract

CENTRE, SIGMA = (100.0, 120.0), 6.0
coordinate, scale = st.floats(-1e4, 1e4), st.floats(0.1, 1e3)
angle = st.floats(-math.pi + 1e-6, math.pi)
entries = st.lists(st.floats(-50, 50), min_size=4, max_size=4)


def blob() -> np.ndarray:
    """A Gaussian blob at CENTRE, uint8 (240, 200)."""
    y, x = np.mgrid[:240, :200]
    return np.rint(40 + 150 * np.exp(-((x - CENTRE[0]) ** 2 + (y - CENTRE[1]) ** 2) / (2 * SIGMA**2))).astype(np.uint8)


def strongest() -> cv2.KeyPoint:
    return max(sift().detect(blob(), None), key=lambda k: k.response)


@given(coordinate, coordinate, scale, angle)
def test_opencv_there_and_back(x: float, y: float, sigma: float, turn: float) -> None:
    ours = frames.compose([(x, y)], [sigma], [turn])
    (keypoint,) = frames.to_opencv(ours, [0.25])
    assert keypoint.response == 0.25
    assert 0 <= keypoint.angle <= 360
    back = frames.from_opencv([keypoint])
    np.testing.assert_allclose(back, ours, rtol=1e-5, atol=1e-3 + 1e-5 * sigma)  # cv2.KeyPoint holds float32


@given(coordinate, coordinate, entries)
def test_colmap_with_affine_shape_there_and_back(x: float, y: float, shape: list[float]) -> None:
    ours = np.array([[[shape[0], shape[1], x], [shape[2], shape[3], y]]])
    table = frames.to_colmap(ours)
    assert (table.shape, table.dtype) == ((1, 6), np.float32)
    np.testing.assert_allclose(frames.from_colmap(table), ours, rtol=1e-6, atol=2e-3)


@given(coordinate, coordinate, scale, angle)
def test_colmap_with_orientation_there_and_back(x: float, y: float, sigma: float, turn: float) -> None:
    ours = frames.compose([(x, y)], [sigma], [turn])
    table = frames.to_colmap(ours, columns=4)
    assert table.shape == (1, 4)
    np.testing.assert_allclose(frames.from_colmap(table), ours, rtol=1e-5, atol=2e-3)


@given(entries, st.floats(1, 40))
def test_laf_there_and_back(shape: list[float], support: float) -> None:
    ours = np.array([[[shape[0], shape[1], 3], [shape[2], shape[3], 4]]], dtype=np.float64)
    before = ours.copy()
    np.testing.assert_allclose(frames.from_laf(frames.to_laf(ours, support), support), ours, atol=1e-12)
    np.testing.assert_array_equal(ours, before)


def test_other_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="4 or 6 columns"):
        frames.to_colmap(np.zeros((1, 2, 3)), columns=5)


def test_no_frames_give_nothing() -> None:
    none = np.empty((0, 2, 3))
    assert frames.to_opencv(none) == ()
    assert frames.to_colmap(none).shape == (0, 6)
    assert frames.to_colmap(none, columns=4).shape == (0, 4)
    assert frames.to_laf(none).shape == (0, 2, 3)


def test_the_blob_is_written_as_pycolmap_finds_it() -> None:
    pycolmap = pytest.importorskip("pycolmap")
    options = pycolmap.FeatureExtractionOptions()
    found, _ = pycolmap.Sift(options=options, device=pycolmap.Device.cpu).extract(blob().astype(np.float32) / 255)
    theirs = np.asarray(found, dtype=np.float64)[:, :4]
    theirs = theirs[np.argmin(np.linalg.norm(theirs[:, :2] - 0.5 - CENTRE, axis=1))]
    ours = frames.to_colmap(frames.from_opencv([strongest()]), columns=4)[0]
    np.testing.assert_allclose(ours[:2], theirs[:2], atol=0.05)
    np.testing.assert_allclose(ours[:2], np.array(CENTRE) + 0.5, atol=0.05)
    np.testing.assert_allclose(ours[2], theirs[2], rtol=0.02)


@pytest.mark.parametrize("turn", [-2.0, 0.4, 2.5])
def test_pycolmaps_orientation_is_ours_turned_about(turn: float) -> None:
    """A blob that is brighter towards one side, in the direction of which SIFT's orientation points."""
    pycolmap = pytest.importorskip("pycolmap")
    y, x = np.mgrid[:240, :200]
    along = ((x - CENTRE[0]) * math.cos(turn) - (y - CENTRE[1]) * math.sin(turn)) / SIGMA
    image = np.rint((blob() * (1 + 0.03 * along)).clip(0, 255)).astype(np.uint8)
    options = pycolmap.FeatureExtractionOptions()
    found, _ = pycolmap.Sift(options=options, device=pycolmap.Device.cpu).extract(image.astype(np.float32) / 255)
    theirs = np.asarray(found, dtype=np.float64)[:, :4]
    theirs = theirs[np.linalg.norm(theirs[:, :2] - 0.5 - CENTRE, axis=1) < 3]
    ours = frames.to_colmap(frames.compose([CENTRE], [SIGMA], [turn]), columns=4)[0]
    assert len(theirs)
    assert np.abs(np.angle(np.exp(1j * (theirs[:, 3] - ours[3])))).min() < 0.2


@pytest.mark.parametrize("turn", [0.0, math.pi / 6, -1.9])
def test_kornia_makes_the_frame_that_we_write(turn: float) -> None:
    kornia = pytest.importorskip("kornia.feature")
    ours = torch.from_numpy(frames.to_laf(frames.compose([CENTRE], [SIGMA], [turn]), support=12))[None]
    theirs = kornia.laf_from_center_scale_ori(
        torch.tensor([[CENTRE]]), torch.full((1, 1, 1, 1), 6 * SIGMA), torch.tensor([[[math.degrees(turn)]]])
    )
    torch.testing.assert_close(ours.float(), theirs, rtol=0, atol=1e-4)


def test_kornia_samples_the_blob_where_we_do() -> None:
    kornia = pytest.importorskip("kornia.feature")
    ours = frames.compose([CENTRE, (102.5, 117.25)], [2.5, 2.5], [0.0, 0.7])  # 30 px to 32 samples
    image = blob().astype(np.float32) / 255
    lafs = torch.from_numpy(frames.to_laf(ours)).float()[None]
    theirs = kornia.extract_patches_from_pyramid(torch.from_numpy(image)[None, None], lafs, 32)[0]
    np.testing.assert_allclose(extract(image, ours, size=32), theirs.numpy(), atol=0.01)


def test_opencv_describes_our_keypoint_as_its_own() -> None:
    own = strongest()
    (ours,) = frames.to_opencv(frames.from_opencv([own]))
    ours.octave = own.octave
    np.testing.assert_array_equal(sift().compute(blob(), [ours])[1], sift().compute(blob(), [own])[1])
