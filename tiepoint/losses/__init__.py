"""Losses on batches of descriptor pairs."""

from __future__ import annotations

from tiepoint.losses.sdgm import SDGM

__all__ = ["SDGM"]
