"""Learned matching of image patches, within one spectrum and across spectra, and the tie points it yields.

The names below are imported when they are first used, so that `import tiepoint` loads neither torch nor numpy.
"""

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
# Public name: the module that has it. The other names are modules themselves.
_HOMES = {
    "Features": "features.describe", "InputError": "errors", "Matches": "matching.match", "PatchSet": "patches",
    "Registration": "registration.result", "describe": "features.describe", "load": "models.load",
    "load_describer": "models.load", "load_relater": "models.load", "match": "matching.match",
    "register": "registration.register", "register_many": "batch.batch",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tiepoint' has no attribute {name!r}")
    module = importlib.import_module(f"tiepoint.{_HOMES.get(name, name)}")
    return getattr(module, name) if name in _HOMES else module


def __dir__() -> list[str]:
    return __all__
