"""The optimiser, schedules as functions of the share of the run that is done, and seeds as functions of the step."""

import math
import shutil

import numpy as np
import torch
from torch import nn

from tiepoint.errors import InputError
from tiepoint.training.recipe import Optimizer

RISE_SHARE, START_FACTOR = 0.3, 0.04  # of the one-cycle schedule: share of the run that rises, and the rate before


def make_optimizer(net: nn.Module, how: Optimizer) -> torch.optim.Optimizer:
    """An optimiser of the parameters of `net`; each group states its `initial_lr`.

    Raises InputError where `how.rates` names a submodule that is not there.
    """
    children = dict(net.named_children())
    unknown = sorted(set(how.rates) - set(children))
    if unknown:
        raise InputError(f"recipe key optimizer.rates names {unknown[0]}: the network has {', '.join(children)}")
    apart = {id(p) for name in how.rates for p in children[name].parameters()}
    groups = [{"params": [p for p in net.parameters() if id(p) not in apart], "lr": how.lr}]
    groups += [{"params": list(children[name].parameters()), "lr": rate} for name, rate in how.rates.items()]
    optimizer: torch.optim.Optimizer
    if how.name == "sgd":
        optimizer = torch.optim.SGD(groups, how.lr, how.momentum, how.dampening, how.weight_decay)
    else:
        adam = torch.optim.Adam if how.name == "adam" else torch.optim.NAdam
        optimizer = adam(groups, how.lr, eps=how.eps, weight_decay=how.weight_decay)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def factor(optimizer: Optimizer, progress: float) -> float:
    """Learning rate at `progress` (0..1) over `optimizer.lr`."""
    if optimizer.schedule == "constant":
        return 1.0
    if optimizer.schedule == "linear":
        return 1 - progress
    if optimizer.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if optimizer.schedule == "one-cycle":
        if progress < RISE_SHARE:
            return START_FACTOR + (1 - START_FACTOR) * 0.5 * (1 - math.cos(math.pi * progress / RISE_SHARE))
        return 0.5 * (1 + math.cos(math.pi * (progress - RISE_SHARE) / (1 - RISE_SHARE)))
    return optimizer.decay ** math.floor(optimizer.stages * progress + 1e-9)


def is_due(done: int, steps: int, every: float) -> bool:
    """Whether step number `done` (from 1) ends a period of `every` (share of the run), or the run."""
    return done == steps or math.floor(done / (every * steps)) > math.floor((done - 1) / (every * steps))


def seed(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(device: torch.device, *numbers: int) -> torch.Generator:
    """A generator on `device`, seeded by several numbers."""
    return torch.Generator(device).manual_seed(seed(*numbers))


def should_compile(choice: str, device: torch.device) -> bool:
    """Whether to use torch.compile: on the CPU it wants a C++ compiler, which not every user has."""
    if choice == "auto":
        return device.type == "cuda" or any(shutil.which(name) for name in ("c++", "g++", "clang++"))
    return choice == "on"
