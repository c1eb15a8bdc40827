from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tiepoint.errors import InputError
from tiepoint.features import extract as module
from tiepoint.features import extract_torch
from tiepoint.features.extract import extract
from tiepoint.features.extract_torch import sample
from tiepoint.features.frames import compose, upright_frames

Texture = Callable[..., np.ndarray]


def some_frames(count: int, width: int, height: int, seed: int = 0) -> np.ndarray:
    """Frames with sigmas of 0.5 to 40 px, turned and sheared, some at and beyond the border."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform((-10, -10), (width + 10, height + 10), (count, 2))
    scales = np.exp(rng.uniform(math.log(0.5), math.log(40), count))
    frames = compose(centres, scales, rng.uniform(-math.pi, math.pi, count))
    shear = np.tile(np.eye(2), (count, 1, 1))
    shear[::3, 0, 1] = rng.uniform(-0.7, 0.7, len(shear[::3]))
    frames[:, :, :2] = frames[:, :, :2] @ shear
    return frames


def relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean absolute difference of each patch in shares of its standard deviation, of at least a grey level."""
    difference = np.abs(a.astype(np.float64) - b).mean(axis=(1, 2, 3))
    return np.asarray(difference / np.maximum(b.astype(np.float64).std(axis=(1, 2, 3)), 1))


@pytest.mark.parametrize(("dtype", "gain"), [(np.uint8, 1), (np.uint16, 200), (np.float32, 1)])
@pytest.mark.parametrize(("width", "height", "size"), [(301, 200, 32), (64, 333, 64)])
def test_both_backends_agree(dtype: type, gain: int, width: int, height: int, size: int, texture: Texture) -> None:
    image = texture(1)[:height, :width].copy().astype(dtype) * dtype(gain)
    frames = some_frames(200, width, height)
    ours, theirs = (
        extract(image, frames, size=size, backend="opencv"),
        extract(image, frames, size=size, backend="torch"),
    )
    assert ours.dtype == theirs.dtype == dtype
    assert relative(ours, theirs).max() < 0.01


def test_bands_and_support_agree(texture: Texture) -> None:
    image = np.stack([texture(s)[:90, :120].copy() for s in range(3)])
    frames = some_frames(40, 120, 90)
    ours, theirs = (extract(image, frames, size=16, support=20.0, backend=b) for b in ("opencv", "torch"))
    assert ours.shape == (40, 3, 16, 16)
    assert relative(ours, theirs).max() < 0.01


def test_torch_keeps_the_fractions_and_the_device(texture: Texture) -> None:
    image, frames = texture(1)[:80, :100].copy()[None], some_frames(10, 100, 80)
    patches = sample(image, frames, size=24)
    assert patches.dtype == torch.float32
    assert patches.device.type == "cpu"
    assert np.abs(patches.numpy() - np.rint(patches.numpy())).max() > 0.1
    np.testing.assert_array_equal(np.rint(patches.numpy()), extract(image, frames, size=24, backend="torch"))


def test_chunks_and_threads_change_nothing(texture: Texture, monkeypatch: pytest.MonkeyPatch) -> None:
    image, frames = texture(1)[:150, :200].copy(), some_frames(150, 200, 150)
    expected, whole = extract(image, frames, size=16, threads=1), extract(image, frames, size=16, backend="torch")
    monkeypatch.setattr(module, "MIN_PATCHES_PER_THREAD", 10)
    np.testing.assert_array_equal(extract(image, frames, size=16, threads=4), expected)
    monkeypatch.setitem(extract_torch.MAX_SAMPLES, "cpu", 16 * 16 * 7)
    np.testing.assert_array_equal(extract(image, frames, size=16, backend="torch"), whole)


def test_an_image_too_large_for_opencv_is_cut_around_the_patch(
    texture: Texture, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, frames = texture(1)[:150, :240].copy(), some_frames(150, 240, 150)
    expected = extract(image, frames, size=24)
    monkeypatch.setattr(module, "MAX_SIDE_PX", 30)
    assert relative(extract(image, frames, size=24), expected).max() < 1e-3


def test_a_strip_longer_than_opencv_takes_is_cut(texture: Texture) -> None:
    strip = np.tile(texture(1)[:40, :64].copy(), (1, 600))
    frames = compose([(64 * 590 + 31.0, 20.0), (31.0, 20.0)], [2.0, 2.0], [0.4, 0.4])
    cut = extract(strip, frames, size=32)
    np.testing.assert_allclose(cut[0].astype(int), cut[1], atol=1)


def test_a_read_only_image_is_taken(texture: Texture, recwarn: pytest.WarningsRecorder) -> None:
    image = texture(1)[:50, :60].copy()
    image.flags.writeable = False
    assert extract(image, some_frames(3, 60, 50), backend="torch").shape == (3, 1, 64, 64)
    assert not [w for w in recwarn if "writable" in str(w.message)]


def test_auto_is_opencv_on_the_cpu_and_torch_elsewhere(texture: Texture, monkeypatch: pytest.MonkeyPatch) -> None:
    image, frames, asked = texture(1)[:50, :60].copy(), some_frames(3, 60, 50), []

    def spy(*args: object, device: str, **kwargs: object) -> torch.Tensor:
        asked.append(device)
        return torch.zeros(3, 1, 64, 64)

    monkeypatch.setattr(extract_torch, "sample", spy)
    extract(image, frames)
    assert asked == []
    extract(image, frames, device="cuda")
    assert asked == ["cuda"]


@pytest.mark.parametrize("backend", ["opencv", "torch"])
def test_no_frames_give_no_patches(backend: str, texture: Texture) -> None:
    assert extract(texture(1)[:50, :60].copy(), np.empty((0, 2, 3)), size=8, backend=backend).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("backend", ["opencv", "torch"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (2, 3)])
def test_tiny_images_are_cut(backend: str, shape: tuple[int, int]) -> None:
    image = np.full(shape, 77, dtype=np.uint8)
    assert (extract(image, some_frames(20, *shape), size=8, backend=backend) == 77).all()


def test_bad_input_is_refused(texture: Texture) -> None:
    image, frames = texture(1)[:50, :60].copy(), some_frames(3, 60, 50)
    with pytest.raises(InputError, match="auto, opencv, torch"):
        extract(image, frames, backend="cuda")
    with pytest.raises(InputError, match="at least a pixel"):
        extract(image[:0], frames)
    with pytest.raises(InputError, match=r"give \(N, 2, 3\)"):
        extract(image, frames[0])
    frames[1, 0, 2] = np.nan
    with pytest.raises(InputError, match="frame 1 is not finite"):
        extract(image, frames)


def test_upright_frames_cut_squares_of_one_width(texture: Texture) -> None:
    image = texture(1)[:90, :100].copy()
    cut = extract(image, upright_frames([(49.5, 39.5), (60.5, 45.5)], 32.0, support=7.0), size=32, support=7.0)
    np.testing.assert_array_equal(cut[0, 0], image[24:56, 34:66])
    np.testing.assert_array_equal(cut[1, 0], image[30:62, 45:77])
    assert upright_frames([], 64).shape == (0, 2, 3)
