"""What every describer offers, and describers that are networks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tiepoint.allocator import raise_thresholds
from tiepoint.errors import InputError
from tiepoint.models.dense import DEFAULT_WIDTH_PX, Dense, describe_densely
from tiepoint.nets.dense import FORMS, WINDOW_PX, DenseForm
from tiepoint.nets.inputs import check_shape, prepare
from tiepoint.types import Mask

CPU_CHUNK, GPU_CHUNK = 32, 8192
DENSE_NETWORKS = ("sdgmnet", "hynet", "hardnet", "hardnet-ps", "hardnet8", "l2net", "sosnet", "tfeat")


class Graph(NamedTuple):
    """A model as one network of float32 patches (N, 1, input_size, input_size), or of images, for other runtimes."""

    net: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    facts: dict[str, Any]
    """what a user of the network must know, for its card"""


class Describer(nn.Module):
    """Patches to descriptors, learned or classical.

    A describer of your own gives the attributes a value and overrides `describe`; one that can be trained overrides
    `forward` too.

    Attributes:
        name: of the network or the weights.
        support: width of a patch in sigmas.
        dimension: of a descriptor.
        normalized: whether descriptors have length 1; TFeat's do not.
        upright_width: width in pixels of the patches that it was trained on, where those were all upright and of one
            width; None where they followed the keypoints' scale and orientation.
        on_image: whether it describes keypoints on the image by `describe_keypoints`, and then by no other `support`.
        input_size: side at its input, to which larger patches are reduced; None where it takes any.
        card: what the weights' card says.
    """

    name: str
    support: float = 12.0
    dimension: int
    normalized: bool = True
    upright_width: float | None = None
    on_image: bool = False
    input_size: int | None = None
    card: Mapping[str, Any] = {}  # read only
    relates: Literal[False] = False

    def forward(self, patches: Tensor) -> Tensor:
        """Describe `patches`; a describer that learns overrides this with what gradients flow through."""
        return self.describe(patches)

    def describe(self, patches: Tensor) -> Tensor:
        """Describe `patches` (N, 1, S, S), float in 0..1, uint8 or uint16: (N, dimension), float32.

        Descriptors have length 1 where `normalized`. Raises InputError for another shape or type.
        """
        raise NotImplementedError

    def describe_keypoints(self, image: NDArray[np.uint8], keypoints: Sequence[cv2.KeyPoint]) -> NDArray[np.float32]:
        """Describe OpenCV's keypoints on their image (H, W), where `on_image`: (N, dimension), float32."""
        raise NotImplementedError

    def dense(
        self, image: NDArray[Any], stride: float = 8, mask: Mask | None = None, width: float | None = None
    ) -> Dense:
        """Describe every window of an image, by convolutions alone.

        In bfloat16 after `describer.to(torch.bfloat16)`, which is faster where the processor has it, with statistics in
        float32.

        Args:
            image: (H, W), grey: float in 0..1, uint8 or uint16.
            stride: px between the centres of windows: 8, 4 or 2 for windows of 64 px.
            mask: valid pixels, (H, W) bool; a window that holds another one is not valid.
            width: of a window, px, 32 or more; `upright_width` without it, or 64.

        Returns:
            unit vectors (D, H', W') on their grid, see `tiepoint.models.dense.Dense`. They differ a little from those
            of single patches (`tiepoint.nets.dense`), so compare dense ones with dense ones.

        Raises:
            InputError: a describer without dense form; an image smaller than a window, or with values that are not
                finite; a mask of another size or without valid pixels; a stride that the network cannot give, or for
                whose descriptors there is not memory enough; a width under 32.
        """
        raise InputError(no_dense_form(self.name))

    def graph(self) -> Graph | None:
        """The network for other runtimes, or None where there is none."""
        return None

    def dense_graph(self) -> Graph:
        """The network in dense form (`tiepoint.nets.dense`) for other runtimes. Raises InputError if none is."""
        raise InputError(no_dense_form(self.name))


def no_dense_form(name: str) -> str:
    """What to say to those who ask a model for a dense form that it does not have."""
    return f"{name} has no dense form: take one with the network of {', '.join(DENSE_NETWORKS)}"


def sees_upright(model: Describer) -> bool:
    """Whether a describer sees patches of one width, not turned by their keypoints, as cut from aligned images."""
    return model.upright_width is not None


