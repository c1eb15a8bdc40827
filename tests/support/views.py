"""Views of images with their features, as `register` makes them of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from tiepoint.features.describe import Features
from tiepoint.features.view import View
from tiepoint.images.raster import Raster
from tiepoint.models.load import load_describer
from tiepoint.options import Detection, override


def described(image: Any, describer: Any = "rootsift", **flat: Any) -> View:
    """The described view of an image in any form."""
    return View.of(image, "image").described(load_describer(describer), override(Detection(), flat))


def of_features(pixels: np.ndarray, features: Features, mask: np.ndarray | None = None) -> View:
    """A view with features of its own."""
    return View(Raster(pixels, mask, (0, 255)), features)
