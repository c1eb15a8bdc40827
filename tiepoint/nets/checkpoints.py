"""State dicts of other projects, brought to the layout of our networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tiepoint.errors import InputError
from tiepoint.nets.layers import FRN

WRAPPERS = ("model_state_dict", "state_dict", "model")


def read_torch(path: str | Path) -> dict[str, Tensor]:
    """Read a torch file's state dict, unwrapped and without `module.` prefixes. Raises InputError, see `read_plain`."""
    return unwrap(read_plain(path), str(path))


def read_plain(path: str | Path) -> Any:
    """Read a torch file with `weights_only`. Raises InputError for one that is damaged or holds more than weights."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # bytes that are no checkpoint raise anything, IndexError and KeyError among them
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: damaged, or no torch file of plain weights ({reason})") from None


def unwrap(content: Any, name: str) -> dict[str, Tensor]:
    """Find the state dict in a checkpoint's content."""
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if (
        not isinstance(content, Mapping)
        or not all(isinstance(value, Tensor) for value in content.values())
        or not content
    ):
        raise InputError(f"{name}: holds no state dict")
    return {key.removeprefix("module."): value for key, value in content.items()}


def load_hynet_layout(net: nn.Module, state: Mapping[str, Tensor], name: str = "checkpoint") -> None:
    """Load a released SDGMNet, HyNet or kornia HyNet state dict, whatever its precision.

    Their FRN keeps eps as a buffer, which here is a number of the layer; SDGMNet's file lists every layer a second
    time as `features.*`. Raises InputError that names the first key that is missing, left over or of another shape.
    """
    state = {key: value for key, value in state.items() if not key.startswith("features.")}
    for key, module in net.named_modules():
        if isinstance(module, FRN) and f"{key}.eps" in state:
            module.eps = float(state[f"{key}.eps"])
    own = net.state_dict()
    state = {key: value.to(torch.float32) for key, value in state.items() if not key.endswith(".eps")}
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    state = {**counters, **state}
    wrong = sorted(own.keys() ^ state.keys()) or [key for key in own if own[key].shape != state[key].shape]
    if wrong:
        raise InputError(f"{name}: no weights of this network: {wrong[0]} is missing, left over or of another shape")
    net.load_state_dict(state)
