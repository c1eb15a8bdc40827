from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tiepoint.features.detect import detect, sift

Texture = Callable[..., np.ndarray]


def test_order_is_by_response_and_always_the_same(texture: Texture) -> None:
    found, again = detect(texture()), detect(texture())
    assert len(found) > 200
    assert (np.diff(found.responses) <= 0).all()
    np.testing.assert_array_equal(found.frames, again.frames)
    assert found.frames.shape == (len(found), 2, 3)
    assert len(found.opencv) == len(found)


def test_the_strongest_are_kept(texture: Texture) -> None:
    every, some = detect(texture()), detect(texture(), max_keypoints=50)
    np.testing.assert_array_equal(some.frames, every.frames[:50])


def test_all_orientations_of_a_point_are_kept(texture: Texture) -> None:
    found = detect(texture())
    places = np.unique(found.frames[:, :, 2], axis=0)
    assert len(places) < len(found)
    assert len(found) == len(sift(0.01).detect(texture(), None))


def test_a_lower_threshold_finds_more(texture: Texture) -> None:
    faint = (128 + (texture().astype(float) - 128) / 5).astype(np.uint8)
    assert len(detect(faint, contrast_threshold=0.005)) > len(detect(faint, contrast_threshold=0.04))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_images_give_the_keypoints_of_their_8_bit_version(texture: Texture, dtype: type) -> None:
    eight = texture(0, 240, 200)
    deep = (eight.astype(np.float64) * 10 + 7000).astype(dtype)
    places, expected = detect(deep).frames[:, :, 2], detect(eight).frames[:, :, 2]
    nearest = np.linalg.norm(places[:, None] - expected[None], axis=2).min(axis=1)
    assert (nearest < 1).mean() > 0.9
    assert detect(deep).responses.dtype == np.float32


def test_nothing_to_see_gives_no_keypoints() -> None:
    found = detect(np.full((100, 100), 9, dtype=np.uint8))
    assert len(found) == 0
    assert found.frames.shape == (0, 2, 3)
