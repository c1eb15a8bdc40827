from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from tiepoint.geometry.robust import corner_error
from tiepoint.structure.global_search import correlate
from tiepoint.structure.local_search import local_shifts
from tiepoint.structure.orientation_field import orientation_field

Texture = Callable[..., np.ndarray]


def other_spectrum(image: np.ndarray) -> np.ndarray:
    """Negative, with another curve of brightness and noise: no intensity correlates, edges stay."""
    grey = image.astype(np.float32) / 255
    noise = np.random.default_rng(3).normal(0, 0.02, grey.shape)
    return np.rint(255 * ((1 - grey) ** 1.5 + noise).clip(0, 1)).astype(np.uint8)


def similarity(angle: float, scale: float, shift: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    """About the image's centre; the angle in degrees, counter-clockwise as seen on the screen."""
    turn = np.deg2rad(angle)
    linear = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    centre = (np.array(shape[::-1]) - 1) / 2
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, centre + shift - linear @ centre
    return matrix


def warped(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return cv2.warpPerspective(image, matrix, image.shape[::-1], borderMode=cv2.BORDER_REFLECT)


def test_a_negative_has_the_same_field(texture: Texture) -> None:
    image = texture(0, 200, 200)
    np.testing.assert_allclose(orientation_field(255 - image), orientation_field(image), atol=1e-3)


def test_the_field_says_twice_the_angle_of_the_gradient() -> None:
    y, x = np.mgrid[:64, :64].astype(np.float32)
    for angle in (0.0, 0.3, 1.2, 2.5):
        wave = 100 * np.sin(0.4 * (np.cos(angle) * x + np.sin(angle) * y))
        inner = orientation_field(wave)[16:48, 16:48]
        np.testing.assert_allclose(np.exp(1j * np.angle(inner)), np.exp(2j * angle), atol=0.02)


def test_a_constant_image_has_no_structure() -> None:
    field = orientation_field(np.full((40, 50), 7, dtype=np.uint16))
    assert field.shape == (40, 50)
    assert np.abs(field).max() < 0.01


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_brightness_and_contrast_do_not_matter(texture: Texture, dtype: type) -> None:
    image = texture(0, 160, 120).astype(np.float32)
    changed = (image * 0.4 + 30).astype(dtype)
    reference, other = orientation_field(image), orientation_field(changed)
    agreement = (reference.conj() * other).real.sum() / (np.linalg.norm(reference) * np.linalg.norm(other))
    assert agreement > 0.97


@pytest.mark.parametrize(("angle", "scale", "shift"), [(0, 1, (12, -20)), (9, 0.94, (-15, 8)), (-12, 1.06, (5, 25))])
def test_correlation_finds_a_similarity_across_spectra(
    texture: Texture, angle: float, scale: float, shift: tuple[float, float]
) -> None:
    image = texture(0, 400, 300)
    truth = similarity(angle, scale, shift, image.shape)
    best, *others = correlate(image, other_spectrum(warped(image, truth)))
    assert corner_error(best.matrix, truth, 400, 300) < 4
    assert best.score > 0.3
    assert best.score > 2 * np.median([c.score for c in others])


def test_correlation_of_unrelated_images_is_low(texture: Texture) -> None:
    assert correlate(texture(1, 300, 300), texture(2, 300, 300))[0].score < 0.1


def test_correlation_takes_images_of_any_size_and_flat_ones(texture: Texture) -> None:
    flat = np.full((80, 90), 3, dtype=np.uint8)
    assert correlate(flat, texture(0, 100, 100), rotations=[0], scales=[1])[0].score < 0.02
    image = texture(0, 500, 500)
    found = correlate(image[40:340, 60:420], image, rotations=[0.0], scales=[1.0])[0]
    assert corner_error(found.matrix, [[1, 0, 60], [0, 1, 40], [0, 0, 1]], 360, 300) < 3


def test_local_shifts_are_found_to_a_tenth_of_a_pixel_across_spectra(texture: Texture) -> None:
    image = texture(0, 400, 400)
    truth = np.array([[1, 0, 3.3], [0, 1, -2.6], [0, 0, 1.0]])
    found = local_shifts(image, other_spectrum(warped(image, truth)), np.eye(3), radius=8)
    assert len(found) > 50
    errors = np.linalg.norm(found.b - found.a - (3.3, -2.6), axis=1)
    assert np.median(errors) < 0.15
    assert np.quantile(errors, 0.95) < 0.5
    assert (found.scores > 0.3).mean() > 0.95


def test_places_may_be_given_and_those_without_a_whole_window_are_left_out(texture: Texture) -> None:
    image = texture(0, 300, 300)
    places = np.array([[150.0, 150.0], [10.0, 150.0], [200.0, 296.0], [120.0, 180.0]])
    found = local_shifts(image, image, np.eye(3), places=places, radius=6)
    np.testing.assert_allclose(found.a, places[[0, 3]], atol=1e-9)
    np.testing.assert_allclose(found.b, found.a, atol=0.05)
    np.testing.assert_allclose(found.scores, 1, atol=0.01)


def test_a_shift_beyond_the_radius_is_not_reported(texture: Texture) -> None:
    image = texture(0, 300, 300)
    moved = warped(image, np.array([[1, 0, 20.0], [0, 1, 0], [0, 0, 1]]))
    found = local_shifts(image, moved, np.eye(3), radius=6)
    assert (np.abs(found.b - found.a) < 6).all()
    assert len(found) == 0 or np.median(found.scores) < 0.5


def test_images_too_small_for_a_window_give_nothing(texture: Texture) -> None:
    assert len(local_shifts(texture(0, 60, 60), texture(0, 60, 60), np.eye(3))) == 0


def test_nodata_has_no_structure_and_misleads_nothing(texture: Texture) -> None:
    """The black frame of a warped image is its strongest edge; both images have one, in different places."""
    image = texture(0, 400, 300)
    truth = similarity(9, 1.0, (20, -14), image.shape)
    second = other_spectrum(warped(image, truth))
    masks = np.ones(image.shape, dtype=bool), np.ones(image.shape, dtype=bool)
    masks[0][:60] = False
    masks[1][:, 330:] = False
    a, b = np.where(masks[0], image, 0), np.where(masks[1], second, 255)
    field = orientation_field(a, mask=masks[0])
    assert not field[:64].any()
    assert np.abs(field[80:-10, 10:-10]).mean() > 0.2
    best = correlate(a, b, masks=masks)[0]
    assert corner_error(best.matrix, truth, 400, 300) < 5
    found = local_shifts(a, b, truth, masks=masks)
    assert len(found) > 20
    assert (found.a[:, 1] > 60).all()
    assert (found.b[:, 0] < 330).all()
    assert np.median(np.linalg.norm(found.b - cv2.perspectiveTransform(found.a[:, None], truth)[:, 0], axis=1)) < 0.3
