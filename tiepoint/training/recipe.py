"""Recipes: what a run does, typed. A YAML file holds one, the command line changes single keys."""

import functools
from dataclasses import dataclass, field, make_dataclass
from typing import Any, Literal

from torch import nn

from tiepoint import losses, nets
from tiepoint.data.augmentation import Augmentation
from tiepoint.data.pair_augmentation import PairAugmentation
from tiepoint.losses.batch import option


@dataclass(frozen=True)
class Loss:
    """A loss by name; `loss_options` adds the options of each."""

    name: str = "sdgm"
    """Name of the loss, see tiepoint.losses.names(), and tiepoint.losses.relation_names() for networks that relate."""


@functools.cache
def loss_options(name: str) -> type[Loss]:
    """The typed options of a loss, with the defaults of its preset. Raises InputError for a name that is not there.

    The momentum of running statistics is given as `memory`, their time constant as a share of the run, so that a short
    run has the shape of the published one: 0.999 over 200,000 steps is 0.005. Or it is given as `batches`, a number of
    them that does not shrink with the run (0: `memory` counts); the statistics then have no bias to their start.
    """
    fields: list[tuple[str, Any, Any]] = []
    for key, kind, default in losses.options(name):
        if key == "momentum":
            loss: Any = losses.LOSSES[name].loss  # none of the relation losses has any
            fields.append(("memory", float, option(loss.memory, "[0, 1]")))
            fields.append(("batches", int, option(0, "[0, inf)")))
        elif key != "unbiased":
            fields.append((key, kind, field(default=default)))
    return make_dataclass("Loss", [("name", str, field(default=name)), *fields], bases=(Loss,), frozen=True)


def build_loss(loss: Loss, steps: int) -> nn.Module:
    """The loss of a run of `steps` steps. Raises ValueError that names an option out of range."""
    options = {key: value for key, value in vars(loss).items() if key not in ("name", "memory", "batches")}
    if hasattr(loss, "memory"):
        batches = vars(loss)["batches"]
        options["momentum"] = max(0.0, 1 - 1 / max(batches or loss.memory * steps, 1))
        options["unbiased"] = bool(batches)
    return losses.create(loss.name, **options)


@dataclass(frozen=True)
class Optimizer:
    """How weights move."""

    name: Literal["sgd", "adam", "nadam"] = "sgd"
    """Optimiser: sgd with momentum, adam, or adam with Nesterov's momentum (nadam)."""
    lr: float = option(1.0, "(0, inf)")
    """Learning rate at the start."""
    momentum: float = option(0.9, "[0, 1)")
    """Momentum of sgd."""
    dampening: float = option(0.0, "[0, 1)")
    """Dampening of sgd. HardNet's release has lr 10 and dampening 0.9, which in the long run is lr 1 and 0."""
    weight_decay: float = option(1e-4, "[0, 1]")
    """Weight decay of all parameters."""
    eps: float = option(1e-8, "(0, 1]")
    """Epsilon of adam and nadam."""
    rates: dict[str, float] = field(default_factory=dict)
    """Learning rates of submodules of the network, by name, where they differ from lr."""
    schedule: Literal["step", "linear", "cosine", "one-cycle", "constant"] = "step"
    """Schedule of the learning rate. step: `stages` equal stages, each at `decay` times the rate before; linear and
    cosine fall to zero; one-cycle rises for three tenths of the run, then falls to zero."""
    stages: int = option(10, "[1, inf)")
    """Number of stages of the step schedule."""
    decay: float = option(0.5, "(0, 1]")
    """Factor between two stages of the step schedule."""


@dataclass(frozen=True)
class Validation:
    """Held-out points, or scenes of a set across spectra, by which the weights are chosen."""

    fraction: float = option(0.03, "(0, 1)")
    """Share of the points or scenes that is held out."""
    by: Literal["scenes", "points"] = "scenes"
    """Hold out whole scenes of a set across spectra, or points."""
    every: float = option(0.05, "(0, 1]")
    """Share of the run between two validations."""
    pairs: int = option(2000, "[2, inf)")
    """Largest number of matching pairs."""
    noise: Literal["none", "easy", "hard", "tough"] = "hard"
    """Noise on the second patch's frame, within one spectrum. Without it pairs are too easy to tell runs apart."""
    test_data: str = ""
    """PatchSet of test pairs by which the weights are chosen, for the selection `paper` alone."""


@dataclass(frozen=True)
class Recipe:
    """A training run, to the last number."""

    data: str = ""
    """Folder of the PatchSet."""
    network: str = "sdgmnet"
    """Name of the network, see tiepoint.nets.names()."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further options of the network."""
    start: str = ""
    """Weights to start from, a name or a path as tiepoint.load takes it; fresh ones if empty."""
    dropout: float = option(0.3, "[0, 1)")
    """Dropout before the last convolution of a describer."""
    norm_momentum: float | None = option(None, "(0, 1]")
    """Weight of a batch in the running statistics of batch norm; the network's own if empty. At 0.01, as Keras has it,
    statistics lag a hundred steps behind, too many for a short run."""
    steps: int | None = option(200_000, "[1, inf)")
    """Number of optimiser steps; leave it empty to use minutes."""
    minutes: float | None = option(None, "(0, inf)")
    """Length of the run instead of steps. The rate is measured first, on the CPU by computing time, then the number of
    steps is fixed."""
    batch: int = option(1024, "[2, 1048576]")
    """Number of pairs in each step, each of another point. Networks that relate get half of them as non-matches, unless
    their loss finds its own."""
    seed: int = option(1, "[0, 9223372036854775807]")
    """Seed of weights, batches, augmentation and dropout."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of convolutions. Statistics, norms and the loss are always float32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Use torch.compile; auto: on a GPU, and on a CPU where there is a C++ compiler."""
    device: str = "auto"
    """Device: auto takes a GPU if there is one."""
    selection: Literal["best", "last", "paper"] = "best"
    """Which weights to keep: the best on validation, the last, or, as some papers did, the best on test data (see
    validation.test_data), which the result and the weights' card then say."""
    keep: int = option(0, "[0, inf)")
    """Number of the last validations whose weights are written too, to epochs/STEP, to state a mean over them."""
    checkpoint_seconds: float = option(60.0, "[0, inf)")
    """Seconds between two checkpoints."""
    log_every: int = option(50, "[1, inf)")
    """Number of steps between two lines of the log."""
    tensorboard: bool = False
    """Also write TensorBoard events. This needs the extra tb."""
    perceptual: str = "sdgmnet"
    """Features of a loss that compares reconstructions: those of tiepoint's sdgmnet, of VGG-19 by the path of its
    torchvision weights, or none."""
    loss: Loss = field(default_factory=loss_options("sdgm"))
    optimizer: Optimizer = field(default_factory=Optimizer)
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Augmentation of the patches of describers."""
    pair_augmentation: PairAugmentation = field(default_factory=PairAugmentation)
    """Augmentation of pairs across spectra; it comes before `augmentation`."""
    validation: Validation = field(default_factory=Validation)


def network_options(recipe: Recipe) -> dict[str, Any]:
    """What `tiepoint.nets.create` takes to make the recipe's network."""
    return {"dropout": recipe.dropout} | recipe.options if recipe.network in nets.DESCRIBERS else dict(recipe.options)
