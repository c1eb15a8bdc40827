"""Networks in dense form against patch by patch evaluation and brute force."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tiepoint import nets
from tiepoint.models.describer import DENSE_NETWORKS
from tiepoint.models.load import load_describer
from tiepoint.nets.dense import FORMS, DenseForm, box_means

STRIDES = {"tfeat": 2}
NAMES = ("hardnet", "hardnet-ps", "hardnet8", "hynet", "l2net", "sdgmnet", "sosnet", "tfeat")


def texture(height: int, width: int, seed: int = 0) -> Tensor:
    """Blobs of several sizes, (1, 1, H, W) in 0..1."""
    random = np.random.default_rng(seed)
    image = sum(cv2.GaussianBlur(random.normal(size=(height, width)), (0, 0), s) * s for s in (1.0, 2.0, 5.0))
    return torch.from_numpy(((image - image.min()) / np.ptp(image)).astype(np.float32))[None, None]


@pytest.mark.parametrize("name", NAMES)
def test_a_dense_form_has_a_descriptor_for_each_window(name: str) -> None:
    net = nets.create(name).eval()
    vectors, whole = DenseForm(net)(texture(50, 61))
    stride = STRIDES.get(name, 4)
    assert vectors.shape == (1, net.dimension, (50 - 32) // stride + 1, (61 - 32) // stride + 1)
    assert whole.shape[1:] == (1, *vectors.shape[2:])
    assert whole.all()
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones_like(vectors[:, 0]))


@pytest.mark.parametrize("name", NAMES)
def test_every_third_window_is_described_as_among_all(name: str) -> None:
    form, image, valid = DenseForm(nets.create(name).eval()), texture(77, 90), torch.ones(1, 1, 77, 90)
    valid[..., 70:] = 0
    vectors, whole = form(image, valid)
    some, whole_of_some = form(image, valid, 3)
    torch.testing.assert_close(some, vectors[:, :, ::3, ::3])
    assert torch.equal(whole_of_some, whole[:, :, ::3, ::3])


def test_networks_without_dense_form_are_no_keys() -> None:
    assert sorted(DENSE_NETWORKS) == list(NAMES)
    assert not {type(nets.create(name)) for name in ("l2net-cs", "matchnet")} & set(FORMS)


@pytest.mark.parametrize("name", ["sdgmnet", "sdgmnet-visnir"])
def test_a_window_knows_its_patch_among_all_windows(name: str) -> None:
    net = load_describer(name).net
    image = texture(160, 144)
    with torch.inference_mode():
        vectors, _ = DenseForm(net)(image)
        rows, columns = vectors.shape[2:]
        patches = image[0].unfold(1, 32, 4).unfold(2, 32, 4).reshape(-1, 1, 32, 32)
        alone = net(patches)
    flat = vectors[0].flatten(1).T
    assert len(alone) == len(flat) == rows * columns
    similarity = alone @ flat.T
    y, x = np.mgrid[4 : rows - 4, 4 : columns - 4].reshape(2, -1)
    inner = y * columns + x
    assert (similarity.diagonal()[inner]).median() > 0.8
    assert (similarity.argmax(dim=1)[inner] == torch.from_numpy(inner)).float().mean() > 0.95


def test_windows_move_with_the_image() -> None:
    net = load_describer("sdgmnet").net
    image = texture(200, 200)
    with torch.inference_mode():
        whole = DenseForm(net)(image)[0]
        part = DenseForm(net)(image[:, :, 8:, 16:])[0]
    inner = (slice(None), slice(None), slice(16, 24), slice(16, 24))
    moved = whole[:, :, 2:, 4:][inner]
    assert (moved * part[inner]).sum(dim=1).min() > 0.999


def test_box_means_are_those_of_brute_force() -> None:
    x = torch.rand(1, 2, 24, 40, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(1, 1, 24, 40)
    valid[..., 30:] = 0
    shares = torch.nn.functional.avg_pool2d(valid, 4)
    found = box_means(x * valid, 4, shares)
    weights = np.array([0.5, 1, 1, 1, 1, 1, 1, 1, 0.5])
    for row, column in ((0, 0), (2, 3), (5, 6), (3, 9)):
        total, share = np.zeros(2), 0.0
        for i, j in np.ndindex(9, 9):
            y, x0 = row + i - 4, column + j - 4
            if 0 <= y < 6 and 0 <= x0 < 10:
                cell = (x * valid)[0, :, 4 * y : 4 * y + 4, 4 * x0 : 4 * x0 + 4].mean(dim=(1, 2)).numpy()
                total += weights[i] * weights[j] * cell
                share += weights[i] * weights[j] * float(shares[0, 0, y, x0])
        np.testing.assert_allclose(found[0, :, row, column], total / share, rtol=1e-5)


def test_what_is_not_valid_does_not_matter() -> None:
    net = load_describer("sdgmnet").net
    image, valid = texture(96, 128), torch.ones(1, 1, 96, 128)
    valid[..., 100:] = 0
    other = image.clone()
    other[..., 100:] = 7.0
    with torch.inference_mode():
        first, whole = DenseForm(net)(image, valid)
        second, _ = DenseForm(net)(other, valid)
    assert whole[0, 0, 0].tolist() == [4 * x + 32 <= 100 for x in range(25)]
    torch.testing.assert_close(first, second)


def test_gradients_reach_every_weight() -> None:
    net = nets.create("sdgmnet")
    vectors, _ = DenseForm(net)(texture(40, 40))
    vectors[:, 0].sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
