"""The device that a model runs on, by name."""

import logging

import torch

from tiepoint.errors import InputError

LOG = logging.getLogger(__name__)


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """The device of that name; "auto" is "cuda" where there is such a GPU, else "mps" (Apple's) if there, else "cpu".

    Raises InputError, which lists the devices that are available, for a device that is absent or unknown.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    there = [kind for kind, present in available.items() if present]
    try:
        device = torch.device(there[0] if str(name) == "auto" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise InputError(f"device {name} is not available here: choose auto or {' or '.join(there)}") from None
    LOG.debug("device: %s", device)
    return device
