"""Small images of many bands for the tests of readers, and TIFFs read as if rasterio were not installed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from tiepoint.images import raster

HAS_RASTERIO = raster._has_rasterio()
needs_rasterio = pytest.mark.skipif(not HAS_RASTERIO, reason="needs rasterio (pip install 'tiepoint[geo]')")
BACKENDS = [pytest.param("rasterio", marks=needs_rasterio), "opencv"]


def without_rasterio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read TIFFs as where rasterio is not installed."""
    monkeypatch.setattr(raster, "_has_rasterio", lambda: False)
    monkeypatch.setitem(sys.modules, "rasterio", None)


def bands(count: int, dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    """(count, 30, 40), each band with its own range."""
    values = np.random.default_rng(seed).random((count, 30, 40)) * np.linspace(50, 250, count)[:, None, None]
    return values.astype(dtype)
