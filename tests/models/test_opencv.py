"""OpenCV's descriptors on patches. ORB is in every build; the others' mechanics are shown by a stand-in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tiepoint.errors import InputError
from tiepoint.models import opencv
from tiepoint.models.classical import SIFT, grey_levels
from tiepoint.models.load import load
from tiepoint.models.opencv import KINDS, OpenCV, signs


class Recorder:
    """Stands in for one of OpenCV's extractors: gives the patch's first pixels, or nothing."""

    def __init__(self, norm: int, answer: str = "pixels") -> None:
        self.norm, self.answer = norm, answer
        self.options: dict[str, Any] = {}
        self.calls: list[tuple[np.ndarray, cv2.KeyPoint]] = []

    def __call__(self, **options: Any) -> Recorder:
        self.options = options
        return self

    def descriptorSize(self) -> int:
        return 4

    def defaultNorm(self) -> int:
        return self.norm

    def compute(self, image: np.ndarray, keypoints: list[cv2.KeyPoint]) -> tuple[Any, Any]:
        self.calls.append((image, keypoints[0]))
        kind = np.uint8 if self.norm == cv2.NORM_HAMMING else np.float32
        answers = {"pixels": image[:1, :4].astype(kind), "none": None, "empty": np.zeros((0, 4), kind)}
        return keypoints, answers[self.answer]


def replace(monkeypatch: pytest.MonkeyPatch, factory: str, maker: Any) -> None:
    """Put `maker` in place of a factory, in whichever build of OpenCV."""
    monkeypatch.delattr(cv2, factory, raising=False)
    monkeypatch.setattr(cv2, "xfeatures2d", SimpleNamespace(**{factory: maker} if maker else {}), raising=False)


def smooth_patches(count: int) -> torch.Tensor:
    coarse = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1)


def test_orb_of_a_patch_is_orb_of_the_image_around_it() -> None:
    describer = load("opencv-orb")
    assert (describer.name, describer.dimension, describer.support) == ("opencv-orb", 256, 12.0)
    assert describer.normalized
    image = grey_levels(smooth_patches(1), 128)[0]
    patch = torch.from_numpy(image[33:64, 40:71].copy())[None, None]
    orb = cv2.ORB.create(nlevels=1)
    bits = orb.compute(image, [cv2.KeyPoint(55, 48, 31, 0)])[1]
    alike = describer(patch) @ torch.from_numpy(signs(bits)).T
    assert alike.item() > 0.95, "only the blur at the patch's edge differs"
    assert (describer(patch.flip(3)) @ torch.from_numpy(signs(bits)).T).item() < 0.5


@given(st.lists(st.binary(min_size=4, max_size=4), min_size=2, max_size=6))
def test_inner_products_of_bits_are_their_hamming_distance(rows: list[bytes]) -> None:
    packed = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), 4)
    vectors = signs(packed)
    for i, first in enumerate(packed):
        for j, second in enumerate(packed):
            distance = cv2.norm(first, second, cv2.NORM_HAMMING)
            assert vectors[i] @ vectors[j] == pytest.approx(1 - 2 * distance / 32, abs=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_the_keypoint_sits_in_the_middle_of_a_patch_of_the_designed_size(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, kind = Recorder(cv2.NORM_HAMMING), KINDS[name]
    replace(monkeypatch, kind.factory, recorder)
    describer = OpenCV(name)
    descriptors = describer(smooth_patches(3))
    assert recorder.options == kind.options
    assert (len(recorder.calls), descriptors.shape) == (3, (3, 32))
    for image, keypoint in recorder.calls:
        assert image.shape == (kind.side + 2 * kind.border,) * 2
        assert image.dtype == np.uint8
        assert keypoint.pt[0] == keypoint.pt[1]
        assert abs(keypoint.pt[0] - (len(image) - 1) / 2) <= 0.5
        assert (keypoint.size, keypoint.angle) == (kind.size, 0)


@pytest.mark.parametrize("answer", ["none", "empty"])
@pytest.mark.parametrize("norm", [cv2.NORM_HAMMING, cv2.NORM_L2])
def test_a_refused_keypoint_has_a_defined_descriptor(answer: str, norm: int, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(monkeypatch, "VGG_create", Recorder(norm, answer))
    descriptors = OpenCV("opencv-vgg")(smooth_patches(2))
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(2))
    assert descriptors.abs().unique().numel() == 1


def test_numbers_become_unit_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(cv2.NORM_L2)
    replace(monkeypatch, "VGG_create", recorder)
    patches = smooth_patches(2)
    expected = torch.from_numpy(grey_levels(patches, 64)[:, 0, :4].astype(np.float32))
    descriptors = OpenCV("opencv-vgg")(patches)
    torch.testing.assert_close(descriptors, torch.nn.functional.normalize(expected))
    torch.testing.assert_close(OpenCV("opencv-vgg")(torch.zeros(1, 1, 64, 64)), torch.full((1, 4), 0.5))


@pytest.mark.parametrize("name", KINDS)
def test_a_build_without_the_descriptor_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(monkeypatch, KINDS[name].factory, None)
    with pytest.raises(InputError, match=rf"{name}: .*opencv-contrib-python-headless"):
        load(name)
    monkeypatch.delattr(cv2, "xfeatures2d")
    with pytest.raises(InputError, match=rf"{name}: .*opencv-contrib-python-headless"):
        load(name)


def test_every_descriptor_of_this_build_tells_patches_apart() -> None:
    patches = smooth_patches(20)
    noisy = (patches + 0.02 * torch.randn(patches.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    built = [n for n, k in KINDS.items() if hasattr(cv2, k.factory) or hasattr(opencv.cv2, "xfeatures2d")]
    assert "opencv-orb" in built
    for name in built:
        describer = OpenCV(name)
        descriptors = describer(patches)
        torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(20))
        assert ((descriptors @ describer(noisy).T).argmax(dim=1) == torch.arange(20)).all(), name
        assert torch.isfinite(describer(torch.full((1, 1, 64, 64), 0.5))).all()
        assert torch.isfinite(describer(torch.rand(1, 1, 8, 8))).all()


@pytest.mark.parametrize("describer", [SIFT(), SIFT(root=True), OpenCV("opencv-orb")], ids=lambda d: d.name)
def test_types_and_shapes_of_patches(describer: SIFT | OpenCV) -> None:
    patches = (smooth_patches(4) * 255).round().to(torch.uint8)
    whole = describer(patches)
    assert torch.equal(describer(patches.float() / 255), whole)
    assert torch.equal(describer((patches.int() * 257).to(torch.uint16)), whole)
    assert describer(patches[:0]).shape == (0, describer.dimension)
    with pytest.raises(InputError, match=f"{describer.name} takes"):
        describer(torch.zeros(2, 3, 64, 64))
    with pytest.raises(InputError, match="int64"):
        describer(torch.zeros(2, 1, 64, 64, dtype=torch.int64))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="opencv-vgg"):
        OpenCV("opencv-nosuch")
