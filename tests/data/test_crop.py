from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tiepoint.data.crop import central_crop
from tiepoint.errors import InputError
from tiepoint.features.extract import extract
from tiepoint.features.frames import compose


def ramp() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return torch.stack([x, y])[None] / 64


@pytest.mark.parametrize(("margin", "size"), [(1.75, 64), (1.75, 32), (2.0, 16), (1.3, 48), (3.0, 64)])
def test_a_ramp_is_read_at_the_samples_centres(margin: float, size: int) -> None:
    cropped = central_crop(ramp(), margin, size)
    expected = (((torch.arange(size) + 0.5) / size - 0.5) / margin + 0.5) * 64 - 0.5
    step = 64 / (margin * size)
    pixels = 1e-4 if step <= 1 or step == round(step) else 0.09  # the triangle's centroid wanders between pixels
    torch.testing.assert_close(64 * cropped[0, 0, 5], expected, atol=pixels, rtol=0)
    torch.testing.assert_close(64 * cropped[0, 1, :, 7], expected, atol=pixels, rtol=0)


def test_margin_1_is_the_identity() -> None:
    patches = torch.rand(3, 2, 64, 64)
    assert torch.equal(central_crop(patches, 1.0), patches)


@pytest.mark.parametrize("size", [16, 32, 40, 96])
def test_margin_1_at_another_size_is_torchs_antialiased_interpolation(size: int) -> None:
    patches = torch.rand(3, 2, 64, 64)
    expected = F.interpolate(patches, size=(size, size), mode="bilinear", antialias=True)
    torch.testing.assert_close(central_crop(patches, 1.0, size), expected, atol=1e-5, rtol=0)


def test_margin_2_reduced_is_the_crop_then_the_reduction_inside() -> None:
    patches = torch.rand(2, 1, 64, 64)
    expected = F.interpolate(patches[:, :, 16:48, 16:48], size=(16, 16), mode="bilinear", antialias=True)
    cropped = central_crop(patches, 2.0, 16)
    torch.testing.assert_close(cropped[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1], atol=1e-5, rtol=0)


def test_detail_finer_than_the_samples_fades_instead_of_folding_back() -> None:
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    assert central_crop(stripes, 1.0, 16).sub(0.5).abs().max() < 0.05
    assert central_crop(stripes, 1.6, 16).sub(0.5).abs().max() < 0.05


def test_a_crop_of_a_wide_patch_shows_what_a_narrow_patch_shows() -> None:
    y, x = np.mgrid[0:200, 0:200].astype(np.float32)
    image = (0.5 + 0.2 * np.sin(x / 9) + 0.2 * np.cos(y / 7 + x / 15)).astype(np.float32)
    frames = compose([[100.3, 98.6]], [2.5], [0.4])  # both patches are cut from the image itself, not from its pyramid
    wide, narrow = (torch.from_numpy(extract(image, frames, support=12 * margin)) for margin in (1.75, 1.0))
    torch.testing.assert_close(central_crop(wide, 1.75), narrow, atol=4e-3, rtol=0)


def test_dtype_and_gradients_are_kept() -> None:
    patches = torch.rand(1, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    cropped = central_crop(patches, 1.5, 32)
    cropped.sum().backward()
    assert cropped.dtype == torch.float64
    assert patches.grad is not None
    assert patches.grad.sum().item() == pytest.approx(32 * 32)


def test_wrong_patches_and_margins_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        central_crop(torch.rand(1, 1, 64, 64), 0.9)
    with pytest.raises(InputError, match="uint8"):
        central_crop(torch.zeros(1, 1, 64, 64, dtype=torch.uint8), 1.5)
    with pytest.raises(InputError, match=r"\(1, 1, 64, 32\)"):
        central_crop(torch.rand(1, 1, 64, 32), 1.5)
