"""A registration as one JSON file, from which an equal one is made."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tiepoint.dense.evidence import Agreement
from tiepoint.errors import InputError
from tiepoint.features.view import ViewInfo
from tiepoint.files import write_text
from tiepoint.geometry.pose import Pose
from tiepoint.geometry.warps import WARPS, WarpTrial
from tiepoint.images.geo import Geo
from tiepoint.options import Registration as Options
from tiepoint.options import override, plain
from tiepoint.parsed import MAX_TEXT_BYTES, read_json
from tiepoint.registration.verdict import Evidence
from tiepoint.version import __version__

DTYPES = ("bool", "uint8", "int32", "int64", "float32", "float64")  # of the arrays of a registration
MAX_SIDE_PX = 1 << 24  # of an image that was registered
FORMAT, FORMAT_VERSION = "tiepoint registration", 1
KINDS = {kind.__name__: kind for kind in (ViewInfo, Geo, Evidence, WarpTrial, Pose, Agreement, *WARPS.values())}


def write_fields(path: str | Path, values: Mapping[str, Any]) -> None:
    """Write the fields of a registration, atomically, with the version of tiepoint and the names of all its options."""
    held = {name: _encode(plain(value) if name == "options" else value) for name, value in values.items()}
    content = {"format": FORMAT, "version": FORMAT_VERSION, "tiepoint": __version__, "registration": held}
    write_text(path, json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n")


def read_fields(path: str | Path, names: set[str]) -> dict[str, Any]:
    """Read the fields of a registration, whose names must be `names`.

    Raises InputError for a file that is missing, damaged or no saved registration, or one of another version of the
    format or of the options.
    """
    remedy = "give a file that Registration.save wrote"
    if not Path(path).is_file():
        raise InputError(f"{path}: No such file or directory: {remedy}")
    try:
        content: Any = read_json(path, Any, remedy, MAX_TEXT_BYTES)
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise InputError(f"{path}: is damaged or no saved registration ({reason})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: is damaged or no saved registration: give a file that Registration.save wrote")
    version, saver = content.get("version"), content.get("tiepoint")
    if version != FORMAT_VERSION:
        other = f"is of version {version} of the format, and this tiepoint reads version {FORMAT_VERSION}"
        raise InputError(f"{path}: {other}: register again, or load it with tiepoint {saver}")
    try:
        # Files that were saved before windows were kept hold no agreement.
        values = {"agreement": None} | {name: _decode(value) for name, value in content["registration"].items()}
        if values.keys() != names:
            raise ValueError
        given, known = values["options"], plain(Options())
        if different := sorted(given.keys() ^ known.keys()):
            names_differ = f"{', '.join(different)} {'differs' if len(different) == 1 else 'differ'}"
            other = f"was made with the options of another version, tiepoint {saver} ({names_differ})"
            raise InputError(f"{path}: {other}: register again, or load it with that version")
        values["options"] = override(Options(), given)
        return values
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError) as error:
        raise InputError(f"{path}: is a damaged registration ({type(error).__name__}): save it again") from None


def check_shapes(found: Any, path: str | Path) -> None:
    """Raise InputError for a registration read from `path` whose arrays do not fit each other, or are not finite."""
    total, tied = len(found.points), int(found.inliers.sum())
    shapes = {"matrix": (3, 3), "matches": (len(found.matches), 4), "points": (total, 4), "scores": (total,)}
    shapes |= {"inliers": (total,), "residuals": (tied,), "probabilities": (tied,)}
    wrong = [n for n, s in shapes.items() if (a := getattr(found, n)) is not None and a.shape != s]
    wrong += [n for n in ("matrix", "points") if (a := getattr(found, n)) is not None and not np.isfinite(a).all()]
    wrong += ["size" for view in (found.a, found.b) if not all(1 <= side <= MAX_SIDE_PX for side in view.size)]
    try:
        if found.warp is not None and not wrong:
            found.warp.map(found.points[:, :2])
    except (ValueError, IndexError, TypeError):
        wrong.append("warp")
    if wrong or (found.accepted and found.matrix is None):
        raise InputError(f"{path}: is a damaged registration ({(wrong or ['matrix'])[0]}): save it again")


def _encode(value: Any) -> Any:
    """A value as JSON has it: objects name their class, arrays keep type and shape, tuples become lists."""
    if isinstance(value, np.ndarray):
        return {"array": value.dtype.name, "shape": value.shape, "values": [_encode(v) for v in value.ravel().tolist()]}
    if isinstance(value, np.generic):
        return _encode(value.item())
    if isinstance(value, Pose):
        return {"object": "Pose", **_encode(value._asdict())}
    if is_dataclass(value):
        return {"object": type(value).__name__, **{f.name: _encode(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, dict):
        return {name: _encode(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(v) for v in value]
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(v) for v in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        if value["array"] not in DTYPES:  # others, such as text of any width, would fill the memory
            raise ValueError
        return np.array(_decode(value["values"]), dtype=value["array"]).reshape(value["shape"])
    if "path" in value:
        return Path(value["path"])
    if "float" in value:
        return float(value["float"])
    decoded = {name: _decode(v) for name, v in value.items()}
    return KINDS[decoded.pop("object")](**decoded) if "object" in decoded else decoded
