"""Puts the helpers beside this file (`synthetic`) where every test can import them, and makes networks quickly."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
# As the commands do, and before torch is imported: threads that spin make a busy machine ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="module")
def quick_weights() -> Iterator[None]:
    """Fresh weights with rows as long as orthogonal ones, whose QR decomposition takes seconds in wide layers."""
    from torch import nn

    def quick(weight: Any, gain: float = 1.0) -> Any:
        return nn.init.normal_(weight, std=gain / weight[0].numel() ** 0.5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.init, "orthogonal_", quick)  # ours and kornia's
        yield
