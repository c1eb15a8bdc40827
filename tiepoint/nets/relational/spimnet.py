"""SPIMNet: matches patches in both spectra, after translating each into the other."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tiepoint.nets.blocks.keras import EPS, MOMENTUM
from tiepoint.nets.relation import Codes


class Translated(NamedTuple):
    """What SPIMNet returns in training mode."""

    logits: dict[str, Tensor]
    """match logit (N,), as "match" """
    nir: Tensor
    """what vis looks like in nir, (N, 1, 64, 64) in 0..1; the losses of the paper take -1..1"""
    vis: Tensor
    """what nir looks like in vis, (N, 3, 64, 64) in 0..1"""

    @property
    def main(self) -> Tensor:
        """Match logit (N,)."""
        return self.logits["match"]


class SPIMNet(nn.Module):
    """Each patch exists twice, as it is and translated; each spectrum compares its two versions, one judge sees both.

        vis --------------------> features(vis) --+
         +-> translator(nir) ---> features(nir) --|--+
        nir --------------------> features(nir) --|--+-> [f_vis, f_nir, |f_vis - f_nir|] --+
         +-> translator(vis) ---> features(vis) --+----> [f_vis, f_nir, |f_vis - f_nir|] --+-> dense layers

    Here f_vis is the feature of the patch that came as vis, whatever it was translated to. Codes are the two features
    of a patch, (N, 16384) each, in nir and in vis. 130,886,917 parameters, statistics of batch norm included.
    Vis patches are RGB, (N, 3, 64, 64); grey ones, (N, 1, 64, 64), become RGB by repetition.

    Assumed: in a pair vis comes before nir, and nir before vis among the spectra; weights start as PyTorch's do; the
    eps of instance norm is TensorFlow Addons' 1e-3. The three dense layers are linear without activation, as released.
    In evaluation mode batch norm takes its running statistics, where the release takes those of the batch, which makes
    scores depend on each other.

    Source: the released notebook of SPIMNet (spectral-invariant matching network), 2022.
    """

    input_size = 64
    training_only: tuple[str, ...] = ()
    colour = ("first",)

    def __init__(self) -> None:
        super().__init__()
        self.translators = nn.ModuleDict({"nir": Translator(3, 1), "vis": Translator(1, 3)})
        self.features = nn.ModuleDict({"nir": features(1), "vis": features(3)})
        self.judge = nn.Sequential(nn.Linear(6 * 256 * 8 * 8, 1024), nn.Linear(1024, 128), nn.Linear(128, 1))

    def forward(self, first: Tensor, second: Tensor) -> Translated | Tensor:
        """Relate `first` and `second`, each (N, 1, 64, 64): see `tiepoint.nets.relation.Relater`."""
        first = rgb(first)
        as_nir, as_vis = self.translate(first, "first"), self.translate(second, "second")
        logit = self.relate(self._describe(nir=as_nir, vis=first), self._describe(nir=second, vis=as_vis))
        return Translated({"match": logit}, as_nir, as_vis) if self.training else logit

    def translate(self, patches: Tensor, slot: str) -> Tensor:
        """Translate `patches`, (N, 3, 64, 64) of the first or (N, 1, 64, 64) of the second slot; both are in 0..1."""
        translation: Tensor = self.translators["nir" if slot == "first" else "vis"](2 * patches - 1)
        return (translation + 1) / 2

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Encode `patches` (N, 1, 64, 64), RGB too in the first slot: features (N, 16384) in nir and in vis."""
        if slot == "first":
            return self._describe(nir=self.translate(rgb(patches), slot), vis=rgb(patches))
        return self._describe(nir=patches, vis=self.translate(patches, slot))

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Give the logit (N,) of N coded pairs."""
        parts = [part for a, b in zip(first, second, strict=True) for part in (a, b, (a - b).abs())]
        logit: Tensor = self.judge(torch.cat(parts, dim=1))
        return logit[:, 0].float()

    def _describe(self, nir: Tensor, vis: Tensor) -> Codes:
        """Features of one patch's two versions."""
        return self.features["nir"](2 * nir - 1), self.features["vis"](2 * vis - 1)


def rgb(patches: Tensor) -> Tensor:
    """Patches (N, 1 or 3, S, S) with three channels."""
    return patches.expand(-1, 3, -1, -1)


class Translator(nn.Module):
    """U-Net of six halvings and six doublings: (N, inputs, 64, 64) -> (N, outputs, 64, 64), both in -1..1.

    Its innermost maps are one pixel large, and instance norm sets them to its bias, which starts at 0, where ReLU
    passes no gradient: so the last halving and the first doubling give zeros and never learn. 10,368,257 trained
    parameters from three channels to one, 10,370,307 from one to three.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Sequential(nn.Conv2d(inputs, 64, 4, 2, 1, bias=False), nn.ReLU())])
        for a, b in ((64, 128), (128, 256), (256, 256), (256, 256), (256, 256)):
            self.down.append(nn.Sequential(nn.Conv2d(a, b, 4, 2, 1, bias=False), *norms(b)))
        self.up = nn.ModuleList()
        for a, b in ((256, 256), (512, 256), (512, 256), (512, 128), (256, 64)):
            self.up.append(nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), *norms(b)))
        self.last = nn.Sequential(nn.ConvTranspose2d(128, outputs, 4, 2, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Translate `x`."""
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        for up, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = torch.cat([up(x), skip], dim=1)
        translation: Tensor = self.last(x)
        return translation


def features(inputs: int) -> nn.Sequential:
    """Eight convolutions without bias, three of stride 2: patches (N, inputs, 64, 64) in -1..1 -> (N, 16384)."""
    return nn.Sequential(
        *(convolution(inputs, 32), convolution(32, 64), convolution(64, 128), halving(128, 128)),
        *(convolution(128, 256), halving(256, 256), convolution(256, 256), halving(256, 256)),
        nn.Flatten(),
    )


def convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Convolution 3x3, both norms and ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), *norms(outputs))


def halving(inputs: int, outputs: int) -> nn.Sequential:
    """Convolution 5x5 of stride 2, both norms and ReLU, padded by 1 above and left and 2 below and right, as in TF."""
    convolution = nn.Conv2d(inputs, outputs, 5, stride=2, bias=False)
    return nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), convolution, *norms(outputs))


def norms(channels: int) -> list[nn.Module]:
    """Batch norm, instance norm and ReLU."""
    return [nn.BatchNorm2d(channels, eps=EPS, momentum=MOMENTUM), InstanceNorm(channels), nn.ReLU()]


class InstanceNorm(nn.Module):
    """Each channel of each sample minus its mean, over sqrt(variance + eps), with a scale and a shift a channel.

    PyTorch's own refuses maps of one pixel in training mode. Statistics are taken in float32.
    """

    def __init__(self, channels: int, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` (N, C, H, W)."""
        var, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0, keepdim=True)
        return ((x - mean) * torch.rsqrt(var + self.eps) * self.weight + self.bias).to(x.dtype)
