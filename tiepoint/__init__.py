"""Learned matching of image patches, within one spectrum and across spectra, and the tie points it yields.

The names below are imported when first used, so `import tiepoint` loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiepoint.imaging.describe import describe
    from tiepoint.imaging.match import match
    from tiepoint.imaging.register import register
    from tiepoint.models import load
    from tiepoint.patches import PatchSet

__version__ = "0.1.0"
__all__ = ["PatchSet", "__version__", "describe", "load", "match", "register"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from tiepoint.models import load

        return load
    if name == "describe":
        from tiepoint.imaging.describe import describe

        return describe
    if name == "match":
        from tiepoint.imaging.match import match

        return match
    if name == "register":
        from tiepoint.imaging.register import register

        return register
    if name == "PatchSet":
        from tiepoint.patches import PatchSet

        return PatchSet
    if name in ("nets", "losses", "evaluation"):
        import importlib

        return importlib.import_module(f"tiepoint.{name}")
    raise AttributeError(f"module 'tiepoint' has no attribute {name!r}")
