"""Schedules as functions of the share of the run that is done, and seeds as functions of the step."""

from __future__ import annotations

import math
import shutil

import numpy as np
import torch

from tiepoint.errors import InputError


def factor(name: str, progress: float) -> float:
    """Learning rate at `progress` (0..1) over the one at the start."""
    if name == "linear":
        return 1 - progress
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 0.5 ** math.floor(10 * progress + 1e-9)  # halving, as published


def is_due(done: int, steps: int, every: float) -> bool:
    """Whether step number `done` (from 1) ends a period of `every` (share of the run), or the run."""
    return done == steps or math.floor(done / (every * steps)) > math.floor((done - 1) / (every * steps))


def seed(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(device: torch.device, *numbers: int) -> torch.Generator:
    """A generator on `device`, seeded by several numbers."""
    return torch.Generator(device).manual_seed(seed(*numbers))


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU if there is one. Raises InputError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"recipe key device is {name}: not to be had here ({reason})") from None
    return device


def should_compile(choice: str, device: torch.device) -> bool:
    """Whether to use torch.compile: on the CPU it wants a C++ compiler, which not every user has."""
    if choice == "auto":
        return device.type == "cuda" or any(shutil.which(name) for name in ("c++", "g++", "clang++"))
    return choice == "on"
