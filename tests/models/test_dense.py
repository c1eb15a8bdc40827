"""`Describer.dense`: grids, strides, masks, tiles and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dense_scene import scene
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.models.dense import describe_densely
from tiepoint.models.describer import Describer
from tiepoint.models.load import load_describer
from tiepoint.nets.dense import DenseForm


@pytest.fixture(scope="module")
def describer() -> Describer:
    return load_describer("sdgmnet-visnir")


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    coarse = random.uniform(size=(height // 8 + 1, width // 8 + 1))
    return (np.kron(coarse, np.ones((8, 8)))[:height, :width] + 0.3 * random.uniform(size=(height, width))).astype(
        np.float32
    )


def test_the_grid_is_where_the_windows_are(describer: Describer) -> None:
    dense = describer.dense(picture(130, 200))
    assert (dense.stride, dense.width) == (8, 64)
    assert dense.vectors.shape == (128, (130 - 64) // 8 + 1, (200 - 64) // 8 + 1)
    assert dense.points.shape == (*dense.vectors.shape[1:], 2)
    np.testing.assert_allclose(dense.points[0, 0], [31.5, 31.5])
    np.testing.assert_allclose(dense.points[1, 2], [47.5, 39.5])


@pytest.mark.parametrize("stride", [2, 4])
def test_a_finer_grid_holds_the_coarser_one(describer: Describer, stride: int) -> None:
    image = picture(120, 136)
    coarse, fine = describer.dense(image), describer.dense(image, stride)
    every = 8 // stride
    torch.testing.assert_close(fine.vectors[:, ::every, ::every][:, :8, :10], coarse.vectors, atol=1e-5, rtol=0)
    np.testing.assert_allclose(fine.points[::every, ::every][:8, :10], coarse.points)
    assert fine.valid.all()


def test_a_coarser_grid_is_a_part_of_the_finer_one(describer: Describer) -> None:
    image = picture(160, 160)
    torch.testing.assert_close(describer.dense(image, 16).vectors, describer.dense(image).vectors[:, ::2, ::2])


def test_windows_that_touch_masked_pixels_are_not_valid(describer: Describer) -> None:
    image = picture(160, 160)
    mask = np.ones(image.shape, dtype=bool)
    mask[:, :20] = False
    image[:, :20] = np.nan
    dense = describer.dense(image, 8, mask)
    assert not dense.valid[:, :3].any()
    assert dense.valid[:, 3:].all()
    assert bool(dense.vectors.isfinite().all())


def test_tiles_give_what_the_whole_gives(describer: Describer) -> None:
    image = picture(700, 620)
    form = DenseForm(describer.net).eval()  # type: ignore[arg-type]
    whole, tiled = describe_densely(form, image, 8), describe_densely(form, image, 8, tile=256)
    assert whole.vectors.shape == tiled.vectors.shape
    assert (whole.vectors * tiled.vectors).sum(dim=0).min() > 0.99


def test_the_depth_of_the_image_does_not_matter(describer: Describer) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (80, 80), dtype=np.uint8)
    small, large = describer.dense(levels), describer.dense(levels.astype(np.uint16) * 257)
    torch.testing.assert_close(small.vectors, large.vectors, atol=1e-5, rtol=0)


def test_bfloat16_gives_nearly_the_same_windows() -> None:
    image = scene(height=120, width=136)
    exact = load_describer("sdgmnet-any").dense(image)
    rounded = load_describer("sdgmnet-any").to(torch.bfloat16).dense(image)
    assert rounded.vectors.dtype == torch.float32
    assert torch.equal(rounded.valid, exact.valid)
    assert 0.99 < (rounded.vectors * exact.vectors).sum(dim=0).min() < 0.9999999


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (np.zeros((40, 90), np.float32), {}, "window of 64 x 64 px"),
        (np.zeros((3, 90, 90), np.float32), {}, "grey image"),
        (np.full((90, 90), np.nan, np.float32), {}, "not finite"),
        (np.zeros((90, 90), np.float32), {"mask": np.zeros((90, 90), bool)}, "all pixels are masked"),
        (np.zeros((90, 90), np.float32), {"mask": np.ones((90, 91), bool)}, "mask has shape"),
        (np.zeros((90, 90), np.float32), {"stride": 0}, "stride is 0"),
        (np.zeros((90, 90), np.float32), {"stride": 3}, "give one of 2, 4, 8, 16"),
        (np.zeros((90, 90), np.float32), {"stride": 1}, "stride is 1"),
        (np.zeros((90, 90), np.float32), {"stride": float("nan")}, "stride is nan"),
        (np.zeros((90, 90), np.float32), {"stride": float("inf")}, "stride is inf"),
        (np.zeros((90, 90), np.float32), {"width": 0}, "width is 0: give the side of a window, 32 px or more"),
        (np.zeros((90, 90), np.float32), {"width": 20}, "width is 20"),
        (np.broadcast_to(np.float32(0), (400_000, 400_000)), {}, "GiB at a stride of 8, more than half of the memory"),
    ],
)
def test_what_cannot_be_described_is_refused(
    describer: Describer, image: NDArray[np.float32], options: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        describer.dense(image, **options)  # type: ignore[arg-type]


def test_a_describer_without_dense_form_names_others() -> None:
    with pytest.raises(InputError, match="rootsift has no dense form: take one with the network of sdgmnet"):
        load_describer("rootsift").dense(np.zeros((90, 90), np.float32))
