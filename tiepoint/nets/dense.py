"""Describer networks evaluated on whole images: one descriptor for every window, by convolutions alone.

A patch network becomes fully convolutional when nothing in it depends on the patch as a whole. What does, the mean and
the power that normalise an input or a channel (z-normalisation, instance normalisation, FRN), is taken here over the
box around each point that is as wide as the patch. The boxes are means of cells, so that their cost does not grow with
their width: powers are averaged over the cells of the last map's grid, these over BOX_CELLS cells with half weight at
both ends, and every point takes the figure of its cell.

A descriptor then differs from that of the patch in two ways: inside there are neighbours where the patch has zeros
around it, and points off the centre are normalised by boxes of their own. Networks that are trained in this form have
no such difference.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.nets.blocks.layers import FRN
from tiepoint.nets.towers.hardnet8 import HardNet8
from tiepoint.nets.towers.hardnet_ps import HardNetPS
from tiepoint.nets.towers.l2net import L2Net
from tiepoint.nets.towers.sdgmnet import SDGMNet
from tiepoint.nets.towers.sosnet import SOSNet
from tiepoint.nets.towers.tfeat import TFeat

WINDOW_PX = 32  # side of the patch that one descriptor describes, px of the network's input
BOX_CELLS = 8


class Normalise(nn.Module):
    """Input minus its mean, over its standard deviation, in the box around each point."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps


class DenseForm(nn.Module):
    """A network as layers that see images; it shares the weights of `net`, and gradients flow to them.

    Images (N, 1, H, W), float in 0..1, to unit vectors (N, D, h, w), float32, and bool (N, 1, h, w): whether all pixels
    of a descriptor's window are valid, which no window is that reaches over the border. Descriptor (i, j) describes the
    rows i s to i s + 31 and the columns j s to j s + 31, s being `stride`; h = floor((H - 32) / s) + 1, w likewise.

    Attributes:
        layers: in their order, before the last normalisation.
        dimension: D.
        stride: rows and columns between descriptors, px of the input.
        project: what follows the unit vectors, or None.

    Raises:
        KeyError: a network without dense form; `FORMS` holds the others.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        layers, self.project = FORMS[type(net)](net)
        self.layers = nn.ModuleList(layers)
        self.dimension = int(net.dimension)  # type: ignore[arg-type]
        self.stride = 1
        for layer in layers:
            step = layer.stride if isinstance(layer, nn.Conv2d | nn.MaxPool2d) else 1
            self.stride *= step[0] if isinstance(step, tuple) else step

    def forward(self, images: Tensor, valid: Tensor | None = None, every: int = 1) -> tuple[Tensor, Tensor]:
        """Describe all windows of `images`, or of `every` rows and columns of them one.

        `valid` (N, 1, H, W) is 1 where a pixel is valid, 0 elsewhere. The layer that joins a window to one descriptor
        takes most of the time, so that fewer windows cost less.
        """
        height, width = images.shape[-2:]
        seen = torch.ones_like(images) if valid is None else valid.to(images)
        cell = WINDOW_PX // BOX_CELLS
        # To whole cells; torch.export reasons on sums and quotients of free sides, and not on negative remainders.
        below, beside = ((side + cell - 1) // cell * cell - side for side in (height, width))
        padding = (0, beside, 0, below)
        x, seen = F.pad(images * seen, padding), F.pad(seen, padding)
        shares = F.avg_pool2d(seen.float(), cell)
        stride = 1
        for layer in self.layers:
            if isinstance(layer, Normalise):
                mean = box_means(x, cell, shares)
                power = box_means(x.square(), cell, shares)
                spread = torch.sqrt((power - mean.square()).clamp(min=0)) + layer.eps
                x = per_cell(x, (1 / spread, -mean / spread), cell) * seen
            elif isinstance(layer, FRN):
                power = box_means(x.float().square(), cell // stride, shares)
                gain = layer.weight * torch.rsqrt(power + abs(layer.eps))
                x = per_cell(x, (gain,), cell // stride) + layer.bias.to(x.dtype)
            elif isinstance(layer, _Joining):
                x = layer(x, every)
            else:
                x = layer(x)
                if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
                    stride *= layer.stride[0] if isinstance(layer.stride, tuple) else layer.stride
        described = F.normalize(x.float(), dim=1)
        if self.project is not None:
            described = F.normalize(self.project(described), dim=1)
        step = self.stride * every
        whole = -F.max_pool2d(-seen, WINDOW_PX, step) > 0.5
        rows, columns = ((side - WINDOW_PX) // step + 1 for side in (height, width))
        return described[..., :rows, :columns], whole[..., :rows, :columns]


def box_means(x: Tensor, cell: int, shares: Tensor) -> Tensor:
    """Means of x (N, C, H, W) over boxes of BOX_CELLS cells, (N, C, H / cell, W / cell), float32.

    Args:
        x: zero where it is not valid; its sides are whole multiples of `cell`.
        cell: side of a cell.
        shares: (N, 1, H / cell, W / cell), share of each cell that is valid.
    """
    sums = _boxes(F.avg_pool2d(x.float(), cell) if cell > 1 else x.float())
    return sums / _boxes(shares).clamp(min=1e-6)


def _boxes(cells: Tensor) -> Tensor:
    """Means of BOX_CELLS cells around each, which are two boxes half a cell to either side; zero beyond the border."""
    half = F.avg_pool2d(F.pad(cells, (4, 4, 4, 4)), (BOX_CELLS, 1), stride=1)
    half = F.avg_pool2d(half, (1, BOX_CELLS), stride=1)
    return F.avg_pool2d(half, 2, stride=1)


def per_cell(x: Tensor, factors: Sequence[Tensor], cell: int) -> Tensor:
    """x (N, C, H, W) times the first factor, plus the second if there is one; each has one number a cell."""
    n, c, height, width = x.shape
    cells = x.reshape(n, c, height // cell, cell, width // cell, cell)
    result = cells * factors[0].to(x.dtype)[:, :, :, None, :, None]
    if len(factors) > 1:
        result = result + factors[1].to(x.dtype)[:, :, :, None, :, None]
    return result.reshape(x.shape)


def _flat(*parts: nn.Module) -> list[nn.Module]:
    """Layers in order, those of sequences too, without dropout; the one that joins a window's maps as such."""
    layers: list[nn.Module] = []
    for part in parts:
        if isinstance(part, nn.Sequential):
            layers.extend(_flat(*part))
        elif isinstance(part, nn.Conv2d) and part.kernel_size[0] == BOX_CELLS:
            layers.append(_Joining(part))
        elif not isinstance(part, nn.Dropout | nn.Identity):
            layers.append(part)
    return layers


