"""The deployed RRL-Net in Keras, with weights from tiepoint, as a peer for `relate.py`, which runs this file.

    python benchmarks/relate_keras.py FOLDER --threads 2 --warm 2 --runs 7

It needs tensorflow and numpy, neither torch nor tiepoint, so it may run in an environment of its own. FOLDER holds
weights.npz (the state dict of the deployed network, by its keys) and patches.npz (vis and nir, (N, 64, 64) float32 in
0..1); scores-keras.npy is written beside them, probabilities (N,). The last line printed is a JSON list of pairs/s.

The graph is written from the paper's figure and the layer table of the released code: encoders of one convolution a
scale with MGLA, FIL modules, the aggregation and the head of stage 5. Like the release it is channels-last, keeps
batch norm as a layer of its own and is called by `predict` in batches of 64.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
import tensorflow as tf
from keras import layers, ops

WIDTHS, TRUNK = (16, 32, 64, 128, 256), (32, 64, 128, 256, 512)
BATCH = 64


class MGLA(layers.Layer):  # type: ignore[misc]
    """Multi-dimensional global-to-local attention on (N, H, W, C); `gates` are kernels (k, 1, 1) and biases (1,)."""

    def __init__(self, gates: dict[str, tuple[Any, Any]]) -> None:
        super().__init__()
        self.gates = {}
        for name, weights in gates.items():
            layer = layers.Conv1D(1, len(weights[0]), padding="same", activation="sigmoid")
            layer.build((None, None, 1))
            layer.set_weights(weights)
            self.gates[name] = layer

    def call(self, x: Any) -> Any:
        """Gate `x`."""
        _, height, width, channels = x.shape
        shapes = {
            "over_channels": (3, (1, 2), (1, 1, channels)),
            "over_height": (1, (2, 3), (height, 1, 1)),
            "over_width": (2, (1, 3), (1, width, 1)),
        }
        y = x
        for name, (axis, others, shape) in shapes.items():
            means = ops.mean(x, axis=axis, keepdims=True)
            shares = ops.softmax(ops.reshape(means, (-1, math.prod(means.shape[1:]))))
            salience = ops.reshape(shares, (-1, *means.shape[1:]))
            vector = ops.sum(x * salience, axis=others)
            y = y * ops.reshape(self.gates[name](ops.expand_dims(vector, -1)), (-1, *shape))
        return y


def build(state: dict[str, Any]) -> Any:
    """Build the graph with the weights of `state`: vis and nir (N, 64, 64, 1) in 0..1 -> match probability (N, 1)."""

    def conv(x: Any, path: str, activation: str = "leaky_relu") -> Any:
        kernel = state[f"{path}.0.weight"].transpose(2, 3, 1, 0)
        convolution = layers.Conv2D(kernel.shape[3], kernel.shape[:2], padding="same")
        norm = layers.BatchNormalization(epsilon=1e-3)
        x = norm(convolution(x))
        convolution.set_weights([kernel, state[f"{path}.0.bias"]])
        norm.set_weights([state[f"{path}.1.{name}"] for name in ("weight", "bias", "running_mean", "running_var")])
        return (
            layers.LeakyReLU(negative_slope=0.1)(x) if activation == "leaky_relu" else layers.Activation(activation)(x)
        )

    def dense(x: Any, path: str, activation: str) -> Any:
        kernel = state[f"{path}.weight"].T
        layer = layers.Dense(kernel.shape[1], activation=activation)
        x = layer(x)
        layer.set_weights([kernel, state[f"{path}.bias"]])
        return x

    def encode(x: Any, path: str) -> list[Any]:
        features = []
        for scale in range(len(WIDTHS)):
            stage = f"{path}.stages.{scale}"
            x = conv(x, f"{stage}.0")
            x = layers.MaxPooling2D()(x) if scale else x
            attention = f"{stage}.{2 if scale else 1}"
            gates = {}
            for name in ("over_channels", "over_height", "over_width"):
                kernel = state[f"{attention}.{name}.0.weight"].transpose(2, 1, 0)
                gates[name] = kernel, state[f"{attention}.{name}.0.bias"]
            x = MGLA(gates)(x)
            features.append(x)
        return features

    def private(vis: Any, nir: Any, path: str) -> list[Any]:
        value_vis, value_nir = conv(vis, f"{path}.value_vis"), conv(nir, f"{path}.value_nir")
        gate_vis, gate_nir = conv(vis, f"{path}.gate_vis", "sigmoid"), conv(nir, f"{path}.gate_nir", "sigmoid")
        return [ops.abs(value_vis * gate_nir - value_vis), ops.abs(value_nir * gate_vis - value_nir)]

    inputs = [keras.Input((64, 64, 1)) for _ in range(2)]
    vis, nir = (encode(x, f"encoders.{name}") for x, name in zip(inputs, ("vis", "nir"), strict=True))
    trunk: list[Any] = []
    for scale in range(len(TRUNK)):
        parts = trunk + private(vis[scale], nir[scale], f"interaction.fils.{scale}")
        x = layers.Concatenate()(parts)
        for index in range(2):
            x = conv(x, f"interaction.aggregation.stages.{scale}.{index}")
        trunk = [layers.MaxPooling2D()(x)]
    x = layers.GlobalAveragePooling2D()(x)
    for index, activation in ((0, "relu"), (2, "relu"), (4, "sigmoid")):
        x = dense(x, f"interaction.head.dense.{index}", activation)
    return keras.Model(inputs, x)


def main() -> None:
    """Time `predict` and write the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    with np.load(options.folder / "weights.npz") as arrays:
        model = build(dict(arrays))
    with np.load(options.folder / "patches.npz") as arrays:
        patches = [arrays[name][..., None] for name in ("vis", "nir")]
    rates = []
    scores = None
    for _ in range(options.warm + options.runs):
        began = time.perf_counter()
        scores = model.predict(patches, batch_size=BATCH, verbose=0)
        rates.append(len(scores) / (time.perf_counter() - began))
    np.save(options.folder / "scores-keras.npy", scores[:, 0])
    print(json.dumps(rates[options.warm :]))


if __name__ == "__main__":
    main()
