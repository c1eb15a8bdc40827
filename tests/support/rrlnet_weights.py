"""The weights with which the released RRL-Net computed tests/data/rrlnet.npz: drawn from each weight's name."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor, nn

from tiepoint.nets.relational.rrlnet import RRLNet

NORM_KINDS = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "var"}


def fill(net: RRLNet) -> None:
    """Give every weight and statistic of `net` the value that the release's had."""
    with torch.no_grad():
        for path, module in net.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                for own, kind in NORM_KINDS.items():
                    value = getattr(module, own)
                    value.copy_(draw(f"{released_name(path)}.bn", kind, tuple(value.shape)))
            elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                name = released_name(path)
                # kernels of the release are ..., in, out
                axes = (*range(2, module.weight.ndim), 1, 0)
                kernel = draw(name, "kernel", tuple(module.weight.shape[axis] for axis in axes))
                module.weight.copy_(kernel.permute(*np.argsort(axes).tolist()))
                module.bias.copy_(draw(name, "bias", tuple(module.bias.shape)))


def draw(name: str, kind: str, shape: tuple[int, ...]) -> Tensor:
    rng = np.random.default_rng(zlib.crc32(f"{name}.{kind}".encode()))
    if kind == "gamma":
        if ".encoder." in name or ".decoder." in name:
            values = rng.uniform(7, 9, shape)
        elif "trunk" in name or "head" in name:
            values = rng.uniform(0.3, 0.7, shape)
        else:
            values = rng.uniform(0.8, 1.4, shape)
    elif kind == "var":
        values = rng.uniform(0.5, 1.5, shape)
    else:
        gain = 1.2 if ".fc." in name else 2.0
        scale = {"kernel": np.sqrt(gain / np.prod(shape[:-1])), "bias": 0.05, "beta": 0.1, "mean": 0.1}[kind]
        values = rng.standard_normal(shape) * scale
    return torch.from_numpy(values.astype(np.float32))


def released_name(path: str) -> str:
    """Name in the release of a convolution or dense layer, or of the convolution before a batch norm."""
    match path.removeprefix("interaction.").split("."):
        case ["encoders", spectrum, "stages", stage, "0", _]:
            return f"{spectrum}.encoder.{int(stage) + 1}"
        case ["encoders", spectrum, "stages", stage, _, over, "0"]:
            return f"{spectrum}.encoder.{int(stage) + 1}.mgla.{DIMENSIONS[over]}"
        case ["decoders", spectrum, "stages", stage, "0", _]:
            return f"{spectrum}.decoder.{int(stage) + 1}"
        case ["decoders", spectrum, "stages", stage, _, over, "0"]:
            return f"{spectrum}.decoder.{int(stage) + 1}.mgla.{DIMENSIONS[over]}"
        case ["decoders", spectrum, "last"]:
            return f"{spectrum}.decoder.5"
        case ["fils", stage, part, _]:
            return f"fil.{int(stage) + 1}.{part}"
        case ["aggregation", "stages", stage, index, _]:
            return f"trunk.{int(stage) + 1}.{index}"
        case ["head", "dense", index]:
            return f"stage_head.5.fc.{int(index) // 2}"
        case ["stage_heads", stage, "dense", index]:
            return f"stage_head.{stage}.fc.{int(index) // 2}"
        case ["module_heads", stage, "convolutions", index, _]:
            return f"module_head.{stage}.conv.{index}"
        case ["module_heads", stage, "head", "dense", index]:
            return f"module_head.{stage}.fc.{int(index) // 2}"
    raise AssertionError(path)


DIMENSIONS = {"over_channels": "C", "over_height": "H", "over_width": "W"}
