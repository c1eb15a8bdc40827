"""Released weights of relaters, brought to the layout of our networks: KGL-Net's, and those that Keras wrote."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.errors import InputError, reason
from tiepoint.nets.relation import deploy
from tiepoint.nets.relational.afdnet import JointNorm
from tiepoint.parsed import read_array

# KGL-Net's training script writes its features and its metric network to files of their own.
HALVES = {"net-best-metric.pth": "net-best-metric-corr-desc.pth", "net-best-desc.pth": "net-best-desc-corr-metric.pth"}
COMPANIONS = HALVES | {second: first for first, second in HALVES.items()}
# Our submodules of KGL-Net and the released ones that make them up.
KGLNET = {
    "low.vis": [f"layer{k}_com1" for k in range(1, 5)],
    "low.nir": [f"layer{k}_com2" for k in range(1, 5)],
    "descriptor.common": [f"layer{k}_com1" for k in range(5, 9)],
    "descriptor.tail": ["layer9_com1"],
    "private.vis": [f"layer{k}_dif1" for k in range(5, 9)],
    "private.nir": [f"layer{k}_dif2" for k in range(5, 9)],
    "metric": ["dif_conv", "metric_net"],
}
KINDS: dict[str, type[nn.Module]] = {
    "conv1d": nn.Conv1d,
    "conv2d": nn.Conv2d,
    "dense": nn.Linear,
    "batch_normalization": nn.BatchNorm2d,
    "instance_normalization": JointNorm,
}
SHORT = {"conv": "conv2d", "bn": "batch_normalization", "in": "instance_normalization"}  # AFD-Net names its layers
LAYER = re.compile(r"(conv[12]d|dense|batch_normalization|conv|bn|in)_?(\d*)(_\d)?")
WEIGHTS = {
    "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip
_HEADS = [f"interaction.module_heads.{k}" for k in (3, 4, 5)] + [f"interaction.stage_heads.{k}" for k in (3, 4)]
_INTERACTION = ["interaction.fils", "interaction.aggregation", *_HEADS, "interaction.head"]
# Our submodules in the order in which the released scripts make their layers; Keras numbers these.
KERAS = {
    "rrlnet": ["encoders.vis", "decoders.vis", "encoders.nir", "decoders.nir", *_INTERACTION],
    "filnet": ["features.vis", "features.nir", *_INTERACTION],
    "efrnet": [
        *("for_difference.vis", "for_difference.nir", "for_product.vis", "for_product.nir"),
        *("difference", "product", "both", "relation_heads", "head"),
    ],
    "afdnet": ["features.vis", "features.nir", "stages", "head", "auxiliary_heads"],
    "scfdm": ["trunk", "head"],
}
# Children that the scripts make in another order than ours, of the feature interaction and of EFR-Net's attention.
CHILDREN = {name: ["value_vis", "gate_vis", "value_nir", "gate_nir"] for name in ("rrlnet", "filnet")}
CHILDREN["efrnet"] = ["over_height", "over_width", "over_channels"]
FLATTENED = ("scfdm", "head.1")  # the dense layer that takes a map of 4x4


def kglnet_state(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Give KGL-Net's state dict the keys of ours, by the layers' order. Raises InputError where a half is missing."""
    halves = {"features": "layer1_com1.0.weight" in state, "metric network": "dif_conv.0.weight" in state}
    for half, present in halves.items():
        if not present:
            pairs = " or ".join(f"{a} and {b}" for a, b in HALVES.items())
            raise InputError(f"{name}: lacks KGL-Net's {half}: put both files side by side as released, {pairs}")
    with torch.device("meta"):
        own = nets.create("kglnet").state_dict()
    layers: dict[str, str] = {}
    for ours, theirs in KGLNET.items():
        layers |= zip(_layers(state, theirs), _layers(own, [ours]), strict=False)
    parted = ((*key.rpartition(".")[::2], value) for key, value in state.items())
    return {f"{layers[layer]}.{leaf}": value for layer, leaf, value in parted if layer in layers}


def _layers(keys: Iterable[str], prefixes: Sequence[str]) -> list[str]:
    """Paths of the modules below each prefix in turn that hold tensors, in their order."""
    paths = {key.rpartition(".")[0] for key in keys}
    return [path for p in prefixes for path in sorted((x for x in paths if x.startswith(f"{p}.")), key=_natural)]


