"""Puts the helpers beside this file (`synthetic`) where every test can import them, and makes networks quickly."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# The same examples in every run, so that a change fails for what it changes; others: `--hypothesis-profile=default`.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")
sys.path.insert(0, str(Path(__file__).parent))
# As the commands do, and before torch is imported: threads that spin make a busy machine ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="module")
def quick_weights() -> Iterator[None]:
    """Fresh weights of the same spread as orthogonal or truncated normal ones, which take seconds in wide layers."""
    from torch import nn

    def as_orthogonal(weight: Any, gain: float = 1.0) -> Any:
        return nn.init.normal_(weight, std=gain / weight[0].numel() ** 0.5)

    def as_truncated(weight: Any, std: float, a: float, b: float) -> Any:
        return nn.init.uniform_(weight, 0.76 * a, 0.76 * b)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.init, "orthogonal_", as_orthogonal)  # ours and kornia's
        patch.setattr(nn.init, "trunc_normal_", as_truncated)
        yield
