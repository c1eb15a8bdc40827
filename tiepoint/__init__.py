"""Learned matching of image patches, within one spectrum and across spectra, and the tie points it yields.

The names below are imported when first used, so `import tiepoint` loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiepoint.version import __version__

if TYPE_CHECKING:
    from tiepoint.features.describe import describe
    from tiepoint.matching.match import match
    from tiepoint.models.load import load
    from tiepoint.patches import PatchSet
    from tiepoint.registration.register import register

__all__ = ["PatchSet", "__version__", "describe", "load", "match", "register"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from tiepoint.models.load import load

        return load
    if name == "describe":
        from tiepoint.features.describe import describe

        return describe
    if name == "match":
        from tiepoint.matching.match import match

        return match
    if name == "register":
        from tiepoint.registration.register import register

        return register
    if name == "PatchSet":
        from tiepoint.patches import PatchSet

        return PatchSet
    if name in ("nets", "losses", "evaluation"):
        import importlib

        return importlib.import_module(f"tiepoint.{name}")
    raise AttributeError(f"module 'tiepoint' has no attribute {name!r}")