def load_keras(path: Path) -> tuple[str, nn.Module]:
    """Load a relater from the .h5 or .hdf5 file that Keras 2 wrote, of a whole model or of its weights, without Keras.

    Understood are RRL-Net, FIL-Net, EFR-Net, AFD-Net and SCFDM as the code released with RRL-Net makes them, whole or,
    as RRL-Net's `match_model_best_test.hdf5`, pruned. Layers are matched by their kind and number; that the numbers
    follow the order of the released script is established from that code, that a file holds no other network of equal
    shapes is assumed. Returns the network's name and the network, in evaluation mode. Raises InputError for another
    file or network.
    """
    layers = read_keras(path)
    for network in KERAS:
        with torch.device("meta"):
            whole = nets.create(network)
            candidates = [whole, deploy(whole)]
        for net in candidates:
            state = _keras_state(layers, network, net)
            if state is not None:
                net.load_state_dict(state, assign=True)
                return network, net.eval()
    counts = ", ".join(f"{len(layers[kind])} {kind}" for kind in KINDS if layers[kind])
    raise InputError(
        f"{path}: Keras weights of no network that is known ({counts or 'no layers'}): give weights of "
        f"{', '.join(KERAS)} as their released code writes them, or convert the weights to PyTorch"
    )


def read_keras(path: Path) -> dict[str, list[dict[str, NDArray[Any]]]]:
    """Read the weights of each layer by kind, in the order of the layers' numbers. Raises InputError that names it.

    A file holds the names of its layers in the attribute `layer_names`, and each layer's group those of its weights in
    `weight_names`; long lists go on in `layer_names0`, `layer_names1` ... In a whole model, `model_weights` holds that.
    """
    import h5py

    found: dict[str, list[tuple[Any, dict[str, NDArray[Any]]]]] = {kind: [] for kind in KINDS}
    try:
        with h5py.File(path) as file:
            group = file.get("model_weights", file)
            for layer in _names(group, "layer_names"):
                weights, parsed = _names(group[layer], "weight_names"), LAYER.fullmatch(layer)
                if not weights or parsed is None:
                    continue
                kind, number, copy = parsed.groups()
                # Layers that the script names come first, those of the second network, which have a mark, after those
                # of the first; the numbers of all others, marked or not, are those of the whole script.
                order = (kind not in SHORT, copy or "" if kind in SHORT else "", int(number or 0))
                arrays = {w.split("/")[-1].split(":")[0]: read_array(group[layer][w], path) for w in weights}
                found[SHORT.get(kind, kind)].append((order, arrays))
    except InputError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: no weights written by Keras 2 ({reason(error)})") from None
    return {kind: [arrays for _, arrays in sorted(layers, key=itemgetter(0))] for kind, layers in found.items()}


def _names(group: Any, name: str) -> list[str]:
    """The text of a list attribute, which may go on in further ones."""
    if name in group.attrs:
        parts = [group.attrs[name]]
    else:
        parts = [group.attrs[f"{name}0"]]
        while f"{name}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{name}{len(parts)}"])
    return [text.decode() if isinstance(text, bytes) else str(text) for part in parts for text in part]


def _keras_state(layers: Mapping[str, Sequence[Mapping[str, NDArray[Any]]]], network: str, net: nn.Module) -> Any:
    """The state dict of `net` from Keras's layers; None where their counts or shapes are those of another network."""
    parts = dict(net.named_modules())
    order = CHILDREN.get(network, [])
    modules = [found for path in KERAS[network] if path in parts for found in _walk(path, parts[path], order)]
    state: dict[str, Tensor] = {}
    for kind, form in KINDS.items():
        own = [(path, module) for path, module in modules if isinstance(module, form)]
        if len(own) != len(layers[kind]):
            return None
        for (path, module), arrays in zip(own, layers[kind], strict=True):
            expected = module.state_dict()
            for name, array in arrays.items():
                tensor = torch.from_numpy(_arranged(array, (network, path) == FLATTENED)).float()
                value = expected.get(WEIGHTS.get(name, ""))
                if value is None or (value.shape != tensor.shape and not value.numel() == tensor.numel() == 1):
                    return None
                state[f"{path}.{WEIGHTS[name]}"] = tensor.reshape(value.shape)
    missing = net.state_dict().keys() - state.keys()
    counters = {key: torch.tensor(0) for key in missing if key.endswith("num_batches_tracked")}
    return None if missing - counters.keys() else state | counters


def _walk(path: str, module: nn.Module, order: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    """A module and all within it, in the order of the released scripts."""
    yield path, module
    children = module.named_children()
    for name, child in sorted(children, key=lambda c: order.index(c[0]) if c[0] in order else -1):
        yield from _walk(f"{path}.{name}", child, order)


def _arranged(array: NDArray[Any], flattened: bool) -> NDArray[Any]:
    """Keras's kernel (..., in, out) as PyTorch's (out, in, ...), `flattened` inputs channels first; vectors stay."""
    if flattened and array.ndim == 2:
        array = array.reshape(4, 4, -1, array.shape[1]).transpose(2, 0, 1, 3).reshape(array.shape)
    if array.ndim > 1:
        array = np.moveaxis(array, (-1, -2), (0, 1))
    return np.ascontiguousarray(array)


def _natural(path: str) -> list[tuple[int, str]]:
    """Sorts numbers in a path as numbers."""
    return [(int(part) if part.isdigit() else -1, part) for part in path.split(".")]
