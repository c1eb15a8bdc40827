"""Frozen networks whose features say how alike two images look: the perceptual terms of losses compare these.

Each maps patches to maps of features. Its weights need no gradient, and the gradient flows through it to the patches.
"""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from tiepoint.errors import InputError, reason
from tiepoint.nets.checkpoints import below_prefix, read_torch
from tiepoint.nets.inputs import check_shape, resize
from tiepoint.nets.towers.sdgmnet import SDGMNet

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels and convolutions of VGG-19's blocks


class VGG19Features(nn.Module):
    """VGG-19 up to block5_conv4 after its ReLU: (N, 1 or 3, S, S) -> (N, 512, S / 16, S / 16), S at least 16.

    One channel is repeated to three. 20,024,384 parameters, read from `path`: a state dict in torchvision's layout
    (features.0.weight to features.34.bias; other keys are ignored), a torch or .safetensors file. Raises InputError for
    one that cannot be read or does not hold VGG-19.

    Patches enter as they are, as in RRL-Net and SPIMNet, and the papers' weights of the perceptual terms belong to
    that. Their VGG-19 comes from Keras, though, and was made for 0..255 minus a mean, torchvision's for inputs of
    deviation 1: the features here have another scale than theirs.

    Source: Simonyan and Zisserman, Very deep convolutional networks, ICLR 2015, configuration E.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        with torch.device("meta"):  # takes no time for fresh weights
            self.features = _vgg19()
        _, state = below_prefix(_read(Path(path)), ["features.34.weight"], str(path))
        for key, own in self.state_dict().items():
            fault = "missing" if key not in state else f"{tuple(state[key].shape)}, not {tuple(own.shape)}"
            if key not in state or state[key].shape != own.shape:
                raise InputError(f"{path}: no weights of VGG-19 in torchvision's layout ({key} is {fault})")
        self.load_state_dict({key: state[key].float() for key in self.state_dict()}, assign=True)
        self.eval().requires_grad_(False)

    def forward(self, patches: Tensor) -> Tensor:
        """Maps (N, 512, S / 16, S / 16), all >= 0, of `patches` (N, 1 or 3, S, S). Raises InputError for others."""
        if patches.ndim != 4 or patches.shape[1] not in (1, 3) or min(patches.shape[2:]) < 16:
            raise InputError(f"patches {tuple(patches.shape)}: VGG-19 takes (N, 1 or 3, S, S) with S >= 16")
        maps: Tensor = self.features(patches.expand(-1, 3, -1, -1))
        return maps


class SDGMNetFeatures(nn.Module):
    """What SDGMNet's last convolution sees: (N, 1, S, S) in 0..1, reduced to 32x32 first -> (N, 128, 8, 8).

    Features for where VGG-19 does not fit: of patches, in one channel, 287,779 parameters. `net` is copied.
    """

    def __init__(self, net: SDGMNet) -> None:
        super().__init__()
        layers = (net.layer1, net.layer2, net.layer3, net.layer4, net.layer5, net.layer6)
        self.layers = copy.deepcopy(nn.Sequential(*layers))
        self.eval().requires_grad_(False)

    def forward(self, patches: Tensor) -> Tensor:
        """Maps (N, 128, 8, 8) of `patches` (N, 1, S, S), float in 0..1. Raises InputError for other shapes."""
        check_shape(patches, "SDGMNetFeatures")
        maps: Tensor = self.layers(resize(patches, SDGMNet.input_size))
        return maps


def _vgg19() -> nn.Sequential:
    """Convolutions 3x3 and ReLU, with a pooling between two blocks, numbered as in torchvision."""
    layers: list[nn.Module] = []
    inputs = 3
    for channels, count in BLOCKS:
        layers += [nn.MaxPool2d(2)] if layers else []
        for _ in range(count):
            layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.ReLU(inplace=True)]
            inputs = channels
    return nn.Sequential(*layers)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        return read_torch(path)
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from None
