"""What many registrations share: the models loaded, the settings tried once, and what a result depends on in words."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tiepoint.errors import InputError
from tiepoint.features.cache import digest, digest_file
from tiepoint.features.describe import describe
from tiepoint.matching.bands import Band, band_of_each
from tiepoint.models.describer import Describer, sees_upright
from tiepoint.models.load import load_describer, load_relater
from tiepoint.models.weights import weights_path
from tiepoint.registration.register import register

TRIAL = "trial image"


@dataclass(frozen=True)
class Settings:
    """Of a run over many pairs.

    Attributes:
        model: the loaded describer.
        register: arguments of `register`, its defaults among them, for images whose bands are chosen.
        describe: arguments of `describe`.
        bands: of image a and of image b of each pair.
        plain: all of it as plain values, models by their weights.
    """

    model: Describer
    register: dict[str, Any]
    describe: dict[str, Any]
    bands: tuple[Band, Band]
    plain: dict[str, Any]


def resolve(describer: str | Path, given: dict[str, Any]) -> Settings:
    """Load the models, and try the settings on an image of noise.

    Raises:
        InputError: settings that fit no pair, no such model.
        TypeError: a setting that `register` does not have.
    """
    takes = {k: p.default for k, p in inspect.signature(register).parameters.items() if p.kind is p.KEYWORD_ONLY}
    del takes["progress"]
    if unknown := given.keys() - takes.keys():
        raise TypeError(f"register_many() got an unexpected keyword argument {sorted(unknown)[0]!r}")
    settings = takes | given
    model = load_describer(describer)
    bands = band_of_each(settings.pop("band"))  # of what is described once, not of what is registered
    plain = settings | {"describer": _weights(describer, model.name), "band": bands}
    if (relater := settings["relater"]) is not None:
        settings["relater"] = load_relater(relater)
        plain["relater"] = _weights(relater, settings["relater"].name)
    if (cameras := settings["cameras"]) is not None:
        plain["cameras"] = [np.asarray(camera).tolist() for camera in cameras]
    described = {k: v for k, v in settings.items() if k in inspect.signature(describe).parameters}
    _try(model, described, settings)
    return Settings(model, settings, described, bands, plain)


def _weights(name_or_path: str | Path, name: str) -> dict[str, str]:
    """What tells a model from others: its name, and its weights and card if it has them."""
    path = weights_path(name_or_path)
    files = [file for file in (path, path.with_suffix(".json")) if file.is_file()]
    return {"name": name, **({"weights": digest("".join(map(digest_file, files)).encode())} if files else {})}


def _try(model: Describer, described: dict[str, Any], settings: dict[str, Any]) -> None:
    """Raise the InputError of settings that fit no pair, before the first pair."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32), (0, 0), 2)
    image = np.asarray((128 + 50 * noise / noise.std()).clip(0, 255).astype(np.uint8))
    try:
        features = describe(image, model, name=TRIAL, **described)
    except InputError as error:
        if str(error).startswith(TRIAL):  # the settings may suit real images
            return
        raise
    given = image if sees_upright(model) else features  # see `FeatureCache.features`
    try:
        register(given, given, model, **settings)
    except InputError:
        raise
    except Exception:  # a crash is each pair's own to record
        return
