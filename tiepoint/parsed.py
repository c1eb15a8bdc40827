"""Files that others may have written: read up to a size, parsed up to a depth, and checked by one schema a kind.

A schema is a type: a TypedDict of what a table holds, with `Count`, `Share` and the like for numbers and their limits,
or the dataclass that was made of a file. What does not fit is an InputError of one line, before anything is written.
"""

import functools
import json
import os
import types
import typing
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

from tiepoint.errors import InputError

T = TypeVar("T")
MAX_TEXT_BYTES = 1 << 28  # of a list, table or JSON: ten million lines
MAX_CARD_BYTES, MAX_RECIPE_BYTES = 1 << 22, 1 << 16
MAX_ARRAY_BYTES, MAX_RATIO = 1 << 28, 100  # of an array of an HDF5 file, and of it to what is stored
MAX_NODES, MAX_RECIPE_NODES = 20_000_000, 10_000  # values in a file; what an alias stands for counts at every use
MAX_DEPTH = 50  # of tables and lists within each other
MAX_SHOWN_CHARACTERS = 80  # of a value in an error
Count = Annotated[int, (0, 2**48)]
Share = Annotated[float, (0, 1)]
Positive = Annotated[float, (1e-9, 1e9)]
Number = Annotated[float, (-1e300, 1e300)]  # finite
WORDS = {"dict": "a table", "list": "a list", "tuple": "a list of the right length", "str": "text"}
WORDS |= {"int": "a whole number", "float": "a number", "bool": "true or false", "NoneType": "nothing"}
KINDS = {"bool": "b", "bool_": "b", "int64": "iu"}  # of arrays, by the scalar of their hint; others are real numbers


def read_bytes(path: str | Path, most: int = MAX_TEXT_BYTES, remedy: str = "copy it again") -> bytes:
    """The bytes of a file, of which no more than `most` and one are read. Raises InputError for more, or no file."""
    try:
        with Path(path).open("rb") as file:
            stated = os.fstat(file.fileno()).st_size  # 0 of a pipe or a device; Python allocates what is asked for
            data = file.read(min(stated or most, most) + 1)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise InputError(f"{path}: cannot be read ({reason}): {remedy}") from None
    if len(data) > most:
        raise InputError(f"{path}: is larger than {most} bytes, the limit of such files: {remedy}")
    return data


def read_text(path: str | Path, most: int = MAX_TEXT_BYTES, remedy: str = "copy it again") -> str:
    """The text of a file in UTF-8, whose lines may end in any way. Raises InputError, see `read_bytes`."""
    try:
        text = read_bytes(path, most, remedy).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read ({error}): {remedy}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: str | Path, schema: type[T], remedy: str, most: int = MAX_CARD_BYTES) -> T:
    """Read JSON that fits `schema`. NaN and infinity are no JSON. Raises InputError with the remedy."""
    text = read_text(path, most, remedy)
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON ({error}): {remedy}") from None
    bound(value, path)
    return conform(value, schema, path, remedy)


def parse_yaml(text: str, name: str | Path) -> Any:
    """The value of YAML, whose aliases are counted before they are followed. Raises InputError."""
    import yaml

    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            bound(node, name, MAX_RECIPE_NODES)
            value = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except InputError:
        raise
    except Exception as error:  # ValueError, TypeError, IndexError ... of numbers, dates and keys that are none
        raise InputError(f"{name} is not YAML ({' '.join(str(error).split()) or type(error).__name__})") from None
    bound(value, name, MAX_RECIPE_NODES)
    return value


def bound(value: Any, name: str | Path, most: int = MAX_NODES) -> None:
    """Raise InputError for values that lie too deep, too many of them, or a whole number of more than 64 bits.

    Values are tables, lists and what they hold, or the nodes of YAML. What holds itself lies too deep.
    """
    waiting, count = [iter((value,))], 0
    while waiting:
        item = next(waiting[-1], waiting)
        if item is waiting:
            waiting.pop()
            continue
        count += 1
        children = getattr(item, "value", item) if type(item).__name__.endswith("Node") else item
        if isinstance(children, int) and children.bit_length() > 64:
            raise InputError(f"{name}: holds a whole number of more than 64 bits: give a smaller one")
        if isinstance(children, Mapping):
            waiting.append(iter([*children, *children.values()]))
        elif isinstance(children, list | tuple | set):
            waiting.append(iter(children))
        if len(waiting) > MAX_DEPTH or count > most:
            fault = f"more than {most} values" if count > most else f"tables or lists more than {MAX_DEPTH} deep"
            raise InputError(f"{name}: holds {fault}, aliases included: write it shorter")


def check_stored(path: str | Path) -> None:
    """Raise InputError for a zip that inflates to more than itself: torch and numpy store their arrays as they are."""
    stated = 0
    with suppress(Exception), zipfile.ZipFile(path) as file:  # what is no zip, or damaged, its reader names
        stated = sum(info.file_size for info in file.infolist())
    if stated and stated > Path(path).stat().st_size:
        raise InputError(f"{path}: inflates to more than its size: save it without compression")


