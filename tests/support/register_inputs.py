"""What tests of `tiepoint register` share: made-up images, and the message of a command that failed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest


def texture(seed: int = 0, width: int = 320, height: int = 240) -> np.ndarray:
    """Grey noise of four scales, uint8 (height, width)."""
    rng = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), sigma) for sigma in (1.5, 3, 6, 12)]
    return np.asarray((128 + 25 * sum(layer / layer.std() for layer in layers)).clip(0, 255).astype(np.uint8))


def error(capfd: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err
