"""Images that lie in any direction, for describers of upright patches; the turn that features tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from cheap_models import Upright, correlation
from views import described

from tiepoint.errors import InputError
from tiepoint.features.describe import describe
from tiepoint.features.view import View
from tiepoint.images.raster import as_raster
from tiepoint.images.window import rotation_matrix
from tiepoint.matching.match import Matches, match
from tiepoint.matching.rotation import rotation_between, search_rotation
from tiepoint.options import Detection, Matching

Pair = tuple[np.ndarray, np.ndarray]
Texture = Callable[..., np.ndarray]


def about_centre(image: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The image turned counter-clockwise into the square that holds it, and the matrix (3, 3)."""
    side = int(np.ceil(np.hypot(*image.shape)))
    linear = rotation_matrix(degrees)
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = (side - 1) / 2 - linear @ ((np.array(image.shape[::-1]) - 1) / 2)
    return cv2.warpPerspective(image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderValue=128), matrix


def right(found: Matches, matrix: np.ndarray) -> np.ndarray:
    mapped = cv2.perspectiveTransform(found.points[None, :, :2], matrix)[0]
    return np.asarray(np.linalg.norm(mapped - found.points[:, 2:], axis=1) < 2)


def test_turned_is_counter_clockwise_on_the_screen(texture: Texture) -> None:
    image = texture(3, 40, 40)
    matrix = np.eye(3)
    matrix[:2, :2] = rotation_matrix(90)
    matrix[:2, 2] = 19.5 - rotation_matrix(90) @ [19.5, 19.5]
    np.testing.assert_array_equal(cv2.warpPerspective(image, matrix, (40, 40), flags=0), np.rot90(image))


@pytest.mark.parametrize(("degrees", "rotations"), [(90, 4), (180, 4), (137, 8), (137, 12)])
def test_an_image_in_any_direction_matches(texture: Texture, degrees: float, rotations: int) -> None:
    image = texture(5, 240, 200)
    seen, matrix = about_centre(image, degrees)
    found = match(image, seen, Upright(), max_keypoints=200, rotations=rotations)
    assert right(found, matrix).sum() > 60
    assert right(found, matrix).mean() > 0.8
    turn = rotation_between(View(None, found.a), View(None, found.b), 0.9)
    off = np.rad2deg(np.arccos(np.clip(np.trace(turn @ matrix[:2, :2].T) / np.linalg.norm(turn) / 2**0.5, -1, 1)))
    assert off < 4


def test_without_a_search_it_does_not_match(texture: Texture) -> None:
    image = texture(5, 240, 200)
    seen, matrix = about_centre(image, 90)
    assert right(match(image, seen, Upright(), max_keypoints=200), matrix).sum() < 10


def test_the_search_takes_the_best_of_its_turns(texture: Texture) -> None:
    image = texture(5, 240, 200)
    seen, _ = about_centre(image, 180)
    a = describe(image, Upright(), max_keypoints=200)
    raster = as_raster(seen)
    few = Detection(max_keypoints=200)
    found = [search_rotation(a, raster, Upright(), few, Matching(rotations=n)) for n in (1, 2, 6)]
    assert found == [0.0, 180.0, 180.0]
    other = as_raster(texture(77, 240, 200))
    assert search_rotation(a, other, Upright(), few, Matching(rotations=2)) in (0.0, 180.0)


def test_the_relater_sees_the_patches_so_turned(texture: Texture) -> None:
    image = texture(5, 240, 200)
    seen, matrix = about_centre(image, 90)
    relater, _ = correlation()
    found = match(image, seen, Upright(), max_keypoints=150, rotations=4, relater=relater)
    assert right(found, matrix).sum() > 60
    assert right(found, matrix).mean() > 0.9


def test_the_turn_of_oriented_features_is_that_of_their_matches(pair: Pair, truth: np.ndarray) -> None:
    a, b = (described(image, max_keypoints=400) for image in pair)
    near = cv2.perspectiveTransform(np.array([[[240.0, 180], [241, 180], [240, 181]]]), truth)[0]
    linear = (near[1:] - near[0]).T
    np.testing.assert_allclose(rotation_between(a, b, 0.9), linear, atol=0.05)
    seen, matrix = about_centre(pair[0], 137)
    np.testing.assert_allclose(rotation_between(a, described(seen, max_keypoints=400), 0.9), matrix[:2, :2], atol=0.02)


def test_where_few_match_the_structure_tells_the_turn_or_nothing_does(pair: Pair, truth: np.ndarray) -> None:
    a, b = (described(image, max_keypoints=400) for image in pair)
    strange = replace(b, features=replace(b.known, descriptors=np.roll(b.known.descriptors, 7, axis=0)))
    np.testing.assert_allclose(rotation_between(a, strange, 0.9), truth[:2, :2], atol=0.12)
    bare = replace(strange, raster=None)
    np.testing.assert_array_equal(rotation_between(replace(a, raster=None), bare, 0.9), np.eye(2))


@pytest.mark.parametrize(
    ("describer", "rotations", "words"),
    [
        (Upright(), 0, "rotations is 0: give their number, from 1, which tries no other one, to 360"),
        (Upright(), 400, "rotations is 400: give their number"),
        (Upright(), 22.5, "rotations is 22.5: give their number"),
        ("rootsift", 4, "rotations is 4: they need two images and a describer of upright patches"),
    ],
)
def test_wrong_rotations_are_refused(pair: Pair, describer: Any, rotations: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        match(*pair, describer, rotations=rotations)
    features = describe(pair[0], Upright(), max_keypoints=50)
    with pytest.raises(InputError, match="they need two images"):
        match(features, pair[1], Upright(), rotations=4)
