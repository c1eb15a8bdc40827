"""Checkpoints of other projects, brought to the layout of our networks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.files import read_plain
from tiepoint.nets.blocks.layers import FRN
from tiepoint.nets.released import COMPANIONS, kglnet_state, load_keras

WRAPPERS = ("model_state_dict", "state_dict", "model", "module", "net", "network", "weights", "params")
# A key by which each layout is known. Authors' and kornia's files share their layouts, and ours keep them.
MARKS = {
    "sdgmnet": "layer7.1.weight",
    "sosnet": "layers.20.weight",
    "hardnet8": "features.22.weight",
    "hardnet": "features.19.weight",
    "hardnet-ps": "features.18.weight",
    "tfeat": "descr.0.weight",
    "l2net-cs": "whole.features.19.weight",
    "matchnet": "conv4.weight",
    "kglnet": "private.vis.0.weight",
}
KGLNET_MARKS = ("layer1_com1.0.weight", "dif_conv.0.weight")  # of the two files of its release
KERAS_FILES = (".h5", ".hdf5")


def load_file(path: Path) -> tuple[str, nn.Module]:
    """Load the network of a torch checkpoint, see `load_checkpoint`, or of Keras's weights, see `load_keras`.

    KGL-Net's release is two files: the other one is looked for beside the one that is given.
    """
    if path.suffix in KERAS_FILES:
        return load_keras(path)
    state = read_torch(path)
    other = path.with_name(COMPANIONS.get(path.name, path.name))
    if other != path and other.is_file():
        state |= read_torch(other)
    return load_checkpoint(state, str(path))


def read_torch(path: str | Path) -> dict[str, Tensor]:
    """Read a torch file's state dict, unwrapped. Raises InputError if it holds none."""
    content = read_plain(path)
    if isinstance(content, Mapping):
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    items = list(content.items()) if isinstance(content, Mapping) else []
    if not items or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in items):
        raise InputError(f"{path}: holds no state dict")
    return dict(items)


def load_checkpoint(state: Mapping[str, Tensor], name: str = "checkpoint") -> tuple[str, nn.Module]:
    """Find the network that `state` belongs to and load it, whatever its precision; `name` is for errors.

    Understood are our own layouts, which are those of the released HardNet, HardNet-PS, SOSNet, TFeat, HyNet and
    SDGMNet and of kornia's HardNet, HardNet8, SOSNet, TFeat and HyNet, and the released KGL-Net. HyNet cannot be told
    from SDGMNet and counts as it; L2-Net counts as HardNet. Keys may stand below others, see `below_prefix`.

    Returns the network's name and the network, in evaluation mode. Raises InputError that names the first key that is
    missing, left over or of another shape.
    """
    mark, state = below_prefix(state, (*MARKS.values(), *KGLNET_MARKS), name)
    if mark in KGLNET_MARKS:
        mark, state = MARKS["kglnet"], kglnet_state(state, name)
    network = next((network for network, its in MARKS.items() if its == mark), None)
    if network is None:
        raise InputError(
            f"{name}: no weights of a network that is known (its first key is {next(iter(state), 'missing')}): give "
            f"weights of {', '.join(MARKS)}, or add the network to tiepoint.nets"
        )
    with torch.device("meta"):  # no time on fresh weights
        net = nets.create(network, **_options(network, state))
    net.load_state_dict(_fitted(net, state, f"{name}: no weights of {network}"), assign=True)
    return network, net.eval()


def below_prefix(state: Mapping[str, Tensor], marks: Sequence[str], name: str) -> tuple[str | None, dict[str, Tensor]]:
    """The mark that stands in `state` after the shortest prefix, and what stands below that prefix, without it.

    Prefixes are `module.` of DDP, `_orig_mod.` of torch.compile, and the attribute that held the network in a
    LightningModule or another one. Keys beside them, such as those of a loss, are left out. Without a mark the state
    stays as it is. Raises InputError, which calls the file `name`, for several networks of one kind.
    """
    state = {key.replace("_orig_mod.", ""): value for key, value in state.items()}  # of a part that was compiled too
    found = [(key.removesuffix(mark), mark) for mark in marks for key in state if f".{key}".endswith(f".{mark}")]
    if not found:
        return None, state
    prefix, mark = min(found, key=lambda pair: len(pair[0]))
    if other := next((p for p, m in found if m == mark and not p.startswith(prefix)), None):
        raise InputError(f"{name}: holds the networks {prefix} and {other}: save one of them alone")
    return mark, {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _options(network: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Options of a network that show in its weights."""
    if network == "sdgmnet":  # the released training code has a switch that leaves the biases out
        return {"bias": any(f"layer{k}.0.bias" in state for k in range(2, 7))}
    if network == "hardnet8" and "components" in state:
        return {"projection": state["components"].shape[-1]}
    if network == "matchnet" and "bottleneck.weight" in state:
        return {"bottleneck": len(state["bottleneck.weight"])}
    return {}


def _fitted(net: nn.Module, state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """A copy of `state` with the keys and types of `net`, in which batch counters may be missing.

    The FRN of other projects keeps eps as a buffer; SDGMNet's release lists every layer a second time as `features.*`.
    """
    twice = "features." if MARKS["sdgmnet"] in state else "\0"
    state = {key: value for key, value in state.items() if not key.startswith(twice)}
    for key, module in net.named_modules():
        if isinstance(module, FRN) and f"{key}.eps" in state and state[f"{key}.eps"].numel() == 1:
            module.eps = float(state.pop(f"{key}.eps"))
    own = net.state_dict()
    counters = {key: torch.tensor(0) for key in own if key.endswith("num_batches_tracked")}
    state = {**counters, **state}
    for key, value in own.items():
        if key not in state:
            raise InputError(f"{name}: {key} is missing")
        if value.shape != state[key].shape:
            raise InputError(f"{name}: {key} has the shape {tuple(state[key].shape)}, not {tuple(value.shape)}")
    if left := [key for key in state if key not in own]:
        raise InputError(f"{name}: {left[0]} is left over")
    return {key: state[key].to(value.dtype, copy=True) for key, value in own.items()}
