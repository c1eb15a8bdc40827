"""What a run keeps on disk: checkpoints, and facts about the machine and the versions."""

from __future__ import annotations

import io
import os
import platform
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from tiepoint.errors import InputError
from tiepoint.files import atomic_file, read_plain
from tiepoint.version import __version__


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically. Raises OSError if the disk is full, which torch's own writer would not."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint; None if there is no file yet. Raises InputError for a file that is not a checkpoint."""
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = read_plain(path)
    except InputError as error:
        raise InputError(f"{error}: remove it to start again") from None
    return state


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and machine, for the run's record."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "tiepoint": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
    }
