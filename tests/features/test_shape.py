from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiepoint.features import frames, shape
from tiepoint.features.detect import detect

Texture = Callable[..., np.ndarray]


def ellipse(frame: np.ndarray) -> np.ndarray:
    """M M' of area 1."""
    square = frame[:, :2] @ frame[:, :2].T
    return square / math.sqrt(np.linalg.det(square))


def gaussian(covariance: np.ndarray, centre: tuple[float, float] = (100.0, 110.0)) -> np.ndarray:
    y, x = np.mgrid[:220, :200]
    d = np.stack([x - centre[0], y - centre[1]], axis=-1)
    return (40 + 180 * np.exp(-0.5 * np.einsum("...i,ij,...j", d, np.linalg.inv(covariance), d))).astype(np.float32)


number = st.floats(-3, 3)


@given(number, number, number, number)
def test_upright_keeps_the_ellipse_and_has_no_angle(a: float, b: float, c: float, d: float) -> None:
    frame = np.array([[[a, b, 5.0], [c, d, 7.0]]])
    if abs(a * d - b * c) < 1e-2:
        return
    turned = shape.make_upright(frame)
    np.testing.assert_allclose(turned[0, :, :2] @ turned[0, :, :2].T, frame[0, :, :2] @ frame[0, :, :2].T, atol=1e-6)
    assert frames.angles(turned)[0] == 0
    assert np.linalg.det(turned[0, :, :2]) > 0
    np.testing.assert_array_equal(turned[:, :, 2], frame[:, :, 2])


@given(st.floats(-3.1, 3.1), st.floats(-3.1, 3.1))
def test_turned_adds_to_the_angle(start: float, turn: float) -> None:
    frame = shape.turn(frames.compose([(1.0, 2.0)], [3.0], [start]), np.array([turn]))
    assert abs(np.angle(np.exp(1j * (frames.angles(frame)[0] - start - turn)))) < 1e-9
    np.testing.assert_allclose(frames.sigmas(frame), 3)


@pytest.mark.parametrize("degrees", [-170, -60, 0, 35, 90])
def test_the_orientation_is_that_of_the_gradient(degrees: float) -> None:
    turn = math.radians(degrees)
    y, x = np.mgrid[:80, :80]
    ramp = (3 * (x * math.cos(turn) - y * math.sin(turn))).astype(np.float32)
    for start in (0.0, 1.0):
        found = shape.orient(ramp, frames.compose([(40.0, 40.0)], [4.0], [start]))
        assert abs(np.angle(np.exp(1j * (frames.angles(found)[0] - turn)))) < math.radians(1.5)


def test_orientations_are_sifts(texture: Texture) -> None:
    image = texture(2)[:240, :320].copy()
    found = detect(image)
    _, place, count = np.unique(found.points, axis=0, return_inverse=True, return_counts=True)
    single = found.take(count[place] == 1)
    single = single.take((frames.sigmas(single.frames) > 1.5) & (single.points > 40).all(axis=1))
    ours = shape.orient(image, shape.make_upright(single.frames))
    apart = np.abs(np.angle(np.exp(1j * (frames.angles(ours) - frames.angles(single.frames)))))
    assert len(single) > 100
    assert np.median(apart) < math.radians(6)
    assert (apart < math.radians(20)).mean() > 0.8


def test_a_flat_patch_keeps_its_frame() -> None:
    flat, frame = np.full((60, 60), 7, dtype=np.uint8), frames.compose([(30.0, 30.0)], [2.0], [0.5])
    np.testing.assert_allclose(shape.orient(flat, frame), frame)
    np.testing.assert_allclose(shape.adapt_shape(flat, frame), shape.make_upright(frame), atol=1e-12)


@pytest.mark.parametrize(("long", "degrees"), [(1.0, 0), (1.7, 0), (2.0, 30), (2.5, -70)])
def test_the_shape_of_a_stretched_blob_is_found(long: float, degrees: float) -> None:
    turn = math.radians(degrees)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    covariance = rotation @ np.diag([36 * long, 36 / long]) @ rotation.T
    found = shape.adapt_shape(gaussian(covariance), frames.compose([(100.0, 110.0)], [6.0], [0.8]))
    (short, ours), axes = np.linalg.eigh(ellipse(found[0]))
    assert 0.85 * long < math.sqrt(ours / short) < 1.05 * long
    assert long == 1 or abs(axes[:, 1] @ rotation[:, 0]) > math.cos(math.radians(2))
    np.testing.assert_allclose(frames.sigmas(found), 6)
    assert frames.angles(found)[0] == 0


def test_a_blob_too_long_stays_a_circle() -> None:
    found = shape.adapt_shape(gaussian(np.diag([40.0**2, 2.0**2])), frames.compose([(100.0, 110.0)], [6.0], [0.0]))
    np.testing.assert_allclose(found, frames.compose([(100.0, 110.0)], [6.0], [0.0]), atol=1e-9)


def test_chunks_change_nothing(texture: Texture, monkeypatch: pytest.MonkeyPatch) -> None:
    image = texture(2)[:160, :200].copy()
    some = detect(image, max_keypoints=40).frames
    expected = shape.orient(image, shape.adapt_shape(image, some))
    monkeypatch.setattr(shape, "CHUNK", 7)
    np.testing.assert_allclose(shape.orient(image, shape.adapt_shape(image, some)), expected, atol=1e-9)
    assert shape.adapt_shape(image, some[:0]).shape == shape.orient(image, some[:0]).shape == (0, 2, 3)
