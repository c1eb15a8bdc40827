"""Recipes: what a run does, typed. A YAML file holds one, the command line changes single keys."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from tiepoint.data.augmentation import Augmentation
from tiepoint.errors import InputError


@dataclass(frozen=True)
class Loss:
    """The SDGM loss. Time constants are shares of the run, so that a short run has the shape of the published one."""

    alpha: float = 0.9
    """weight of the positives"""
    margin_probability: float = 0.6
    """share of the pairs that a normal distribution would cut"""
    memory: float = 0.005
    """time constant of the running statistics; the published momentum of 0.999 over 200,000 steps is 0.005"""
    initial_power: float = 9.765625
    """initial running power over the pairs of a batch; the published 10,000 for 1,024 pairs"""
    warm_up: float = 0.1
    """before this share of the run neither auto-focus nor margin acts"""
    guard_start: float = 0.125
    """from this share of the run on, negatives closer than guard_angle are passed over"""
    guard_angle: float = 0.6
    """radians"""
    angle: bool = True
    """measure by the included angle; off: by L2 distance"""
    auto_focus: bool = True
    """weigh pairs by how common their angle is"""
    margin: bool = True
    """cut pairs that have reached the optimum"""
    power: bool = True
    """balance positives and negatives by their running power"""


@dataclass(frozen=True)
class Optimizer:
    """How weights move."""

    name: Literal["sgd", "adam"] = "sgd"
    """sgd with momentum, or adam"""
    lr: float = 1.0
    """learning rate at the start"""
    momentum: float = 0.9
    """of sgd"""
    weight_decay: float = 1e-4
    """of all parameters"""
    schedule: Literal["halving", "linear", "cosine"] = "halving"
    """halving: ten equal stages, each at half the rate of the one before, as published; linear and cosine fall to zero"""


@dataclass(frozen=True)
class Validation:
    """Held-out points, by which the weights are chosen."""

    fraction: float = 0.03
    """of the points"""
    every: float = 0.05
    """share of the run between two validations"""
    pairs: int = 2000
    """pairs at the most"""
    noise: Literal["none", "easy", "hard", "tough"] = "hard"
    """noise on the second patch's frame, without which the pairs are too easy to tell runs apart"""


@dataclass(frozen=True)
class Recipe:
    """A training run, to the last number."""

    data: str = ""
    """folder of the PatchSet"""
    network: str = "sdgmnet"
    """see tiepoint.nets.names()"""
    dropout: float = 0.3
    """before the last convolution"""
    steps: int | None = 200_000
    """optimiser steps; leave empty to use minutes"""
    minutes: float | None = None
    """instead of steps: the rate is measured first, then the number of steps is fixed"""
    batch: int = 1024
    """pairs a step, each of another point"""
    seed: int = 1
    """of weights, batches, augmentation and dropout"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """of convolutions; statistics, norms and the loss are float32 always"""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; auto: where a C++ compiler is found (on the CPU) or on a GPU"""
    device: str = "auto"
    """auto: a GPU if there is one"""
    selection: Literal["best", "last"] = "best"
    """which weights to keep: best on validation, or the last"""
    checkpoint_seconds: float = 60.0
    """between two checkpoints"""
    log_every: int = 50
    """steps between two lines of the log"""
    tensorboard: bool = False
    """also write TensorBoard events; wants the extra tb"""
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    augmentation: Augmentation = field(default_factory=Augmentation)
    validation: Validation = field(default_factory=Validation)


