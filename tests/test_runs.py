"""The scripts that train the shipped weights: what they cut of two images shows one place."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from dense_scene import scene

RUNS = Path(__file__).parents[1] / "runs"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sdgmnet_any", RUNS / "sdgmnet_any.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sdgmnet_any"] = module
    spec.loader.exec_module(module)
    return module


def test_crops_show_one_place(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "jitter", lambda random, image: image)
    first = cv2.GaussianBlur(scene().astype(np.float32) / 255, (0, 0), 1.5)
    truth = np.vstack([cv2.getRotationMatrix2D((180, 150), 25.0, 1.1), [0, 0, 1]])
    second = cv2.warpPerspective(first, truth, first.shape[::-1])
    pair = script.Pair(first, second, truth, False)
    differences = []
    for seed in range(8):
        (one, two), (seen_one, seen_two), change = script.cut(np.random.default_rng(seed), pair, "visnir")
        moved = cv2.warpPerspective(one, change, one.shape[::-1])
        both = (cv2.warpPerspective(seen_one, change, one.shape[::-1]) > 0.99) & (seen_two > 0)
        difference = np.abs(moved - two)[both].mean() if both.any() else 0.0
        differences.append(min(difference, np.abs(1 - moved - two)[both].mean() if both.any() else 0.0))
    assert max(differences) < 0.02


def test_windows_that_correspond_show_one_point(script: ModuleType) -> None:
    change = script.small_transform(np.random.default_rng(1), script.CROP_PX)
    valid = torch.ones(1, 1, 21, 21, dtype=torch.bool)
    found = script.correspond(4, [valid, valid], torch.from_numpy(change)[None], np.random.default_rng(0)).numpy()
    assert len(found) > 20
    _, y, x, v, u = found.T
    mapped = change @ np.stack([4 * x + 15.5, 4 * y + 15.5, np.ones(len(x))])
    assert np.abs(mapped[:2] / mapped[2] - np.stack([4 * u + 15.5, 4 * v + 15.5])).max() <= 2.0 + 1e-9
