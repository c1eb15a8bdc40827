"""Weights of relaters as their authors' code writes them: KGL-Net's two files, and Keras's files of RRL-Net's peers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from keras_files import weights_of, write
from rrlnet_weights import draw
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.models.load import load, load_relater
from tiepoint.nets.checkpoints import load_file
from tiepoint.nets.relation import deploy
from tiepoint.nets.released import HALVES

pytestmark = pytest.mark.usefixtures("quick_weights")
GOLDEN = Path(__file__).parents[1] / "golden"
CLASSES = {"conv1d": nn.Conv1d, "conv2d": nn.Conv2d, "dense": nn.Linear, "batch_normalization": nn.BatchNorm2d}


def shaken(name: str) -> nn.Module:
    """A network whose every weight and statistic matters."""
    torch.manual_seed(0)
    net = nets.create(name).eval()
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.is_floating_point() and value.ndim < 2:
                value.add_(0.1 * torch.randn_like(value))
    return net


def logits(net: nn.Module) -> Tensor:
    torch.manual_seed(1)
    with torch.inference_mode():
        return net(torch.rand(3, 1, 64, 64), torch.rand(3, 1, 64, 64))


# KGL-Net


def released_kglnet(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The features' and the metric network's state dicts of the released code, the keys by hand."""
    low = [(1, 5), (2, 4), (3, 3), (4, 4)]  # layers, and modules in each
    high = [(5, 3), (6, 4), (7, 3), (8, 4)]
    sides = {"low.vis": ("com1", low), "low.nir": ("com2", low), "descriptor.common": ("com1", high),
             "private.vis": ("dif1", high), "private.nir": ("dif2", high)}  # fmt: skip
    names = {"descriptor.tail": "layer9_com1", "metric.0": "dif_conv", "metric.1.dense": "metric_net"}
    for ours, (mark, layers) in sides.items():
        places = [f"layer{layer}_{mark}.{k}" for layer, count in layers for k in range(count)]
        names |= {f"{ours}.{index}": place for index, place in enumerate(places)}
    features, metric = {}, {}
    for key, value in state.items():
        module = max((name for name in names if key.startswith(f"{name}.")), key=len)
        released = names[module] + key.removeprefix(module).replace("convolution", "conv.0")
        (metric if released.startswith(("dif_conv", "metric_net")) else features)[released] = value
    for part in (features, metric):
        part |= {key.replace(".weight", ".eps"): torch.tensor([1e-6]) for key in part if key.endswith(".weight")
                 and part[key].ndim == 4 and part[key].shape[0] == 1 and key.replace(".weight", ".bias") in part
                 and part[key.replace(".weight", ".bias")].ndim == 4}  # fmt: skip
    return features, metric


@pytest.mark.parametrize(("one", "other"), HALVES.items())
def test_kglnets_two_files_load_from_either(one: str, other: str, tmp_path: Path) -> None:
    net = shaken("kglnet")
    features, metric = released_kglnet(net.state_dict())
    assert len([key for key in features if key.endswith(".eps")]) == 2 * 5 + 3 * 4
    first, second = (metric, features) if one == "net-best-metric.pth" else (features, metric)
    torch.save(first, tmp_path / one)
    torch.save(second, tmp_path / other)
    for name in (one, other):
        network, back = load_file(tmp_path / name)
        assert network == "kglnet"
        assert torch.equal(logits(back), logits(net))
        relater = load_relater(tmp_path / name)
        assert relater.spectra == ("vis", "nir")
    torch.save(dict(sorted({**features, **metric}.items())), tmp_path / "both.pth")
    assert torch.equal(logits(load_file(tmp_path / "both.pth")[1]), logits(net))


def test_half_of_kglnet_names_what_is_missing(tmp_path: Path) -> None:
    features, metric = released_kglnet(shaken("kglnet").state_dict())
    for half, state in (("metric network", features), ("features", metric)):
        torch.save(state, tmp_path / "alone.pth")
        with pytest.raises(InputError, match=rf"alone\.pth: lacks KGL-Net's {half}: put both files .*net-best-metric"):
            load(tmp_path / "alone.pth")
    del features["layer6_com1.2.tau"]
    torch.save({**features, **metric}, tmp_path / "both.pth")
    with pytest.raises(InputError, match=r"both\.pth: no weights of kglnet: descriptor\.common\.\d+\.\w+ "):
        load(tmp_path / "both.pth")


# Keras


def golden_layers(pruned: bool) -> list[tuple[str, dict[str, np.ndarray]]]:
    """The layers of the released RRL-Net with the weights of the golden numbers, as its script numbers them.

    Layers of the second network have "_2" behind their names. Keras lists layers by depth, so the order is mixed.
    """
    manifest = json.loads((GOLDEN / "rrlnet_manifest.json").read_text(encoding="utf-8"))
    kept = ("fil.", "trunk.", "stage_head.5", "vis.encoder", "nir.encoder")
    counts = dict.fromkeys(CLASSES, 0)
    layers: dict[str, dict[str, np.ndarray]] = {}
    names: dict[str, str] = {}
    for weight in manifest:
        name, kind, shape = weight["name"], weight["kind"], tuple(weight["shape"])
        if name not in names:
            form = {4: "conv2d", 3: "conv1d", 2: "dense"}.get(len(shape), "batch_normalization")
            counts[form] += 1
            names[name] = f"{form}_{counts[form]}" + ("_2" if name.startswith("nir.") else "")
        if not pruned or name.startswith(kept):
            keras = {"mean": "moving_mean", "var": "moving_variance"}.get(kind, kind)
            layers.setdefault(names[name], {})[keras] = draw(name, kind, shape).numpy()
    mixed = sorted(layers, key=lambda layer: layer[::-1])
    return [("input_1", {}), *((layer, layers[layer]) for layer in mixed), ("leaky_re_lu_1", {})]


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_rrlnet_of_keras_gives_the_golden_numbers(whole: bool, pruned: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "match_model_best.hdf5", golden_layers(pruned), whole=whole)
    network, net = load_file(path)
    assert network == "rrlnet"
    with np.load(GOLDEN / "rrlnet.npz") as arrays:
        vis, nir = (torch.from_numpy(arrays[name]).unsqueeze(1) for name in ("vis", "nir"))
        expected = torch.from_numpy(arrays["pruned"])
    with torch.inference_mode():
        torch.testing.assert_close(net(vis, nir).sigmoid(), expected, rtol=0, atol=1e-6)
    if whole:
        torch.testing.assert_close(load_relater(path).probabilities(vis, nir), expected, rtol=0, atol=1e-5)


