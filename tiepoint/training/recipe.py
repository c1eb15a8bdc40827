"""Recipes: what a run does, typed. A YAML file holds one, the command line changes single keys."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, make_dataclass
from typing import Any, Literal

from torch import nn

from tiepoint import losses, nets
from tiepoint.data.augmentation import Augmentation
from tiepoint.data.pair_augmentation import PairAugmentation


@dataclass(frozen=True)
class Loss:
    """A loss by name; `loss_options` adds the options of each."""

    name: str = "sdgm"
    """see tiepoint.losses.names(), and tiepoint.losses.relation_names() for networks that relate"""


@functools.cache
def loss_options(name: str) -> type[Loss]:
    """The typed options of a loss, with the defaults of its preset. Raises InputError for a name that is not there.

    The momentum of running statistics is given as `memory`, their time constant as a share of the run, so that a short
    run has the shape of the published one: 0.999 over 200,000 steps is 0.005.
    """
    fields: list[tuple[str, Any, Any]] = []
    for key, kind, default in losses.options(name):
        if key == "momentum":
            loss: Any = losses.LOSSES[name].loss  # none of the relation losses has any
            fields.append(("memory", float, field(default=loss.memory)))
        else:
            fields.append((key, kind, field(default=default)))
    return make_dataclass("Loss", [("name", str, field(default=name)), *fields], bases=(Loss,), frozen=True)


def build_loss(loss: Loss, steps: int) -> nn.Module:
    """The loss of a run of `steps` steps. Raises ValueError that names an option out of range."""
    options = {key: value for key, value in vars(loss).items() if key not in ("name", "memory")}
    if hasattr(loss, "memory"):
        options["momentum"] = max(0.0, 1 - 1 / max(loss.memory * steps, 1))
    return losses.create(loss.name, **options)


@dataclass(frozen=True)
class Optimizer:
    """How weights move."""

    name: Literal["sgd", "adam", "nadam"] = "sgd"
    """sgd with momentum, adam, or adam with Nesterov's momentum"""
    lr: float = 1.0
    """learning rate at the start"""
    momentum: float = 0.9
    """of sgd"""
    dampening: float = 0.0
    """of sgd; HardNet's release has lr 10 and 0.9, in the long run lr 1 and 0"""
    weight_decay: float = 1e-4
    """of all parameters"""
    eps: float = 1e-8
    """of adam and nadam"""
    rates: dict[str, float] = field(default_factory=dict)
    """other learning rates of single submodules of the network, by name"""
    schedule: Literal["step", "linear", "cosine", "one-cycle", "constant"] = "step"
    """step: `stages` equal stages, each at `decay` times the rate before; linear and cosine fall to zero; one-cycle
    rises for three tenths of the run, then falls to zero"""
    stages: int = 10
    """of the step schedule"""
    decay: float = 0.5
    """of the step schedule"""


@dataclass(frozen=True)
class Validation:
    """Held-out points, by which the weights are chosen; of a set across spectra held-out scenes."""

    fraction: float = 0.03
    """of the points or scenes"""
    by: Literal["scenes", "points"] = "scenes"
    """of a set across spectra: hold out whole scenes, or points"""
    every: float = 0.05
    """share of the run between two validations"""
    pairs: int = 2000
    """matching pairs at the most"""
    noise: Literal["none", "easy", "hard", "tough"] = "hard"
    """within one spectrum: noise on the second patch's frame, without which pairs are too easy to tell runs apart"""
    test_data: str = ""
    """for the selection `paper` alone: the PatchSet of test pairs by which the weights are chosen"""


@dataclass(frozen=True)
class Recipe:
    """A training run, to the last number."""

    data: str = ""
    """folder of the PatchSet"""
    network: str = "sdgmnet"
    """see tiepoint.nets.names()"""
    options: dict[str, Any] = field(default_factory=dict)
    """further options of the network"""
    start: str = ""
    """weights to start from, a name or a path as tiepoint.load takes it; fresh ones if empty"""
    dropout: float = 0.3
    """before the last convolution; of describers"""
    norm_momentum: float | None = None
    """weight of a batch in the running statistics of batch norm; empty: the network's own. At 0.01, as Keras has it,
    statistics lag a hundred steps behind, too many for a short run"""
    steps: int | None = 200_000
    """optimiser steps; leave empty to use minutes"""
    minutes: float | None = None
    """instead of steps: the rate is measured first, on the CPU by computing time, then the number of steps is fixed"""
    batch: int = 1024
    """pairs a step, each of another point; networks that relate get half of them as non-matches, unless their loss
    finds its own"""
    seed: int = 1
    """of weights, batches, augmentation and dropout"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """of convolutions; statistics, norms and the loss are float32 always"""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; auto: where a C++ compiler is found (on the CPU) or on a GPU"""
    device: str = "auto"
    """auto: a GPU if there is one"""
    selection: Literal["best", "last", "paper"] = "best"
    """which weights to keep: best on validation, the last, or, as some papers did, the best on test data (see
    validation.test_data), which the result and the weights' card then say"""
    keep: int = 0
    """write the weights of the last so many validations too, to epochs/STEP, to state a mean over them"""
    checkpoint_seconds: float = 60.0
    """between two checkpoints"""
    log_every: int = 50
    """steps between two lines of the log"""
    tensorboard: bool = False
    """also write TensorBoard events; wants the extra tb"""
    perceptual: str = "sdgmnet"
    """features of a loss that compares reconstructions: those of tiepoint's sdgmnet, of VGG-19 by the path of its
    torchvision weights, or none"""
    loss: Loss = field(default_factory=loss_options("sdgm"))
    optimizer: Optimizer = field(default_factory=Optimizer)
    augmentation: Augmentation = field(default_factory=Augmentation)
    """of describers"""
    pair_augmentation: PairAugmentation = field(default_factory=PairAugmentation)
    """of pairs across spectra; before `augmentation`"""
    validation: Validation = field(default_factory=Validation)


def network_options(recipe: Recipe) -> dict[str, Any]:
    """What `tiepoint.nets.create` takes to make the recipe's network."""
    return {"dropout": recipe.dropout} | recipe.options if recipe.network in nets.DESCRIBERS else dict(recipe.options)
