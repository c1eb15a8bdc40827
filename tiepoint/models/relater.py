"""Relaters as users hold them: a pruned network with its weights and its card."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from tiepoint.allocator import raise_thresholds
from tiepoint.errors import InputError
from tiepoint.models.describer import Graph, share_state
from tiepoint.models.engine import DTYPES, Engine, Precision
from tiepoint.nets.inputs import channels_for, prepare
from tiepoint.nets.relation import SLOTS, Codes, Relater, deploy, trunk_of

SURE = 0.03  # rounding by 0.3 in the logit, four times RRL-Net's usual, changes smaller probabilities by less than 0.01
CPU_CHUNK, GPU_CHUNK = 32, 512
ROUNDING = 1e-3  # that values may leave 0..1
Encode = Callable[[Tensor, str], Codes]
Relate = Callable[[Codes, Codes], Tensor]


class LearnedRelater(nn.Module):
    """A relation network with weights: the probability that two patches of different spectra show the same point.

    `forward` is for training: gradients flow through it. `probabilities`, `logits`, `encode` and `relate` are for use:
    they run a copy of the network with batch norm folded into the convolutions, in evaluation mode, chunk by chunk and
    without gradients; the copy is made anew after the weights have changed. The state dict is that of the pruned
    network, so each loads into the other.

    Attributes:
        name: of the network or the weights.
        net: the network, pruned by `tiepoint.nets.relation.deploy`. The one that was given is left as it is.
        card: what the weights' card says.
        spectra: names of the two spectra that it was trained for; the first takes the network's slot "first".
        input_size: side at the network's input; larger patches are reduced to it with antialiasing.
        temperature: of the card, or 1: logits are divided by it to become calibrated probabilities.
        precision: "fp32"; "bf16": weights and features of half the size, faster where the processor knows bfloat16;
            "mixed": of RRL-Net and FIL-Net, whose trunk alone is in bf16: most of the gain, and probabilities within
            0.01 of those of "fp32"; "adaptive": as "bf16", and pairs whose probability lies between 0.03 and 0.97 once
            more as "fp32", but not by `relate`, which has no patches. Logits are float32 in all, those of "fp32" the
            plain network's to 1e-4.
        compiled: whether the network is compiled, which takes a C++ compiler and about a minute on first use. On the
            CPU weights are frozen into it. Chunks are then filled up, so that few pairs cost as much as a chunk.
        chunk: pairs a call of the network; bounds memory, and on the CPU small chunks are the fast ones.

    Patches are (N, C, S, S), square, S >= input_size, C 1 or 3 (RGB), float in 0..1, uint8 or uint16; the two of a pair
    may differ in C, S and type. RGB becomes luma unless the network takes colour (`tiepoint.nets.inputs.channels_for`).

    Raises InputError for a precision, or a card's spectra or temperature, that make no sense.
    """

    relates: Literal[True] = True

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
        super().__init__()
        if precision not in DTYPES:
            raise InputError(f"{name}: no precision {precision!r}: there are {', '.join(DTYPES)}")
        if precision == "mixed" and trunk_of(net) is None:
            raise InputError(f"{name}: has no trunk to round: precision mixed is for RRL-Net and FIL-Net")
        self.name = name
        self.card = dict(card or {})
        self.spectra = two_spectra(self.card.get("spectra", ("vis", "nir")), name)
        self.temperature = positive(self.card.get("temperature", 1.0), name)
        self.precision: Precision = precision
        self.compiled = compile
        self.chunk = chunk
        self.net = deploy(net)
        self.input_size = cast(Relater, net).input_size
        self._engines: dict[Precision, tuple[Any, Engine]] = {}
        share_state(self)
        self.eval()
        raise_thresholds()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Relate as `probabilities` does, to 1e-4 of the logit, with gradients to the weights and to float patches.

        In evaluation mode the network sees one chunk after another, in training mode the whole batch.
        """
        self._check_pair(first, second)
        if not len(first):
            return torch.empty(0, device=self.device)
        net, kind = cast(Relater, self.net), next(self.parameters()).dtype
        chunk = len(first) if self.training else self._chunk()
        return self._calibrate(self._chunked(first, second, chunk, lambda x, s: net.encode(x.to(kind), s), net.relate))

    def probabilities(self, first: Tensor, second: Tensor) -> Tensor:
        """Relate N patches of the first spectrum to N of the second, each to its own: match probability (N,), float32.

        Calibrated, sigmoid(logit / temperature), on the relater's device. Raises InputError for patches that it cannot
        take, see the class, values out of 0..1 or NaN, naming the row, or unequal counts.
        """
        return self._calibrate(self.logits(first, second))

    @torch.inference_mode()
    def logits(self, first: Tensor, second: Tensor) -> Tensor:
        """Relate as `probabilities` does, but give match logits (N,), float32, before the temperature."""
        self._check_pair(first, second)
        logits = self._logits(first, second, self.precision)
        if self.precision == "adaptive":
            rows = ((self._calibrate(logits) - 0.5).abs() < 0.5 - SURE).nonzero().flatten()
            logits[rows] = self._logits(first[rows.to(first.device)], second[rows.to(second.device)], "fp32")
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
        slot, engine = SLOTS[self.spectra.index(spectrum)], self._engine(self.precision)
        parts = [engine.encode(self._input(part, slot), slot) for part in torch.split(patches, self._chunk())]
        return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))

    @torch.inference_mode()
    def relate(self, first: Codes, second: Codes, pairs: Tensor | None = None) -> Tensor:
        """Relate codes of the first spectrum to codes of the second: match probability (M,) as by `probabilities`.

        Each to its own, or those of `pairs` (M, 2), rows of `first` and of `second`, which are picked chunk by chunk,
        without copies of all codes. Raises InputError for unequal counts without `pairs`, or rows that are not there.
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
        engine, device = self._engine(self.precision), self.device
        parts = []
        for chosen in (part.unbind(dim=1) for part in torch.split(pairs, self._chunk())):
            sides = [
                tuple(c[rows].to(device) for c in codes) for codes, rows in zip((first, second), chosen, strict=True)
            ]
            parts.append(engine.relate(*sides))
        return self._calibrate(torch.cat(parts))

    def graph(self) -> Graph:
        """The network in float32, for other runtimes: probability and log odds (N,) of patches of the two spectra."""
        net = Probability(self._engine("fp32").net, self.temperature)
        return Graph(net, self.spectra, ("probability", "logit"), {"temperature": self.temperature})

    def _logits(self, first: Tensor, second: Tensor, precision: Precision) -> Tensor:
        """Logits of checked pairs."""
        engine = self._engine(precision)
        return self._chunked(first, second, self._chunk(), engine.encode, engine.relate)

    def _chunked(self, first: Tensor, second: Tensor, chunk: int, encode: Encode, relate: Relate) -> Tensor:
        parts = [
            relate(*(encode(self._input(x, slot), slot) for x, slot in zip(pair, SLOTS, strict=True)))
            for pair in zip(torch.split(first, chunk), torch.split(second, chunk), strict=True)
        ]
        return torch.cat(parts)

    def _engine(self, precision: Precision) -> Engine:
        """The network as it runs, made of the weights as they are now."""
        fill = self._chunk() if self.compiled and precision == self.precision else 0
        tensors = [*self.net.parameters(), *self.net.buffers()]
        state = [fill, *((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)]
        if precision not in self._engines or self._engines[precision][0] != state:
            with torch.inference_mode(False):
                self._engines[precision] = state, Engine(self.net, precision, fill)
        return self._engines[precision][1]

    def _calibrate(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits / self.temperature)

    def _chunk(self) -> int:
        return self.chunk or (CPU_CHUNK if self.device.type == "cpu" else GPU_CHUNK)

    def _input(self, patches: Tensor, slot: str) -> Tensor:
        """Checked patches at the side and in the channels that the network takes, on its device."""
        return channels_for(prepare(patches.to(self.device), self.input_size), self.net, slot)

    def _check_pair(self, first: Tensor, second: Tensor) -> None:
        """Raise InputError unless the patches are what the network takes, and as many of each."""
        for patches, spectrum in zip((first, second), self.spectra, strict=True):
            self._check(patches, spectrum)
        if len(first) != len(second):
            raise InputError(f"{self.name}: {len(first)} {self.spectra[0]} and {len(second)} {self.spectra[1]} patches")

    def _check(self, patches: Tensor, spectrum: str) -> None:
        """Raise InputError unless `patches` are what the network takes."""
        shape, size = tuple(patches.shape), self.input_size
        if len(shape) != 4 or shape[1] not in (1, 3) or shape[2] != shape[3] or shape[3] < size:
            raise InputError(f"{spectrum} patches {shape}: {self.name} takes (N, 1 or 3, S, S) with S >= {size}")
        if not patches.is_floating_point():
            return  # `prepare` knows the types
        low, high = (limit(patches.flatten(1), dim=1) for limit in (torch.amin, torch.amax))
        fits = (low >= -ROUNDING) & (high <= 1 + ROUNDING)  # false for NaN
        if not fits.all():
            row = int((~fits).nonzero()[0])
            what = "NaN" if math.isnan(low[row]) else f"values from {low[row]:g} to {high[row]:g}"
            raise InputError(f"{spectrum} patches, row {row}: {what}: give float in 0..1, uint8 or uint16")


class Probability(nn.Module):
    """A relation network that gives the calibrated match probability, and the logit that it comes from."""

    def __init__(self, net: nn.Module, temperature: float) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Relate two (N, 1, S, S): probability and logit / temperature, each (N,), float32."""
        logit = self.net(first, second) / self.temperature
        return torch.sigmoid(logit), logit


def two_spectra(names: Any, name: str) -> tuple[str, str]:
    """The two names in a card. Raises InputError for anything but two different ones."""
    if isinstance(names, list | tuple) and all(isinstance(n, str) for n in names) and len(names) == len({*names}) == 2:
        return names[0], names[1]
    raise InputError(f"{name}: spectra of its card are {names!r}: must be two different names")


def positive(temperature: Any, name: str) -> float:
    """The temperature in a card. Raises InputError unless it is a positive number."""
    if isinstance(temperature, int | float) and 0 < temperature < math.inf:
        return float(temperature)
    raise InputError(f"{name}: temperature of its card is {temperature!r}: must be a positive number")
