"""Describers as users hold them, with their weights, cards and the geometry of their patches; loading of all models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tiepoint.allocator import raise_thresholds
from tiepoint.nets.inputs import check_shape, prepare

CPU_CHUNK, GPU_CHUNK = 32, 8192


class Describer(Protocol):
    """What every describer offers, learned or classical."""

    name: str
    support: float
    dimension: int
    normalized: bool

    def __call__(self, patches: Tensor) -> Tensor:
        """Patches (N, 1, S, S), float in 0..1 -> (N, dimension), float32, of length 1 where `normalized`."""
        ...


def sees_upright(model: object) -> bool:
    """Whether a describer sees patches of one width, not turned by their keypoints, as cut from aligned images."""
    return getattr(model, "upright_width", None) is not None


class LearnedDescriber:
    """A describer network with weights.

    Attributes:
        name: of the network or the weights.
        net: the network, in evaluation mode.
        support: width of a patch in sigmas.
        input_size: side at the network's input; larger patches are reduced to it with antialiasing.
        dimension: of a descriptor.
        normalized: whether descriptors have length 1; TFeat's do not.
        card: what the weights' card says.
        upright_width: width in pixels of the patches that it was trained on, where those were all upright and of one
            width; None where they followed the keypoints' scale and orientation.
        chunk: patches a call of the network; bounds memory, and on the CPU small chunks are the fast ones.
    """

    def __init__(
        self, net: nn.Module, name: str, card: Mapping[str, Any] | None = None, chunk: int | None = None
    ) -> None:
        self.name = name
        self.net = net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a seventh faster on the CPU
        self.card = dict(card or {})
        self.support = float(self.card.get("support", 12.0))
        self.input_size = int(net.input_size)  # type: ignore[arg-type]
        self.dimension = int(net.dimension)  # type: ignore[arg-type]
        self.normalized = bool(net.normalized)
        self.upright_width = None if self.card.get("upright") is None else float(self.card["upright"])
        self.chunk = chunk
        raise_thresholds()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.net.parameters()).device
        return device

    def to(self, device: str | torch.device) -> LearnedDescriber:
        """Move the weights."""
        self.net.to(device)
        return self

    @torch.inference_mode()
    def __call__(self, patches: Tensor) -> Tensor:
        """Describe `patches` (N, 1, S, S), float in 0..1, uint8 or uint16, S >= input_size.

        Returns (N, dimension), float32, on the describer's device: unit vectors, but for TFeat, whose entries lie in
        -1..1 (see `normalized`), and for a patch that a network maps to zero, as fresh weights do with a constant one,
        which stays zero. Raises InputError for another shape or type.
        """
        check_shape(patches, self.name, self.input_size)
        if not len(patches):
            return torch.empty(0, self.dimension, device=self.device)
        chunk = self.chunk or (CPU_CHUNK if self.device.type == "cpu" else GPU_CHUNK)
        return torch.cat(
            [self.net(prepare(part.to(self.device), self.input_size)) for part in torch.split(patches, chunk)]
        )