def in_order(net: nn.Module, *parts: str, last: tuple[str, ...] = ()) -> Iterator[nn.Module]:
    """Modules without children below some paths; children named in `last` come behind their siblings."""
    for part in parts:
        for name, child in sorted(net.get_submodule(part).named_children(), key=lambda c: c[0] in last):
            path = f"{part}.{name}"
            yield from in_order(net, path, last=last) if list(child.children()) else (child,)
        if not list(net.get_submodule(part).children()):
            yield net.get_submodule(part)


def fils() -> list[str]:
    parts = ("value_vis", "gate_vis", "value_nir", "gate_nir")
    return [f"interaction.fils.{k}.{part}" for k in range(5) for part in parts]


ORDERS = {
    "filnet": ["features.vis", "features.nir", *fils(), "interaction.aggregation",
               *(f"interaction.module_heads.{k}" for k in (3, 4, 5)),
               *(f"interaction.stage_heads.{k}" for k in (3, 4)), "interaction.head"],
    "efrnet": ["for_difference.vis", "for_difference.nir", "for_product.vis", "for_product.nir", "difference",
               "product", "both", "relation_heads.difference", "relation_heads.product", "head"],
    "scfdm": ["trunk", "head"],
}  # fmt: skip


def peer_layers(name: str, net: nn.Module) -> list[tuple[str, dict[str, np.ndarray]]]:
    """The layers of a peer in the order in which its released script makes them."""
    counts = dict.fromkeys(CLASSES, 0)
    layers = []
    for module in in_order(net, *ORDERS[name], last=("over_channels",)):
        for kind, form in CLASSES.items():
            if isinstance(module, form):
                counts[kind] += 1
                layers.append((f"{kind}_{counts[kind]}", weights_of(module)))
    if name == "scfdm":  # its first dense layer sees a map of 4x4, flattened with the channels last
        dense = next(weights for layer, weights in layers if layer == "dense_1")
        dense["kernel"] = dense["kernel"].reshape(256, 4, 4, -1).transpose(1, 2, 0, 3).reshape(4096, -1)
    return layers


@pytest.mark.parametrize("name", ORDERS)
def test_peers_of_rrlnet_load(name: str, tmp_path: Path) -> None:
    net = shaken(name)
    network, back = load_file(write(tmp_path / "match_model_best.hdf5", peer_layers(name, net)))
    assert network == name
    assert torch.equal(logits(back), logits(net))


def test_afdnet_names_its_layers(tmp_path: Path) -> None:
    net = shaken("afdnet")
    layers, counts = [], dict.fromkeys(CLASSES, 0)
    short = {"conv": nn.Conv2d, "bn": nn.BatchNorm2d}
    for side, mark in (("vis", ""), ("nir", "_2")):
        found = dict.fromkeys([*short, "in"], 0)
        for module in in_order(net, f"features.{side}"):
            kind = next((k for k, form in short.items() if isinstance(module, form)), "in")
            if list(module.parameters()):
                found[kind] += 1
                layers.append((f"{kind}{found[kind]}{mark}", weights_of(module)))
        assert found == {"conv": 8, "bn": 8, "in": 2}
    for module in in_order(net, "stages", "head", "auxiliary_heads"):
        for kind, form in CLASSES.items():
            if isinstance(module, form):
                counts[kind] += 1
                layers.append((f"{kind}_{counts[kind]}", weights_of(module)))
    network, back = load_file(write(tmp_path / "a.h5", layers[::-1]))
    assert network == "afdnet"
    assert torch.equal(logits(back), logits(net))


def test_a_pruned_peer_loads(tmp_path: Path) -> None:
    net = deploy(shaken("efrnet"))
    layers = [
        layer
        for layer in peer_layers("efrnet", shaken("efrnet"))
        if layer[0] not in {f"dense_{k}" for k in range(1, 7)}
    ]
    assert torch.equal(logits(load_file(write(tmp_path / "a.h5", layers))[1]), logits(net))


def test_other_files_of_keras_are_refused(tmp_path: Path) -> None:
    layers = peer_layers("scfdm", shaken("scfdm"))
    write(tmp_path / "few.h5", layers[:4])
    layers[0][1]["kernel"] = layers[0][1]["kernel"][:, :, :, :3]
    write(tmp_path / "narrow.h5", layers)
    (tmp_path / "text.h5").write_text("no weights")
    for name, words in (
        ("few.h5", r"no network that is known \(2 conv2d, 2 batch_normalization\): give weights of rrlnet, "),
        ("narrow.h5", "no network that is known .*released code writes them, or convert"),
        ("text.h5", "no weights written by Keras 2"),
        ("missing.h5", "no weights written by Keras 2"),
    ):
        with pytest.raises(InputError, match=rf"{name.replace('.', '[.]')}: .*{words}") as caught:
            load(tmp_path / name)
        assert "\n" not in str(caught.value)