def check_tensors(value: Any, name: str | Path) -> None:
    """Raise InputError for tensors that claim more than the numbers behind them, are no plain arrays, or not finite."""
    waiting, seen = [value], set[int]()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, list | tuple | set):
            waiting += item
        elif hasattr(item, "untyped_storage"):
            plain = str(item.layout) == "torch.strided" and not item.is_meta and not item.is_quantized
            if not plain or item.numel() * item.element_size() > item.untyped_storage().nbytes():
                raise InputError(f"{name}: holds a tensor that is no plain array, or larger than its data: clone it")
            if item.is_floating_point() and item.numel() > 1 and not item.isfinite().all():  # single ones are scores
                raise InputError(f"{name}: holds NaN or infinity: train again, or copy it again")


def read_array(dataset: Any, name: str | Path) -> Any:
    """The numbers of a dataset of an HDF5 file. Raises InputError for none, or many more than the file has bytes of."""
    if getattr(getattr(dataset, "dtype", None), "kind", "") not in tuple("biuf"):
        raise InputError(f"{name}: {dataset!r:.80} holds no numbers: copy it again")
    if dataset.nbytes > min(MAX_ARRAY_BYTES, MAX_RATIO * dataset.id.get_storage_size() + (1 << 20)):
        raise InputError(
            f"{name}: {dataset.name} claims {dataset.nbytes:,} bytes, more than it can hold: copy it again"
        )
    return dataset[()]


def conform(value: Any, schema: type[T], name: str | Path, remedy: str = "copy it again") -> T:
    """The value, if it is of the type `schema`; else raises InputError that names the place at fault.

    Keys of a table that the schema does not name are allowed. A float may be written as a whole number, and is not NaN.
    """
    if fault := _fault(value, schema, ""):
        raise InputError(f"{name}: {fault}: {remedy}")
    return typing.cast(T, value)


def shown(value: Any) -> str:
    """What an error shows of a value, on one line."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}..."


def _fault(value: Any, kind: Any, place: str) -> str | None:
    """What is wrong with a value of which `kind` is expected; None if nothing is."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        low, high = arguments[1]
        range_fault = f"{place} is {shown(value)}: must be from {low:g} to {high:g}"
        return _fault(value, arguments[0], place) or (None if low <= value <= high else range_fault)
    if origin in (Union, types.UnionType):
        faults = [_fault(value, one, place) for one in arguments]
        return None if None in faults else faults[0]
    if not _is(value, kind, origin, arguments):
        name = "dict" if typing.is_typeddict(kind) else getattr(origin or kind, "__name__", kind)
        wanted = " or ".join(map(str, arguments)) if origin is Literal else WORDS.get(name, name)
        return f"{place or 'it'} is {shown(value)}: must be {wanted}"
    if typing.is_typeddict(kind):  # by its hints, since __required_keys__ does not see through postponed annotations
        needed = (k for k, v in _hints(kind).items() if typing.get_origin(v) is not typing.NotRequired)
        if missing := set(needed) - value.keys():
            return f"{place}{'.' if place else ''}{min(missing)} is missing"
    faults_within = (_fault(v, k, f"{place}{'.' if place else ''}{n}") for n, v, k in _parts(value, kind, arguments))
    return next((fault for fault in faults_within if fault), None)


def _is(value: Any, kind: Any, origin: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether a value is of a kind, whatever it holds."""
    if kind is Any:
        return True
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        return isinstance(value, list | tuple) and (arguments[-1] is ... or len(value) == len(arguments))
    if getattr(origin, "__name__", "") == "ndarray":  # numpy is not imported for this
        (scalar,) = typing.get_args(arguments[1])
        return isinstance(value, origin) and value.dtype.kind in KINDS.get(getattr(scalar, "__name__", ""), "fiu")
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool) and value == value
    if typing.is_typeddict(kind) or origin is dict:
        return isinstance(value, dict)
    return isinstance(value, types.NoneType if kind is None else origin or kind)


def _parts(value: Any, kind: Any, arguments: tuple[Any, ...]) -> Iterable[tuple[Any, Any, Any]]:
    """Name, value and kind of what a value holds."""
    if hasattr(value, "dtype") or kind is Any:
        return []
    if isinstance(value, dict):
        if not typing.is_typeddict(kind):
            return [part for k, v in value.items() for part in ((k, k, arguments[0]), (k, v, arguments[1]))]
        return [(key, value[key], _bare(hint)) for key, hint in _hints(kind).items() if key in value]
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        names = kind._fields if hasattr(kind, "_fields") else [field.name for field in fields(kind)]
        return [(name, getattr(value, name), _hints(kind)[name]) for name in names]
    if isinstance(value, list | tuple) and arguments:
        kinds = arguments if len(arguments) == len(value) and ... not in arguments else arguments[:1] * len(value)
        return list(zip(range(len(value)), value, kinds, strict=True))
    return []


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.NotRequired else hint


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")
