"""OpenCV's and kornia's interfaces over describers."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from synthetic import smooth_texture

from tiepoint.errors import InputError
from tiepoint.export.kornia_style import LAFDescriptor
from tiepoint.export.opencv_style import Feature2D
from tiepoint.features.describe import describe
from tiepoint.features.frames import sigmas, to_laf
from tiepoint.models.load import load

FEW = 60


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return smooth_texture(200, seed=3)


@pytest.mark.parametrize("name", ["sdgmnet", "rootsift"])
def test_detect_and_compute_gives_what_describe_does(name: str, image: np.ndarray) -> None:
    keypoints, descriptors = Feature2D(name, max_keypoints=FEW).detectAndCompute(image, None)
    expected = describe(image, name, max_keypoints=FEW)
    assert isinstance(keypoints, tuple)
    assert isinstance(keypoints[0], cv2.KeyPoint)
    np.testing.assert_allclose([k.pt for k in keypoints], expected.points, atol=1e-3)
    np.testing.assert_allclose(descriptors, expected.descriptors, atol=1e-4)


@pytest.mark.parametrize("name", ["sdgmnet", "rootsift"])
@pytest.mark.parametrize("detector", ["sift", "gradient"])
def test_with_affine_shape_the_patches_are_cut_by_it(name: str, detector: str, image: np.ndarray) -> None:
    features = Feature2D(name, detector=detector, affine=True, max_keypoints=FEW)
    keypoints, descriptors = features.detectAndCompute(image, None)
    expected = describe(image, name, detector=detector, affine=True, max_keypoints=FEW)
    np.testing.assert_allclose([k.pt for k in keypoints], expected.points, atol=1e-3)
    np.testing.assert_allclose([k.size for k in keypoints], 2 * sigmas(expected.frames), rtol=1e-5)
    np.testing.assert_allclose(descriptors, expected.descriptors, atol=1e-4)
    same, square = features.compute(image, features.detect(image))
    assert [k.pt for k in same] == [k.pt for k in keypoints]
    assert np.abs(square - descriptors).max() > 0.01  # the keypoints have no shape


def test_what_a_describer_does_not_take_is_refused() -> None:
    with pytest.raises(InputError, match="leave out affine"):
        Feature2D("sdgmnet-visnir", affine=True)
    with pytest.raises(InputError, match="always sees 12 sigmas"):
        Feature2D("sift", support=9)
    with pytest.raises(InputError, match=r"unknown option 'detectr': did you mean detector\?"):
        Feature2D("sift", detectr="orb")
    with pytest.raises(InputError, match="no detector 'surf'"):
        Feature2D("sift", detector="surf").detect(np.zeros((40, 40), np.uint8))


def test_it_takes_the_place_of_opencvs_sift(image: np.ndarray) -> None:
    """The lines of an OpenCV tutorial, and a known quarter turn found by them."""
    turned = np.ascontiguousarray(np.rot90(image))  # (x, y) -> (y, 199 - x)
    matched = {}
    for features in (cv2.SIFT.create(), Feature2D("rootsift", max_keypoints=200)):
        kp1, des1 = features.detectAndCompute(image, None)
        kp2, des2 = features.detectAndCompute(turned, None)
        found = cv2.BFMatcher(features.defaultNorm(), crossCheck=True).match(des1, des2)
        assert des1.dtype == np.float32
        assert des1.shape == (len(kp1), features.descriptorSize())
        assert features.descriptorType() == cv2.CV_32F
        a, b = (np.array([k[i].pt for i in rows]) for k, rows in (
            (kp1, [m.queryIdx for m in found]), (kp2, [m.trainIdx for m in found])
        ))  # fmt: skip
        matched[type(features)] = (np.hypot(*(np.c_[a[:, 1], 199 - a[:, 0]] - b).T) < 2).mean()
    assert min(matched.values()) > 0.7


def test_colour_is_bgr_and_masks_hold(image: np.ndarray) -> None:
    features = Feature2D("rootsift", max_keypoints=FEW)
    colour = np.dstack([image, image // 2, 255 - image])
    grey = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    assert [k.pt for k in features.detect(colour)] == [k.pt for k in features.detect(grey)]
    mask = np.zeros(image.shape, dtype=np.uint8)
    mask[:, :100] = 255
    kept = features.detect(image, mask)
    assert kept
    assert max(k.pt[0] for k in kept) < 100
    with pytest.raises(InputError, match="mask has shape"):
        features.detect(image, mask[1:])


def test_nothing_to_see_is_no_error() -> None:
    flat = np.full((80, 90), 7, dtype=np.uint8)
    assert Feature2D("rootsift").detectAndCompute(flat, None) == ((), None)
    assert Feature2D("rootsift").compute(flat, []) == ((), None)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_other_depths_are_taken(dtype: type, image: np.ndarray) -> None:
    keypoints, descriptors = Feature2D("sdgmnet", max_keypoints=5).detectAndCompute(image.astype(dtype) * 100, None)
    assert descriptors is not None
    assert descriptors.shape == (len(keypoints), 128) == (5, 128)


@pytest.mark.parametrize("bad", [np.zeros((3, 40, 40), np.uint8), np.zeros((40, 40)), np.zeros(40, np.uint8)])
def test_other_layouts_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="give grey"):
        Feature2D("rootsift").detectAndCompute(bad, None)


def test_laf_descriptors_are_those_of_the_frames(image: np.ndarray) -> None:
    expected = describe(image, "sdgmnet", max_keypoints=FEW)
    lafs = torch.from_numpy(to_laf(expected.frames, support=load("sdgmnet").support)).float()
    batch = torch.from_numpy(image).float()[None, None].expand(2, 1, -1, -1) / 255
    found = LAFDescriptor("sdgmnet")(batch, torch.stack([lafs, lafs.flip(0)]))
    assert (found.shape, found.dtype, found.requires_grad) == ((2, FEW, 128), torch.float32, False)
    np.testing.assert_allclose((found[0].numpy() * expected.descriptors).sum(axis=1), 1, atol=2e-3)
    torch.testing.assert_close(found[1].flip(0), found[0], rtol=0, atol=1e-4)


def test_it_serves_kornias_local_feature(image: np.ndarray) -> None:
    kornia = pytest.importorskip("kornia.feature")
    detector = kornia.ScaleSpaceDetector(FEW, resp_module=kornia.BlobDoG(), mr_size=6.0, scale_space_response=True)
    local = kornia.LocalFeature(detector, LAFDescriptor("sdgmnet")).eval()
    whole = torch.from_numpy(image).float()[None, None] / 255
    first, second = whole[..., :180, :180], whole[..., 12:192, 7:187]
    with torch.inference_mode():
        (lafs1, _, des1), (lafs2, _, des2) = (local(x) for x in (first, second))
    assert des1.shape == (1, FEW, 128)
    keep1, keep2 = kornia.laf_is_filled(lafs1)[0], kornia.laf_is_filled(lafs2)[0]
    torch.testing.assert_close(des1[0, keep1].norm(dim=1), torch.ones(int(keep1.sum())), rtol=0, atol=1e-4)
    rows = kornia.match_mnn(des1[0, keep1], des2[0, keep2])[1]
    moved = lafs1[0, keep1][rows[:, 0], :, 2] - lafs2[0, keep2][rows[:, 1], :, 2]
    right = (moved - torch.tensor([7.0, 12.0])).norm(dim=1) < 1
    assert int(right.sum()) > FEW / 2
    assert float(right.float().mean()) > 0.8


def test_frames_that_are_not_filled_get_zeros_and_agree_with_kornias_patches(image: np.ndarray) -> None:
    kornia = pytest.importorskip("kornia.feature")
    describer = load("sdgmnet")
    lafs = kornia.laf_from_center_scale_ori(
        torch.tensor([[[90.0, 80.0], [0, 0], [120, 110]]]),
        torch.full((1, 3, 1, 1), 16.0),
        torch.tensor([[[0.0], [0], [50]]]),
    )
    lafs[0, 1] = 0
    grey = torch.from_numpy(image).float()[None, None] / 255
    found = LAFDescriptor(describer)(grey, lafs)
    assert not found[0, 1].any()
    theirs = describer(kornia.extract_patches_from_pyramid(grey, lafs, 32)[0])
    assert ((found[0] * theirs).sum(dim=1)[[0, 2]] > 0.99).all()
    assert math.isclose(float(found[0, 0].norm()), 1, abs_tol=1e-4)


def test_laf_shapes_that_do_not_fit() -> None:
    module = LAFDescriptor("rootsift")
    with pytest.raises(InputError, match="give"):
        module(torch.zeros(1, 2, 40, 40), torch.zeros(1, 3, 2, 3))
    with pytest.raises(InputError, match="2 images and frames of 1"):
        module(torch.zeros(2, 1, 40, 40), torch.zeros(1, 3, 2, 3))
    assert module(torch.zeros(1, 1, 40, 40), torch.zeros(1, 0, 2, 3)).shape == (1, 0, 128)


def test_it_stays_in_evaluation_mode_and_moves_with_its_weights() -> None:
    module = LAFDescriptor("sdgmnet").train()
    assert not module.training
    assert not any(part.training for part in module.modules())
    assert len(list(module.parameters())) == len(list(load("sdgmnet").net.parameters()))
