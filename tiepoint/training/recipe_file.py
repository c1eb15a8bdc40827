"""Reading, writing and checking recipes: an unknown key or a value out of range is an error that names the key."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from tiepoint import losses, nets
from tiepoint.errors import InputError
from tiepoint.losses.batch import in_interval
from tiepoint.parsed import MAX_RECIPE_BYTES, parse_yaml, read_text, shown
from tiepoint.training.recipe import Loss, Recipe, build_loss, loss_options

AUGMENTATION_RANGES = {
    "rotation": "[0, 180]",
    "crop_area": "(0, 1]",
    "crop_ratio": "(0, inf)",
    "contrast": "[0, inf)",
    "brightness": "[0, inf)",
}
RECIPES = Path(__file__).parents[1] / "recipes"
TABLES = ("loss", "optimizer", "validation")  # whose numbers have intervals
OPEN = ("options.", "optimizer.rates.")  # tables whose keys are the network's


def recipe_names() -> list[str]:
    """Names of the recipes that come with tiepoint, such as hardnet and scenes/hardnet."""
    return sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml"))


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a path as it is, or that of a name, which has its folder: scenes/hardnet is not hardnet.

    Raises InputError that lists the names, the nearest first.
    """
    path, names = Path(name), recipe_names()
    if path.is_file():
        return path
    if path.as_posix() in names:
        return RECIPES / f"{path.as_posix()}.yaml"
    near = difflib.get_close_matches(path.with_suffix("").as_posix(), names, n=5)
    others = [other for other in names if other not in near]
    raise InputError(f"{name}: no such file, and no such recipe: there are {', '.join(near + others)}")


def load_recipe(name: str | Path) -> Recipe:
    """Read a recipe by its name or path. Raises InputError that names the key at fault and the right one."""
    path = find_recipe(name)
    content = parse_yaml(read_text(path, MAX_RECIPE_BYTES, "a recipe is a YAML file of a few lines"), path)
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: a recipe is a table of keys and values")
    recipe = _build(Recipe, content, str(path), "")
    assert isinstance(recipe, Recipe)
    return recipe


def with_key(recipe: Recipe, key: str, text: str) -> Recipe:
    """The recipe with a key of an open table, options.NAME or optimizer.rates.NAME, at what YAML reads in `text`.

    Raises InputError that names the key.
    """
    try:
        value = parse_yaml(text, key)
    except InputError:
        raise InputError(f"recipe key {key} is {shown(text)}: not YAML, or too much of it") from None
    table, name = key.rsplit(".", 1)
    if table == "options":
        return dataclasses.replace(recipe, options={**recipe.options, name: value})
    rates = {**recipe.optimizer.rates, name: _convert(float, value, "command line", key)}
    return dataclasses.replace(recipe, optimizer=dataclasses.replace(recipe.optimizer, rates=rates))


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML that `load_recipe` reads."""
    plain = dataclasses.asdict(recipe)
    for table in ("augmentation", "pair_augmentation"):
        plain[table] = {k: list(v) if isinstance(v, tuple) else v for k, v in plain[table].items()}
    return yaml.safe_dump(plain, sort_keys=False)


def check(recipe: Recipe) -> Recipe:
    """Return the recipe if every value is in range, else raise InputError that names the key."""
    for table, prefix in ((recipe, ""), *((getattr(recipe, name), f"{name}.") for name in TABLES)):
        for field in dataclasses.fields(table):
            if interval := field.metadata.get("interval"):
                _check_range(prefix + field.name, getattr(table, field.name), interval)
    for key, interval in AUGMENTATION_RANGES.items():
        _check_range(f"augmentation.{key}", getattr(recipe.augmentation, key), interval)
    if recipe.network not in nets.names():
        raise InputError(f"recipe key network is {recipe.network!r}: there are {', '.join(nets.names())}")
    fitting = losses.names() if recipe.network in nets.DESCRIBERS else losses.relation_names()
    if recipe.loss.name not in fitting:
        raise InputError(
            f"recipe key loss.name is {recipe.loss.name!r}, which does not train {recipe.network}: "
            f"choose one of {', '.join(fitting)}"
        )
    if (recipe.selection == "paper") != bool(recipe.validation.test_data):
        raise InputError(
            "recipe keys selection and validation.test_data: the selection paper needs test data, no other takes any"
        )
    try:
        loss = build_loss(recipe.loss, 1)
    except ValueError as error:
        raise InputError(f"recipe key loss.{error}") from None
    if recipe.perceptual == "sdgmnet" and getattr(loss, "colour", False) and loss.perceptual:
        raise InputError(
            f"recipe key perceptual is sdgmnet, whose features are of grey patches, but the loss {recipe.loss.name} "
            "compares RGB too: name the file of VGG-19's weights, or none"
        )
    for name, rate in recipe.optimizer.rates.items():
        _check_range(f"optimizer.rates.{name}", rate, "(0, inf)")
    for key in ("crop_area", "crop_ratio"):
        low, high = getattr(recipe.augmentation, key)
        if low > high:
            raise InputError(f"recipe key augmentation.{key} is {low:g}, {high:g}: give the smaller number first")
    if (recipe.steps is None) == (recipe.minutes is None):
        raise InputError("recipe keys steps and minutes: give one of them")
    if not recipe.data:
        raise InputError("recipe key data: name the folder of a PatchSet (build one with `tiepoint data ...`)")
    return recipe


def _check_range(key: str, value: Any, interval: str) -> None:
    """Raise InputError unless a number, or each of several, lies in its interval; None is not given and passes."""
    try:
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None:
                in_interval(f"recipe key {key}", number, interval)
    except ValueError as error:
        raise InputError(str(error)) from None


def _build(kind: Any, content: Mapping[Any, Any], source: str, prefix: str) -> Any:
    types_of = typing.get_type_hints(kind)
    values = {}
    for key, value in content.items():
        if key not in types_of:
            near = difflib.get_close_matches(str(key), types_of, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"there are {', '.join(types_of)}"
            raise InputError(f"{source}: unknown key {prefix}{shown(str(key))[1:-1]}: {hint}")
        values[key] = _convert(types_of[key], value, source, f"{prefix}{key}")
    try:
        return kind(**values)
    except InputError as error:  # of a table that checks itself
        raise InputError(f"{source}: {prefix}{error}") from None


def _convert(kind: Any, value: Any, source: str, key: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise InputError(f"{source}: {key} is a table of keys, not {shown(value)}")
        if kind is Loss:
            name = str(value.get("name", Loss.name))
            known = [*losses.names(), *losses.relation_names()]
            if name not in known:
                raise InputError(f"{source}: {key}.name is {name!r}: choose one of {', '.join(known)}")
            kind = loss_options(name)
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
            raise InputError(f"{source}: {key} is {shown(value)}: choose one of {', '.join(map(str, arguments))}")
        return value
    elif origin is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"{source}: {key} is a table of keys, not {shown(value)}")
        return {str(k): _convert(arguments[1], v, source, f"{key}.{shown(str(k))[1:-1]}") for k, v in value.items()}
    elif kind is Any:
        return value
    elif origin is tuple:
        if not isinstance(value, (list, tuple)) or len(value) != len(arguments):
            raise InputError(f"{source}: {key} is {shown(value)}: give {len(arguments)} numbers")
        return tuple(_convert(a, v, source, key) for a, v in zip(arguments, value, strict=True))
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-4 as a string
        except ValueError:
            pass
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{source}: {key} is {shown(value)}: give {'a number' if kind is float else kind.__name__}")
    return value
