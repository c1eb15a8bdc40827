from __future__ import annotations

import sys
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from tiepoint.errors import InputError
from tiepoint.features import detectors
from tiepoint.features.detect import DETECTORS, detect
from tiepoint.features.frames import angles, sigmas
from tiepoint.features.keypoints import DEFAULT_SIGMA_PX

Texture = Callable[..., np.ndarray]
KORNIA = {"harris", "hessian", "dog"}
BUILT = [n for n in DETECTORS if n != "akaze" or hasattr(cv2, "AKAZE") or hasattr(cv2, "xfeatures2d")]


@pytest.fixture(params=BUILT)
def name(request: pytest.FixtureRequest) -> str:
    if request.param in KORNIA:
        pytest.importorskip("kornia")
    return str(request.param)


def test_every_detector_gives_sorted_finite_keypoints_inside_the_image(name: str, texture: Texture) -> None:
    image = texture(1)[:150, :200].copy()
    found, again = detect(image, detector=name, max_keypoints=120), detect(image, detector=name, max_keypoints=120)
    assert 30 < len(found) <= 120
    assert (np.diff(found.responses) <= 0).all()
    assert np.isfinite(found.frames).all()
    assert found.responses.dtype == np.float32
    assert ((found.points >= -0.5) & (found.points <= (199.5, 149.5))).all()
    assert (np.linalg.det(found.frames[:, :, :2]) > 0).all()
    np.testing.assert_array_equal(found.frames, again.frames)
    shapes = np.linalg.svd(found.frames[:, :, :2], compute_uv=False)
    np.testing.assert_allclose(shapes[:, 0], shapes[:, 1], rtol=1e-5)  # circles


def test_upright_and_affine_hold_for_every_detector(name: str, texture: Texture) -> None:
    image = texture(1)[:150, :200].copy()
    plain, flat = (
        detect(image, detector=name, max_keypoints=60),
        detect(image, detector=name, max_keypoints=60, upright=True),
    )
    np.testing.assert_allclose(angles(flat.frames), 0, atol=1e-12)
    places = np.column_stack([flat.points, sigmas(flat.frames)]).round(4)
    assert len(np.unique(places, axis=0)) == len(flat)
    shaped = detect(image, detector=name, max_keypoints=60, affine=True)
    lengths = np.linalg.svd(shaped.frames[:, :, :2], compute_uv=False)
    assert (lengths[:, 0] > 1.1 * lengths[:, 1]).mean() > 0.3
    assert np.abs(angles(plain.frames)).max() > 0.1
    assert np.abs(angles(shaped.frames)).max() > 0.1


def test_bad_images_give_nothing_or_few(name: str, texture: Texture) -> None:
    for image in (np.full((64, 64), 9, np.uint8), np.full((64, 64), 0.3, np.float32), np.zeros((1, 1), np.uint8)):
        assert detect(image, detector=name).frames.shape == (0, 2, 3)
    for height, width in ((2, 2), (3, 3), (3, 50), (12, 15), (20, 20)):
        image = np.random.default_rng(0).integers(0, 255, (height, width)).astype(np.uint8)
        assert np.isfinite(detect(image, detector=name, max_keypoints=9).frames).all()


def test_even_keypoints_cover_more_and_some_orientations_stay_together(texture: Texture) -> None:
    image = texture(1)
    image[:, 200:] = (128 + (image[:, 200:].astype(float) - 128) / 6).astype(np.uint8)
    strong, even = detect(image, max_keypoints=150), detect(image, max_keypoints=150, uniform=True)
    assert len(even) <= 150
    assert len(even) > 140
    assert (np.diff(even.responses) <= 0).all()
    assert len(even.opencv) == len(even)
    np.testing.assert_allclose([k.pt for k in even.opencv], even.points)
    assert (strong.points[:, 0] > 210).mean() < 0.1
    assert (even.points[:, 0] > 210).mean() > 0.3
    np.testing.assert_array_equal(
        detect(image, max_keypoints=10**6, uniform=True).frames, detect(image, max_keypoints=10**6).frames
    )


