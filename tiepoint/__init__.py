"""Learned matching of image patches, within one spectrum and across spectra, and the tie points it yields.

The names below are imported when they are first used, so that `import tiepoint` loads neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tiepoint.version import __version__

if TYPE_CHECKING:
    from tiepoint import evaluation, losses, nets, options
    from tiepoint.batch.batch import register_many
    from tiepoint.errors import InputError
    from tiepoint.features.describe import Features, describe
    from tiepoint.matching.match import Matches, match
    from tiepoint.models.load import load, load_describer, load_relater
    from tiepoint.patches import PatchSet
    from tiepoint.registration.register import register
    from tiepoint.registration.result import Registration

__all__ = [
    "Features", "InputError", "Matches", "PatchSet", "Registration", "__version__", "describe", "evaluation", "load",
    "load_describer", "load_relater", "losses", "match", "nets", "options", "register", "register_many",
]  # fmt: skip
# Public name: module, and the name there; None where the name is the module itself.
_HOMES: dict[str, tuple[str, str | None]] = {
    "Features": ("features.describe", "Features"),
    "InputError": ("errors", "InputError"),
    "Matches": ("matching.match", "Matches"),
    "PatchSet": ("patches", "PatchSet"),
    "Registration": ("registration.result", "Registration"),
    "describe": ("features.describe", "describe"),
    "evaluation": ("evaluation", None),
    "load": ("models.load", "load"),
    "load_describer": ("models.load", "load_describer"),
    "load_relater": ("models.load", "load_relater"),
    "losses": ("losses", None),
    "match": ("matching.match", "match"),
    "nets": ("nets", None),
    "options": ("options", None),
    "register": ("registration.register", "register"),
    "register_many": ("batch.batch", "register_many"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tiepoint' has no attribute {name!r}")
    home, inside = _HOMES[name]
    module = importlib.import_module(f"tiepoint.{home}")
    return module if inside is None else getattr(module, inside)


def __dir__() -> list[str]:
    return __all__
