from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from repeated import bricks, chessboard

from tiepoint.structure.align import independent_windows
from tiepoint.structure.ambiguity import MAX_REPETITION, find_ambiguities, find_repetition, mirrored_ratio

Texture = Callable[..., np.ndarray]
NONE = np.empty((0, 2))


@pytest.mark.parametrize("period", [12, 16, 40])
@pytest.mark.parametrize("noise", [0.0, 15.0])
def test_a_chessboard_repeats_itself_by_its_squares(period: int, noise: float) -> None:
    """By one square it is its own negative, whose structure is the same."""
    strength, shift = find_repetition(chessboard(period, noise=noise))
    assert strength > MAX_REPETITION
    assert np.hypot(*shift) == pytest.approx(period, abs=0.6)


def test_bricks_repeat_themselves() -> None:
    strength, shift = find_repetition(bricks())
    assert strength > MAX_REPETITION
    x, y = shift
    assert abs(y - 20 * round(y / 20)) < 0.6
    assert abs(x - 24 * round(x / 24)) < 0.6


def test_a_large_image_gives_the_period_in_its_own_pixels() -> None:
    small = chessboard(16)
    strength, shift = find_repetition(cv2.resize(small, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST))
    assert strength > MAX_REPETITION
    assert np.hypot(*shift) == pytest.approx(64, abs=2.5)


def test_other_texture_does_not_repeat(texture: Texture) -> None:
    for seed in range(4):
        assert find_repetition(texture(seed, 320, 240))[0] < 0.3
    assert find_repetition(np.full((64, 80), 7, dtype=np.uint8))[0] < MAX_REPETITION


def test_a_board_in_a_scene_is_no_repetition(texture: Texture) -> None:
    """What stands around it says where it is."""
    image = texture(0, 320, 240)
    image[80:160, 100:220] = chessboard(16)[:80, :120]
    assert find_repetition(image)[0] < MAX_REPETITION


def test_masked_pixels_do_not_count(texture: Texture) -> None:
    image, mask = texture(0, 320, 240), np.ones((240, 320), dtype=bool)
    image[:, :200] = chessboard(16)[:, :200]
    mask[:, 200:] = False
    assert find_repetition(image, mask)[0] > MAX_REPETITION
    assert find_repetition(image, ~mask)[0] < MAX_REPETITION


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_image_is_told_from_a_right_one(texture: Texture, axis: int) -> None:
    image = texture(0, 240, 180)
    assert mirrored_ratio(image, np.flip(image, axis)) > 3
    assert mirrored_ratio(image, 255 - image) < 1 / 3
    mask = np.ones(image.shape, dtype=bool)
    mask[:, :45] = False
    assert mirrored_ratio(image, np.flip(image, axis), (mask, np.flip(mask, axis))) > 3


def test_windows_that_overlap_say_less() -> None:
    apart = np.array([[100.0, 100.0], [300.0, 100.0], [100.0, 300.0]])
    assert independent_windows(apart, (400, 400)) == 3
    assert independent_windows(np.repeat(apart[:1], 50, axis=0), (400, 400)) == 1
    assert independent_windows(np.array([[0.0, 0.0]]), (400, 400)) == 0.25
    assert independent_windows(NONE, (400, 400)) == 0


def test_each_doubt_has_its_words_and_keypoint_matches_dispel_two(texture: Texture) -> None:
    image = texture(0, 320, 240)
    flipped, few = image[:, ::-1], np.array([[160.0, 120.0]])
    assert find_ambiguities(image, image, few, 0.9, 0) == ()
    found = find_ambiguities(image, flipped, few, 0.1, 0)
    assert [reason.split(":")[0] for reason in found] == [
        "the images agree better when one is mirrored",
        "the images agree in 1 windows with a correlation of 0.10",
    ]
    assert find_ambiguities(image, flipped, few, 0.1, 50) == ()
    board = chessboard(16)
    assert find_ambiguities(board, board, few, 0.9, 500)[0].startswith("the texture repeats every 16 px")