@pytest.mark.parametrize("which", ["gradient", "phase"])
def test_edge_structure_does_not_see_the_sign_or_the_strength_of_contrast(which: str, texture: Texture) -> None:
    image = texture(1)[:150, :200].copy().clip(20, 235)
    expected = detect(image, detector=which, max_keypoints=60, upright=True)
    for other in (255 - image, (image.astype(float) * 0.6 + 40).astype(np.uint8)):
        found = detect(other, detector=which, max_keypoints=60, upright=True).points
        nearest = np.linalg.norm(found[:, None] - expected.points[None], axis=2).min(axis=1)
        assert (nearest < 1).mean() > 0.85
    np.testing.assert_allclose(sigmas(expected.frames), DEFAULT_SIGMA_PX)


def test_the_mask_keeps_keypoints_away(name: str, texture: Texture) -> None:
    image, mask = texture(1)[:180, :240].copy(), np.ones((180, 240), dtype=bool)
    mask[:, :100] = False
    image[~mask] = 0
    found = detect(image, detector=name, mask=mask, max_keypoints=500)
    assert len(found) > 5
    assert (found.points[:, 0] - 99 > 2 * sigmas(found.frames) - 1).all()
    assert (
        name == "grid" or len(detect(image, detector=name, mask=~mask, max_keypoints=99)) == 0
    )  # nothing there but grey 0
    np.testing.assert_array_equal(
        detect(image, detector=name, mask=mask | True, upright=True).frames,
        detect(image, detector=name, upright=True).frames,
    )


def test_a_grid_is_regular() -> None:
    image = np.random.default_rng(0).integers(0, 255, (100, 200)).astype(np.uint8)
    found = detect(image, detector="grid", max_keypoints=50, upright=True)
    assert len(found) == 50
    assert sorted(set(found.points[:, 0])) == [9.5 + 20 * i for i in range(10)]
    assert sorted(set(found.points[:, 1])) == [9.5 + 20 * i for i in range(5)]


def test_mser_finds_an_ellipse_and_its_shape() -> None:
    image = np.full((160, 200), 60, dtype=np.uint8)
    cv2.ellipse(image, (90, 70), (36, 18), 0, 0, 360, 200, -1)
    image = cv2.GaussianBlur(image, (0, 0), 4)  # OpenCV finds no region whose size never changes
    shaped, circles = (
        detect(image, detector="mser", contrast_threshold=0.08, affine=a, upright=a) for a in (True, False)
    )
    assert len(shaped) >= 1
    np.testing.assert_allclose(shaped.points[0], (90, 70), atol=0.5)
    np.testing.assert_allclose(np.diag(shaped.frames[0, :, :2]), np.array([36, 18]) / np.sqrt(2), rtol=0.1)
    np.testing.assert_allclose(sigmas(circles.frames)[0], 18, rtol=0.1)
    assert shaped.responses[0] > 20


def test_a_detector_that_is_not_installed_says_what_to_install(
    texture: Texture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("AKAZE", "xfeatures2d"):
        monkeypatch.delattr(detectors.cv2, module, raising=False)
    with pytest.raises(InputError, match="opencv-contrib-python-headless"):
        detect(texture(1)[:64, :64].copy(), detector="akaze")
    monkeypatch.setitem(sys.modules, "kornia", None)
    monkeypatch.setitem(sys.modules, "kornia.feature", None)
    for name in KORNIA:
        with pytest.raises(InputError, match=f"detector {name}: needs kornia"):
            detect(texture(1)[:64, :64].copy(), detector=name)


GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (GREY, {"detector": "keynet"}, "no detector 'keynet': there are sift"),
        (GREY[:0], {}, "give grey values"),
        (GREY[None], {}, "give grey values"),
        (GREY.astype(np.float64), {}, "float64"),
        (np.full((8, 8), np.nan, np.float32), {}, "NaN"),
        (GREY, {"max_keypoints": 0}, "max_keypoints is 0"),
        (GREY, {"contrast_threshold": 2.0}, "contrast_threshold is 2"),
        (GREY, {"mask": np.ones((4, 8), bool)}, "mask has shape"),
        (GREY, {"mask": np.ones((8, 8), np.uint8)}, "mask has shape"),
    ],
)
def test_bad_input_is_refused(image: np.ndarray, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        detect(image, **options)
