"""Relaters as users hold them: a pruned network with its weights, its card and what makes it fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tiepoint.allocator import raise_thresholds
from tiepoint.errors import InputError
from tiepoint.nets.inputs import channels_for, prepare
from tiepoint.nets.relation import SLOTS, Codes, Relater, deploy

Precision = Literal["fp32", "mixed", "adaptive", "bf16"]
# Of the codes and of all that is not said to be rounded.
DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "mixed": torch.float32,
    "adaptive": torch.bfloat16,
    "bf16": torch.bfloat16,
}
SURE = 0.03  # rounding by 0.3 in the logit, four times RRL-Net's usual, changes smaller probabilities by less than 0.01
CPU_CHUNK, GPU_CHUNK = 32, 512
ROUNDING = 1e-3  # that values may leave 0..1


class LearnedRelater:
    """A relation network with weights: the probability that two patches of different spectra show the same point.

    Attributes:
        name: of the network or the weights.
        net: the network as it runs: pruned (see `tiepoint.nets.relation.deploy`), in evaluation mode, batch norm folded
            into the convolutions, weights in `precision`. The one that was given is left as it is.
        card: what the weights' card says.
        spectra: names of the two spectra that it was trained for; the first takes the network's slot "first".
        input_size: side at the network's input; larger patches are reduced to it with antialiasing.
        temperature: of the card, or 1: logits are divided by it to become calibrated probabilities.
        precision: "fp32"; "bf16": weights and features of half the size, faster where the processor knows bfloat16;
            "mixed": of RRL-Net and FIL-Net, whose trunk alone is in bf16: most of the gain, and probabilities within
            0.01 of those of "fp32"; "adaptive": as "bf16", and pairs whose probability lies between 0.03 and 0.97 once
            more as "fp32", but not by `relate`, which has no patches. Logits are float32 in all, those of "fp32" the
            plain network's to 1e-4.
        compiled: whether the network is compiled, on the CPU with its weights frozen into it. It takes about a minute
            on first use, and a C++ compiler. Chunks are then filled up, so that few pairs cost as much as a chunk.
        chunk: pairs a call of the network; bounds memory, and on the CPU small chunks are the fast ones.

    Patches are (N, C, S, S), square, S >= input_size, C 1 or 3 (RGB), float in 0..1, uint8 or uint16; the two of a pair
    may differ in C, S and type. RGB becomes luma unless the network takes colour (`tiepoint.nets.inputs.channels_for`).

    Raises InputError for a precision, or a card's spectra or temperature, that make no sense.
    """

    def __init__(
        self,
        net: nn.Module,
        name: str,
        card: Mapping[str, Any] | None = None,
        *,
        precision: Precision = "fp32",
        compile: bool = False,
        chunk: int | None = None,
    ) -> None:
        if precision not in DTYPES:
            raise InputError(f"{name}: no precision {precision!r}: there are {', '.join(DTYPES)}")
        self.name = name
        self.card = dict(card or {})
        self.spectra = two_spectra(self.card.get("spectra", ("vis", "nir")), name)
        self.temperature = positive(self.card.get("temperature", 1.0), name)
        self.precision: Precision = precision
        self.compiled = compile
        self.chunk = chunk
        pruned = fold_norms(deploy(net)).requires_grad_(False)
        trunk = getattr(pruned, "trunk", None)
        if precision == "mixed" and trunk is None:
            raise InputError(f"{name}: has no trunk to round: precision mixed is for RRL-Net and FIL-Net")
        self.net = pruned.to(DTYPES[precision], memory_format=torch.channels_last)  # type: ignore[call-overload]
        if precision == "mixed":
            self.net.set_submodule(trunk, RoundedTrunk(self.net.get_submodule(trunk)))
        relater = cast(Relater, self.net)
        self.input_size = relater.input_size
        # Frozen, PyTorch lays weights out for the processor once and takes activations into the convolutions.
        wrap = torch.compile(options={"freezing": True}) if compile else lambda function: function
        self._encode: Callable[[Tensor, str], Codes] = wrap(relater.encode)
        self._relate: Callable[[Codes, Codes], Tensor] = wrap(relater.relate)
        self._exact = LearnedRelater(net, name, card, chunk=chunk) if precision == "adaptive" else None
        raise_thresholds()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.net.parameters()).device
        return device

    def to(self, device: str | torch.device) -> LearnedRelater:
        """Move the weights. Codes are moved by `relate`."""
        self.net.to(device)
        if self._exact is not None:
            self._exact.to(device)
        return self

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Relate N patches of the first spectrum to N of the second, each to its own: match probability (N,), float32.

        Calibrated, sigmoid(logit / temperature), on the relater's device. Raises InputError for patches that it cannot
        take, see the class, values out of 0..1 or NaN, naming the row, or unequal counts.
        """
        return self._calibrate(self.logits(first, second))

    @torch.inference_mode()
    def logits(self, first: Tensor, second: Tensor) -> Tensor:
        """Like the call, but match logits (N,), float32, before the temperature."""
        for patches, spectrum in zip((first, second), self.spectra, strict=True):
            self._check(patches, spectrum)
        if len(first) != len(second):
            raise InputError(f"{self.name}: {len(first)} {self.spectra[0]} and {len(second)} {self.spectra[1]} patches")
        chunk = self._chunk()
        parts = [
            self._relate_chunk(self._encode_chunk(a, SLOTS[0]), self._encode_chunk(b, SLOTS[1]))
            for a, b in zip(torch.split(first, chunk), torch.split(second, chunk), strict=True)
        ]
        logits = torch.cat(parts)
        if self._exact is not None:
            rows = ((self._calibrate(logits) - 0.5).abs() < 0.5 - SURE).nonzero().flatten()
            logits[rows] = self._exact.logits(first[rows.to(first.device)], second[rows.to(second.device)])
        return logits

    @torch.inference_mode()
    def encode(self, patches: Tensor, spectrum: str) -> Codes:
        """Do all that depends on one patch alone, so that each of N patches is encoded once and related many times.

        Returns tensors (N, ...), in the precision of the relater; pick patches by `tuple(c[index] for c in codes)`.
        RRL-Net's are 508 kB a patch, 254 in bf16. Networks that mix the two patches in their first layer return the
        patches. Raises InputError for patches that it cannot take, or a spectrum that is none of `spectra`.
        """
        if spectrum not in self.spectra:
            raise InputError(f"{self.name}: no spectrum {spectrum!r}: it was trained for {' and '.join(self.spectra)}")
        self._check(patches, spectrum)
        slot = SLOTS[self.spectra.index(spectrum)]
        parts = [self._encode_chunk(part, slot) for part in torch.split(patches, self._chunk())]
        return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))

    @torch.inference_mode()
    def relate(self, first: Codes, second: Codes, pairs: Tensor | None = None) -> Tensor:
        """Relate codes of the first spectrum to codes of the second: match probability (M,) as by the call.

        Each to its own, or those of `pairs` (M, 2), rows of `first` and of `second`, which are picked chunk by chunk: a
        shortlist takes no copies of all its codes. Raises InputError for unequal counts without `pairs`, or rows that
        are not there.
        """
        counts = [len(codes[0]) for codes in (first, second)]
        if pairs is None:
            if counts[0] != counts[1]:
                raise InputError(f"{self.name}: codes of {counts[0]} and {counts[1]} patches: give pairs of rows")
            pairs = torch.arange(counts[0]).unsqueeze(1).expand(-1, 2)
        outside = ((pairs < 0) | (pairs >= torch.tensor(counts, device=pairs.device))).any(dim=1)
        if outside.any():
            row = int(outside.nonzero()[0])
            raise InputError(f"{self.name}: pair {row} is {pairs[row].tolist()}: codes are of {counts} patches")
        parts = []
        for rows, columns in (part.unbind(dim=1) for part in torch.split(pairs, self._chunk())):
            parts.append(self._relate_chunk(tuple(c[rows] for c in first), tuple(c[columns] for c in second)))
        return self._calibrate(torch.cat(parts))

    def _calibrate(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits / self.temperature)

    def _chunk(self) -> int:
        return self.chunk or (CPU_CHUNK if self.device.type == "cpu" else GPU_CHUNK)

    def _check(self, patches: Tensor, spectrum: str) -> None:
        """Raise InputError unless `patches` are what the network takes."""
        shape = tuple(patches.shape)
        size = self.input_size
        if len(shape) != 4 or shape[1] not in (1, 3) or shape[2] != shape[3] or shape[3] < size:
            raise InputError(f"{spectrum} patches {shape}: {self.name} takes (N, 1 or 3, S, S) with S >= {size}")
        if not patches.is_floating_point():
            return  # `prepare` knows the types
        low, high = (limit(patches.flatten(1), dim=1) for limit in (torch.amin, torch.amax))
        fits = (low >= -ROUNDING) & (high <= 1 + ROUNDING)  # false for NaN
        if not fits.all():
            row = int((~fits).nonzero()[0])
            reach = f"{low[row]:g} to {high[row]:g}"
            what = "NaN" if math.isnan(low[row]) else f"values from {reach}"
            raise InputError(f"{spectrum} patches, row {row}: {what}: give float in 0..1, uint8 or uint16")

    def _encode_chunk(self, patches: Tensor, slot: str) -> Codes:
        """Encode up to a chunk of checked patches."""
        x = channels_for(prepare(patches.to(self.device), self.input_size), self.net, slot)
        x = x.to(DTYPES[self.precision], memory_format=torch.channels_last)
        codes = self._encode(self._fill(x), slot)
        return tuple(code[: len(x)].to(x.dtype) for code in codes)

    def _relate_chunk(self, first: Codes, second: Codes) -> Tensor:
        """Logits of up to a chunk of pairs."""
        count = len(first[0])
        if not count:
            return torch.empty(0, device=self.device)
        sides = [
            tuple(self._fill(code.to(self.device, DTYPES[self.precision])) for code in codes)
            for codes in (first, second)
        ]
        return self._relate(*sides)[:count]

    def _fill(self, x: Tensor) -> Tensor:
        """Fill up with zeros: to one patch at least, or to the count and layout that the network is compiled for."""
        if len(x) and not self.compiled:
            return x
        layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
        count = self._chunk() if self.compiled else 1
        filled = torch.empty(count, *x.shape[1:], dtype=x.dtype, device=x.device, memory_format=layout).zero_()
        filled[: len(x)] = x
        return filled


class RoundedTrunk(nn.Module):
    """An `Aggregation` in bfloat16 within a network in float32: its last stage comes back in float32."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk.bfloat16()

    def forward(self, features: list[Tensor]) -> tuple[Tensor, ...]:
        """See `tiepoint.nets.blocks.aggregation.Aggregation`."""
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


def two_spectra(names: Any, name: str) -> tuple[str, str]:
    """The two names in a card. Raises InputError for anything but two different ones."""
    if isinstance(names, list | tuple) and len(names) == 2 and all(isinstance(n, str) for n in names):
        first, second = names
        if first != second:
            return first, second
    raise InputError(f"{name}: spectra of its card are {names!r}: must be two different names")


def positive(temperature: Any, name: str) -> float:
    """The temperature in a card. Raises InputError unless it is a positive number."""
    if isinstance(temperature, int | float) and 0 < temperature < math.inf:
        return float(temperature)
    raise InputError(f"{name}: temperature of its card is {temperature!r}: must be a positive number")
