"""Networks by name: a plain dict is the registry."""

from __future__ import annotations

from typing import Any

from torch import nn

from tiepoint.errors import InputError
from tiepoint.nets.sdgmnet import SDGMNet

NETS: dict[str, type[nn.Module]] = {"sdgmnet": SDGMNet}


def names() -> list[str]:
    """Names that `create` takes."""
    return sorted(NETS)


def create(name: str, **options: Any) -> nn.Module:
    """Make a network with fresh weights. Raises InputError for a name or an option that is not there."""
    if name not in NETS:
        raise InputError(f"no network {name!r}: there are {', '.join(names())}")
    try:
        return NETS[name](**options)
    except TypeError as error:
        raise InputError(f"network {name}: {error}") from None
