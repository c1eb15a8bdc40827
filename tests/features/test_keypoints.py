from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tiepoint.features.detect import detect, sift
from tiepoint.features.frames import angles, compose, sigmas
from tiepoint.features.keypoints import DEFAULT_SIGMA_PX, Keypoints, sift_octaves

Texture = Callable[..., np.ndarray]


def octave_of(packed: int) -> int:
    return (packed & 255) - 256 * ((packed & 255) > 127)


def bare(found: Keypoints) -> Keypoints:
    return Keypoints(found.frames, found.responses)


def test_sifts_octaves_come_back_from_the_scales(texture: Texture) -> None:
    found = detect(texture())
    packed = np.array([k.octave for k in found.opencv]) & 0xFFFF
    assert (
        sift_octaves(sigmas(found.frames)) == packed
    ).mean() > 0.98  # a scale half-way between layers may go either way
    assert {octave_of(p) for p in packed.tolist()} >= {-1, 0, 1, 2}


@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.6, 5.33, 40.0])
def test_octaves_of_any_scale_are_levels_of_the_pyramid(sigma: float) -> None:
    packed = int(sift_octaves(np.array([sigma]))[0])
    octave, layer = octave_of(packed), packed >> 8
    assert octave >= -1
    assert 0 <= layer <= 5
    if sigma >= 1.0:
        assert abs(np.log2(1.6 * 2 ** (octave + layer / 3) / sigma)) <= 0.5 / 3 + 1e-9


def test_sift_describes_frames_as_it_describes_its_own_keypoints(texture: Texture) -> None:
    image = texture(0)[:240, :320].copy()
    found = detect(image, max_keypoints=300)
    theirs = sift().compute(image, found.opencv)[1]
    ours = sift().compute(image, bare(found).to_opencv())[1]
    assert found.to_opencv() is found.opencv
    assert ours.shape == theirs.shape == (300, 128)
    cosine = (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert np.quantile(cosine, 0.02) > 0.99


def test_by_response_breaks_ties_by_place_scale_and_angle() -> None:
    frames = compose([(5, 1), (4, 1), (4, 1), (9, 0), (0, 0)], [1, 2, 1, 1, 1], [0, 0, 0, 0, 0])
    ordered = Keypoints(frames, np.array([1, 1, 1, 1, 2], dtype=np.float32)).by_response()
    np.testing.assert_array_equal(ordered.points, [(0, 0), (9, 0), (4, 1), (4, 1), (5, 1)])
    np.testing.assert_allclose(sigmas(ordered.frames), [1, 1, 1, 2, 1])


def test_distinct_drops_further_orientations() -> None:
    frames = compose([(4, 1), (4, 1), (4, 1), (5, 1)], [2, 2, 1, 2], [0.3, 1.4, 0.3, 0.3])
    kept = Keypoints(frames, np.array([4, 3, 2, 1], dtype=np.float32)).distinct()
    np.testing.assert_array_equal(kept.responses, [4, 2, 1])
    assert angles(kept.frames)[0] == pytest.approx(0.3)


def test_take_and_at() -> None:
    made = Keypoints.at(np.array([(1.0, 2.0), (3.0, 4.0)]), np.array([0.5, 0.25]))
    assert len(made) == 2
    assert len(made.take(np.array([False, True]))) == 1
    np.testing.assert_allclose(sigmas(made.frames), DEFAULT_SIGMA_PX)
    assert made.responses.dtype == np.float32
    assert Keypoints.at(np.empty((0, 2)), np.empty(0)).to_opencv() == ()