class _Joining(nn.Module):
    """The layer that joins a window's maps, 8x8, to its descriptor: a convolution, or a linear layer as one."""

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, every: int) -> Tensor:
        weight = self.layer.weight.view(len(self.layer.weight), -1, BOX_CELLS, BOX_CELLS)
        return F.conv2d(x, weight, self.layer.bias, stride=every)


class _Projection(nn.Module):
    """HardNet8's principal components."""

    components: Tensor
    mean: Tensor

    def __init__(self, net: HardNet8) -> None:
        super().__init__()
        self.register_buffer("components", net.components, persistent=False)
        self.register_buffer("mean", net.mean, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,cd->ndhw", x - self.mean[:, None, None], self.components)


Form = tuple[list[nn.Module], nn.Module | None]


def _sdgmnet(net: Any) -> Form:
    return _flat(net.layer1, net.layer2, net.layer3, net.layer4, net.layer5, net.layer6, net.layer7), None


def _l2net(net: Any) -> Form:
    return [Normalise(1e-7), *_flat(net.features)], None


def _sosnet(net: Any) -> Form:
    _, *layers = net.layers
    return [Normalise(net.layers[0].eps ** 0.5), *_flat(*layers)], None


def _hardnet8(net: Any) -> Form:
    return _l2net(net)[0], _Projection(net) if net.projection else None


def _tfeat(net: Any) -> Form:
    _, *layers = net.features
    dense, last = net.descr
    return [Normalise(net.features[0].eps ** 0.5), *_flat(*layers), _Joining(dense), last], None


# Layers of a network in dense form, and what follows its unit vectors; open to networks of other packages.
FORMS: dict[type[nn.Module], Callable[[Any], Form]] = {
    HardNet8: _hardnet8,
    HardNetPS: _l2net,
    L2Net: _l2net,
    SDGMNet: _sdgmnet,
    SOSNet: _sosnet,
    TFeat: _tfeat,
}
