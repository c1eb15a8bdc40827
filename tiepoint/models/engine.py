"""A relation network as it runs without gradients: batch norm folded, in a precision, perhaps compiled."""

import copy
from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tiepoint.nets.relation import Codes, Relater, trunk_of

Precision = Literal["fp32", "mixed", "adaptive", "bf16"]
# Of the codes and of all that is not said to be rounded.
DTYPES = {"fp32": torch.float32, "mixed": torch.float32, "adaptive": torch.bfloat16, "bf16": torch.bfloat16}


class Engine:
    """A copy of a pruned relation network that takes chunks of prepared patches and of pairs.

    With `fill` it is compiled, and every chunk is filled up to this many patches; 0 does neither.
    """

    def __init__(self, net: nn.Module, precision: Precision, fill: int) -> None:
        self.dtype = DTYPES[precision]
        self.fill = fill
        folded = fold_norms(copy.deepcopy(net).eval()).requires_grad_(False)
        self.net = folded.to(self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        trunk = trunk_of(net)
        if precision == "mixed" and trunk is not None:
            self.net.set_submodule(trunk, RoundedTrunk(self.net.get_submodule(trunk)))
        relater = cast(Relater, self.net)
        # Frozen, PyTorch lays weights out for the processor once and takes activations into the convolutions.
        wrap = torch.compile(options={"freezing": True}) if fill else lambda function: function
        self._encode: Callable[[Tensor, str], Codes] = wrap(relater.encode)
        self._relate: Callable[[Codes, Codes], Tensor] = wrap(relater.relate)

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Encode a chunk of patches as the network takes them."""
        x = patches.to(self.dtype, memory_format=torch.channels_last)
        codes = self._encode(self._filled(x), slot)
        return tuple(code[: len(x)].to(x.dtype) for code in codes)

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Logits of a chunk of pairs, which are on the network's device."""
        count = len(first[0])
        if not count:
            return torch.empty(0, device=first[0].device)
        sides = [tuple(self._filled(code.to(self.dtype)) for code in codes) for codes in (first, second)]
        return self._relate(*sides)[:count]

    def _filled(self, x: Tensor) -> Tensor:
        """Fill up with zeros: to one patch at least, or to the count and layout that the network is compiled for."""
        if len(x) and not self.fill:
            return x
        layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
        filled = torch.empty(self.fill or 1, *x.shape[1:], dtype=x.dtype, device=x.device, memory_format=layout).zero_()
        filled[: len(x)] = x
        return filled


class RoundedTrunk(nn.Module):
    """An `Aggregation` in bfloat16 within a network in float32: its last stage comes back in float32."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk.bfloat16()

    def forward(self, features: list[Tensor]) -> tuple[Tensor, ...]:
        """See `tiepoint.nets.blocks.interaction.Aggregation`."""
        *others, last = self.trunk([feature.bfloat16() for feature in features])
        return (*others, last.float())


def fold_norms(net: nn.Module) -> nn.Module:
    """Fold batch norms that follow a convolution in an nn.Sequential into it, in place, and return `net`.

    For evaluation mode alone. The logits of RRL-Net change by less than 1e-5, and rounding to bfloat16 costs half as
    much afterwards.
    """
    for block in list(net.modules()):
        if isinstance(block, nn.Sequential):
            for index in range(len(block) - 1):
                convolution, norm = block[index], block[index + 1]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    block[index], block[index + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return net