# Key: lowest and highest value; a bound that is itself not allowed stands in _OPEN.
_RANGES: dict[str, tuple[float, float]] = {
    "dropout": (0, 1), "steps": (1, 1e9), "minutes": (0, 1e6), "batch": (2, 1e6), "checkpoint_seconds": (0, 1e9), "log_every": (1, 1e9),
    "loss.alpha": (0, 1e3), "loss.margin_probability": (0, 1), "loss.memory": (0, 1), "loss.initial_power": (0, 1e9),
    "loss.warm_up": (0, 1), "loss.guard_start": (0, 1), "loss.guard_angle": (0, 3.1416), "optimizer.lr": (0, 1e6),
    "optimizer.momentum": (0, 1), "optimizer.weight_decay": (0, 1), "validation.fraction": (0, 1), "validation.every": (0, 1),
    "validation.pairs": (2, 1e6), "augmentation.rotation": (0, 180), "augmentation.crop_area": (0, 1),
    "augmentation.crop_ratio": (0, 100), "augmentation.contrast": (0, 10), "augmentation.brightness": (0, 10),
}  # fmt: skip
_OPEN = {
    "minutes": "low", "dropout": "high", "loss.margin_probability": "both", "optimizer.lr": "low", "optimizer.momentum": "high",
    "validation.fraction": "both", "validation.every": "low", "augmentation.crop_area": "low", "augmentation.crop_ratio": "low",
    "loss.initial_power": "low",
}  # fmt: skip


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe. Raises InputError that names the key at fault and the right one."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such recipe") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: a recipe is a table of keys and values")
    recipe = _build(Recipe, content, str(path), "")
    assert isinstance(recipe, Recipe)
    return recipe


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML that `load_recipe` reads."""
    plain = dataclasses.asdict(recipe)
    plain["augmentation"] = {k: list(v) if isinstance(v, tuple) else v for k, v in plain["augmentation"].items()}
    return yaml.safe_dump(plain, sort_keys=False)


def check(recipe: Recipe) -> Recipe:
    """Return the recipe if every value is in range, else raise InputError that names the key."""
    for key, (low, high) in _RANGES.items():
        value: Any = recipe
        for name in key.split("."):
            value = getattr(value, name)
        for number in value if isinstance(value, tuple) else () if value is None else (value,):
            is_open = _OPEN.get(key, "")
            outside = number < low or number > high or number != number
            if outside or (number == low and is_open in ("low", "both")) or (number == high and is_open in ("high", "both")):
                words = {"low": f"above {low:g}, at most {high:g}", "high": f"{low:g} to below {high:g}", "both": f"between {low:g} and {high:g}"}
                raise InputError(f"recipe key {key} is {number:g}: must be {words.get(is_open, f'{low:g} to {high:g}')}")
    for key in ("crop_area", "crop_ratio"):
        low, high = getattr(recipe.augmentation, key)
        if low > high:
            raise InputError(f"recipe key augmentation.{key} is {low:g}, {high:g}: give the smaller number first")
    if (recipe.steps is None) == (recipe.minutes is None):
        raise InputError("recipe keys steps and minutes: give one of them")
    if not recipe.data:
        raise InputError("recipe key data: name the folder of a PatchSet (build one with `tiepoint data colmap`)")
    return recipe


def _build(kind: Any, content: Mapping[Any, Any], source: str, prefix: str) -> Any:
    types_of = typing.get_type_hints(kind)
    values = {}
    for key, value in content.items():
        if key not in types_of:
            near = difflib.get_close_matches(str(key), types_of, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"there are {', '.join(types_of)}"
            raise InputError(f"{source}: unknown key {prefix}{key}: {hint}")
        values[key] = _convert(types_of[key], value, source, f"{prefix}{key}")
    return kind(**values)


def _convert(kind: Any, value: Any, source: str, key: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise InputError(f"{source}: {key} is a table of keys, not {value!r}")
        return _build(kind, value, source, f"{key}.")
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        kind = next(a for a in arguments if a is not type(None))
    elif origin is Literal:
        # YAML reads a bare on or off as a truth value.
        value = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
        if value not in arguments:
            raise InputError(f"{source}: {key} is {value!r}: choose one of {', '.join(map(str, arguments))}")
        return value
    elif origin is tuple:
        if not isinstance(value, (list, tuple)) or len(value) != len(arguments):
            raise InputError(f"{source}: {key} is {value!r}: give {len(arguments)} numbers")
        return tuple(_convert(a, v, source, key) for a, v in zip(arguments, value, strict=True))
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-4 as a string
        except ValueError:
            pass
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{source}: {key} is {value!r}: give {'a number' if kind is float else kind.__name__}")
    return value
