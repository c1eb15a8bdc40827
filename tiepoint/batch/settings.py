"""What many registrations share: the models loaded, the options tried once, and what a result depends on in words."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from tiepoint.errors import InputError
from tiepoint.features.cache import digest, digest_file
from tiepoint.features.view import View
from tiepoint.matching.match import AUTO, resolve_auto
from tiepoint.models.describer import Describer, sees_upright
from tiepoint.models.load import load_describer, load_relater
from tiepoint.models.relater import LearnedRelater
from tiepoint.models.weights import weights_path
from tiepoint.options import Registration as Options
from tiepoint.options import override, plain
from tiepoint.registration.register import needs_keypoints, register

TRIAL = "trial image"


@dataclass(frozen=True)
class Settings:
    """What every pair of a run is registered with, and all of it as plain values, models by their weights."""

    describer: Describer
    relater: LearnedRelater | None
    options: Options
    plain: dict[str, Any]


def resolve(
    describer: str | Path, relater: str | Path | None, options: Options, device: str | torch.device
) -> Settings:
    """Load the models, and try the options on an image of noise. Raises InputError for options that fit no pair."""
    named, detection = resolve_auto(describer, options.detection, keypoints=needs_keypoints(options))
    options = replace(options, detection=detection)
    model = load_describer(named, device)
    judge = None if relater is None else load_relater(relater, device)
    if options.reading.large == "always" and (reason := options.whole_only(judge is not None)):
        raise InputError(reason)
    values = {name: value for name, value in plain(options).items() if name != "large"}
    values["describer"] = _weights(model.name if describer == AUTO else describer, model.name)
    values["relater"] = None if relater is None or judge is None else _weights(relater, judge.name)
    _try(model, judge, options)
    return Settings(model, judge, options, values)


def _weights(name_or_path: str | Path, name: str) -> dict[str, str]:
    """What tells a model from others: its name, and its weights and card if it has them."""
    path = weights_path(name_or_path)
    files = [file for file in (path, path.with_suffix(".json")) if file.is_file()]
    return {"name": name, **({"weights": digest("".join(map(digest_file, files)).encode())} if files else {})}


def _try(describer: Describer, relater: LearnedRelater | None, options: Options) -> None:
    """Raise the InputError of options that fit no pair, before the first pair."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32), (0, 0), 2)
    image = np.asarray((128 + 50 * noise / noise.std()).clip(0, 255).astype(np.uint8))
    view = replace(View.of(image, TRIAL), name=TRIAL)
    try:
        as_found = sees_upright(describer) or options.detection.detector == "dense"
        given = view if as_found else view.described(describer, options.detection)  # see `FeatureCache.view`
    except InputError as error:
        if str(error).startswith(TRIAL):  # the options may suit real images
            return
        raise
    try:
        alone = override(options, {"large": "never", "band_a": None, "band_b": None, "nodata": None})
        register(given, given, describer, alone, relater=relater)
    except InputError:
        raise
    except Exception:  # a crash is each pair's own to record
        return