class LearnedDescriber(Describer):
    """A describer network with weights. Its state dict is that of the network, so each loads into the other.

    Further attributes:
        net: the network, which starts in evaluation mode.
        chunk: patches a call of the network in evaluation mode; bounds memory, and on the CPU small chunks are the
            fast ones.
    """

    input_size: int

    def __init__(
        self, net: nn.Module, name: str, card: Mapping[str, Any] | None = None, chunk: int | None = None
    ) -> None:
        super().__init__()
        self.name = name
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a seventh faster on the CPU
        self.card = dict(card or {})
        self.support = float(self.card.get("support", 12.0))
        self.input_size = int(net.input_size)  # type: ignore[arg-type]
        self.dimension = int(net.dimension)  # type: ignore[arg-type]
        self.normalized = bool(net.normalized)
        self.upright_width = None if self.card.get("upright") is None else float(self.card["upright"])
        self.chunk = chunk
        share_state(self)
        self.eval()
        raise_thresholds()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, patches: Tensor) -> Tensor:
        """Describe `patches` as `describe` does; gradients flow to the weights and to float patches.

        In evaluation mode the network sees one chunk after another, in training mode the whole batch, as its batch
        norm and its dropout expect.
        """
        check_shape(patches, self.name, self.input_size)
        if not len(patches):
            return torch.empty(0, self.dimension, device=self.device)
        weight = next(self.parameters())
        chunk = self.chunk or (CPU_CHUNK if weight.device.type == "cpu" else GPU_CHUNK)
        parts = torch.split(patches, len(patches) if self.training else chunk)
        return torch.cat(
            [self.net(prepare(part.to(weight.device), self.input_size).to(weight.dtype)).float() for part in parts]
        )

    @torch.inference_mode()
    def describe(self, patches: Tensor) -> Tensor:
        """Describe `patches` (N, 1, S, S), float in 0..1, uint8 or uint16, S >= input_size, in evaluation mode.

        Returns (N, dimension), float32, on the describer's device: unit vectors, but for TFeat, whose entries lie in
        -1..1 (see `normalized`), and for a patch that a network maps to zero, as fresh weights do with a constant one,
        which stays zero. Raises InputError for another shape or type.
        """
        with evaluating(self):
            described: Tensor = self(patches)
        return described

    def dense(
        self, image: NDArray[Any], stride: float = 8, mask: Mask | None = None, width: float | None = None
    ) -> Dense:
        """Describe every window of an image, see `Describer.dense`."""
        if type(self.net) not in FORMS:
            return super().dense(image, stride, mask, width)
        side = width if width is not None else self.upright_width or DEFAULT_WIDTH_PX
        with evaluating(self):
            return describe_densely(DenseForm(self.net), image, stride, mask, side)

    def graph(self) -> Graph:
        """The network without the reduction of patches."""
        facts = {"dimension": self.dimension, "normalized": self.normalized, "support": self.support}
        return Graph(self.net, ("patches",), ("descriptors",), facts)

    def dense_graph(self) -> Graph:
        """The network in dense form, see `Describer.dense_graph`."""
        if type(self.net) not in FORMS:
            return super().dense_graph()
        form = DenseForm(self.net)
        rule = f"height and width from {WINDOW_PX}; h = (height - {WINDOW_PX}) // {form.stride} + 1, w likewise"
        scale = WINDOW_PX / (self.upright_width or DEFAULT_WIDTH_PX)
        facts = {"window": WINDOW_PX, "stride": form.stride, "scale": scale, "sizes": rule}
        facts |= {"dimension": self.dimension, "normalized": True}
        return Graph(form, ("images", "valid"), ("descriptors", "whole"), facts)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and afterwards back each part of it that was in training mode."""
    trained = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in trained:
            part.training = True


def share_state(model: nn.Module) -> None:
    """Give the state dict of `model` the keys of its network `net`, in both directions."""
    model.register_state_dict_post_hook(_leave_out_net)  # type: ignore[no-untyped-call]
    model.register_load_state_dict_pre_hook(_put_in_net)  # type: ignore[no-untyped-call]


def _leave_out_net(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
    for key in [key for key in state if key.startswith(f"{prefix}net.")]:
        state[prefix + key.removeprefix(f"{prefix}net.")] = state.pop(key)


def _put_in_net(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        state[f"{prefix}net.{key.removeprefix(prefix)}"] = state.pop(key)
