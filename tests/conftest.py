"""What the tests of several rooms share: synthetic images with known geometry, and networks made quickly.

Helpers live in tests/support, which pytest puts on the path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bands import BACKENDS, without_rasterio
from hypothesis import settings

from tiepoint.images.pixels import write_image

# The same examples in every run, so that a change fails for what it changes; others: `--hypothesis-profile=default`.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")
# As the commands do, and before torch is imported: threads that spin make a busy machine ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="module")
def quick_weights() -> Iterator[None]:
    """Fresh weights of the same spread as orthogonal or truncated normal ones, which take seconds in wide layers."""
    from torch import nn

    def as_orthogonal(weight: Any, gain: float = 1.0) -> Any:
        return nn.init.normal_(weight, std=gain / weight[0].numel() ** 0.5)

    def as_truncated(weight: Any, std: float, a: float, b: float) -> Any:
        return nn.init.uniform_(weight, 0.76 * a, 0.76 * b)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.init, "orthogonal_", as_orthogonal)  # ours and kornia's
        patch.setattr(nn.init, "trunc_normal_", as_truncated)
        yield


TRUTH = np.array([[0.98, -0.17, 46.0], [0.16, 1.02, -31.0], [8e-5, -5e-5, 1.0]])


def make_texture(seed: int = 0, width: int = 480, height: int = 360) -> np.ndarray:
    """Grey noise of many scales, uint8 (height, width)."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width), dtype=np.float32)
    for sigma in (1.5, 3, 6, 12, 24):
        layer = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), sigma)
        total += layer / layer.std()
    return (128 + 40 * total / total.std()).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def texture() -> Callable[..., np.ndarray]:
    """Call with a seed, a width and a height."""
    return make_texture


@pytest.fixture(scope="session")
def truth() -> np.ndarray:
    """The homography of `pair`."""
    return TRUTH


@pytest.fixture(scope="session")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Image a and image b, which is a seen through TRUTH; both uint8 (360, 480)."""
    a = make_texture()
    return a, cv2.warpPerspective(a, TRUTH, (480, 360), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


@pytest.fixture(scope="session")
def files(pair: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.png and b.png of `pair` and bad images of many kinds."""
    folder = tmp_path_factory.mktemp("images")
    for name, image in zip("ab", pair, strict=True):
        write_image(folder / f"{name}.png", image)
        write_image(folder / f"{name}.jpg", image)
    for suffix in ("png", "jpg"):
        data = (folder / f"a.{suffix}").read_bytes()
        (folder / f"truncated.{suffix}").write_bytes(data[: len(data) * 3 // 4])
    (folder / "text.png").write_text("no image\n")
    (folder / "empty.png").write_bytes(b"")
    write_image(folder / "constant.png", np.full((100, 120), 77, dtype=np.uint8))
    write_image(folder / "tiny.png", make_texture(1, 20, 20))
    ramp = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (128, 1))
    write_image(folder / "bare.png", ramp)
    write_image(folder / "other.png", make_texture(99))
    (folder / "folder.png").mkdir()
    return folder


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """TIFFs through rasterio, and as if it were not installed."""
    if request.param == "opencv":
        without_rasterio(monkeypatch)
    return str(request.param)
