"""Files of weights as Keras 2 writes them, made with h5py alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch import nn

CHUNK = 50  # names in an attribute, which HDF5 limits to 64 kB; Keras splits longer lists

Layers = Sequence[tuple[str, Mapping[str, np.ndarray]]]


def write(path: Path, layers: Layers, *, whole: bool = True) -> Path:
    """Write layers, (name, weights by name) each: as a whole model, or as weights alone."""
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if whole else file
        file.attrs["keras_version"] = np.bytes_("2.2.5")
        names = [name for name, _ in layers]
        if len(names) <= CHUNK:
            group.attrs["layer_names"] = [name.encode() for name in names]
        else:
            for k, start in enumerate(range(0, len(names), CHUNK)):
                group.attrs[f"layer_names{k}"] = [name.encode() for name in names[start : start + CHUNK]]
        for name, weights in layers:
            layer = group.create_group(name)
            own = [f"{name}/{weight}:0" for weight in weights]
            layer.attrs["weight_names"] = np.array([weight.encode() for weight in own], dtype="S")
            for weight, array in zip(own, weights.values(), strict=True):
                layer.create_dataset(weight, data=array)
    return path


def weights_of(module: Any) -> dict[str, np.ndarray]:
    """A layer's weights under Keras's names and in its layout."""
    arrays = {key: value.detach().numpy() for key, value in module.state_dict().items()}
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        kernel = arrays["weight"]  # out, in, ...
        return {"kernel": kernel.transpose(*range(2, kernel.ndim), 1, 0), "bias": arrays["bias"]}
    if isinstance(module, nn.BatchNorm2d):
        return {"gamma": arrays["weight"], "beta": arrays["bias"], "moving_mean": arrays["running_mean"],
                "moving_variance": arrays["running_var"]}  # fmt: skip
    return {"gamma": arrays["weight"].reshape(1), "beta": arrays["bias"].reshape(1)}  # over all channels
