"""Recipes: what a run does, typed. A YAML file holds one, the command line changes single keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tiepoint.data.augmentation import Augmentation


@dataclass(frozen=True)
class Loss:
    """The SDGM loss. Time constants are shares of the run, so that a short run has the shape of the published one."""

    alpha: float = 0.9
    """weight of the positives"""
    margin_probability: float = 0.6
    """share of the pairs that a normal distribution would cut"""
    memory: float = 0.005
    """time constant of the running statistics; the published momentum of 0.999 over 200,000 steps is 0.005"""
    initial_power: float = 9.765625
    """initial running power over the pairs of a batch; the published 10,000 for 1,024 pairs"""
    warm_up: float = 0.1
    """before this share of the run neither auto-focus nor margin acts"""
    guard_start: float = 0.125
    """from this share of the run on, negatives closer than guard_angle are passed over"""
    guard_angle: float = 0.6
    """radians"""
    angle: bool = True
    """measure by the included angle; off: by L2 distance"""
    auto_focus: bool = True
    """weigh pairs by how common their angle is"""
    margin: bool = True
    """cut pairs that have reached the optimum"""
    power: bool = True
    """balance positives and negatives by their running power"""


@dataclass(frozen=True)
class Optimizer:
    """How weights move."""

    name: Literal["sgd", "adam"] = "sgd"
    """sgd with momentum, or adam"""
    lr: float = 1.0
    """learning rate at the start"""
    momentum: float = 0.9
    """of sgd"""
    weight_decay: float = 1e-4
    """of all parameters"""
    schedule: Literal["halving", "linear", "cosine"] = "halving"
    """halving: ten equal stages, each at half the rate before, as published; linear and cosine fall to zero"""


@dataclass(frozen=True)
class Validation:
    """Held-out points, by which the weights are chosen."""

    fraction: float = 0.03
    """of the points"""
    every: float = 0.05
    """share of the run between two validations"""
    pairs: int = 2000
    """pairs at the most"""
    noise: Literal["none", "easy", "hard", "tough"] = "hard"
    """noise on the second patch's frame, without which the pairs are too easy to tell runs apart"""


@dataclass(frozen=True)
class Recipe:
    """A training run, to the last number."""

    data: str = ""
    """folder of the PatchSet"""
    network: str = "sdgmnet"
    """see tiepoint.nets.names()"""
    dropout: float = 0.3
    """before the last convolution"""
    steps: int | None = 200_000
    """optimiser steps; leave empty to use minutes"""
    minutes: float | None = None
    """instead of steps: the rate is measured first, then the number of steps is fixed"""
    batch: int = 1024
    """pairs a step, each of another point"""
    seed: int = 1
    """of weights, batches, augmentation and dropout"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """of convolutions; statistics, norms and the loss are float32 always"""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; auto: where a C++ compiler is found (on the CPU) or on a GPU"""
    device: str = "auto"
    """auto: a GPU if there is one"""
    selection: Literal["best", "last"] = "best"
    """which weights to keep: best on validation, or the last"""
    checkpoint_seconds: float = 60.0
    """between two checkpoints"""
    log_every: int = 50
    """steps between two lines of the log"""
    tensorboard: bool = False
    """also write TensorBoard events; wants the extra tb"""
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    augmentation: Augmentation = field(default_factory=Augmentation)
    validation: Validation = field(default_factory=Validation)
