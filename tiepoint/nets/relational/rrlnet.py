"""RRL-Net: relational representation learning across spectra."""

from collections.abc import Collection, Sequence
from itertools import pairwise

from torch import Tensor, nn

from tiepoint.nets.blocks.interaction import InteractionNetwork
from tiepoint.nets.blocks.keras import conv_norm, initialise
from tiepoint.nets.blocks.mgla import MGLA
from tiepoint.nets.relation import KEYS, Codes, MultiLossRelater, Relation, scales

WIDTHS = (16, 32, 64, 128, 256)  # channels of each scale, in an encoder
TRUNK = (32, 64, 128, 256, 512)  # and in the aggregation


class RRLNet(MultiLossRelater):
    """Auto-encoded features of each patch, their interaction at five scales, and what they differ in, gathered.

        vis -> encoder -> F1 .. F5 -> decoder -> vis again
                          |     |
                         FIL .. FIL   -> common features  -> module heads
                          |     |
        nir -> encoder -> F1 .. F5 -> decoder -> nir again
                          |     |
                         aggregation  -> stage heads, of which the last, "stage5", is the main one

    Patches (N, 1, 64, 64), float in 0..1. The two encoders share no weights, so the slots are not exchangeable.
    Codes are F1 .. F5: 126,976 numbers a patch. `aux_stages` are the stages that get a stage head and a module head
    for training: the released code has (3, 4, 5), the paper's figure (1, 2, 3, 4, 5). Raises InputError for others.
    `attention` False leaves MGLA out of encoders and decoders, an ablation.

    12,829,412 parameters, batch-norm statistics included, 9,404,025 after `tiepoint.nets.relation.deploy`.

    Source: RRL-Net, Information Fusion 2025, and its released code, but for the decoder's bilinear grid (see there).
    """

    training_only = ("decoders", "interaction.stage_heads", "interaction.module_heads")
    trunk = "interaction.aggregation"  # most of the work, and the part that suffers least from rounding

    def __init__(self, aux_stages: Collection[int] = (3, 4, 5), attention: bool = True) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({name: LightEncoder(attention) for name in ("vis", "nir")})
        self.interaction = InteractionNetwork(WIDTHS, TRUNK, aux_stages)
        self.decoders = nn.ModuleDict({name: Decoder(WIDTHS[-1], attention=attention) for name in ("vis", "nir")})
        initialise(self)

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Encode `patches` (N, 1, 64, 64) of the slot "first" or "second": F1 (N, 16, 64, 64) to F5 (N, 256, 4, 4)."""
        codes: Codes = self.encoders[KEYS[slot]](patches)
        return codes

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Give the main head's logit (N,) of N coded pairs."""
        logits: Tensor = self.interaction(first, second)
        return logits

    def relate_all(self, first: Codes, second: Codes) -> Relation:
        """Give the outputs of every head and decoder that is there, in either mode, of N coded pairs."""
        codes = {"vis": first, "nir": second}
        patches = tuple(decoder(codes[key][-1]) for key, decoder in self.decoders.items())
        return Relation(self.interaction.all_logits(first, second), patches)


class LightEncoder(nn.Module):
    """One convolution a scale: 3x3 convolution, batch norm, LeakyReLU, 2x2 maximum pooling (not in the first), MGLA.

    Patches (N, 1, 64, 64) to features (N, WIDTHS[s], 64 / 2^s, 64 / 2^s) of each scale s, each made from the one
    before. 394,364 parameters, batch-norm statistics included. `attention` False leaves MGLA out.
    """

    def __init__(self, attention: bool = True) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for scale, (before, width) in enumerate(pairwise((1, *WIDTHS))):
            pooling = [nn.MaxPool2d(2)] if scale else []
            gates = [MGLA(width, 64 >> scale, 64 >> scale)] if attention else []
            self.stages.append(nn.Sequential(conv_norm(before, width), *pooling, *gates))

    def forward(self, patches: Tensor) -> tuple[Tensor, ...]:
        """Give the features of every scale of `patches` (N, 1, 64, 64), the finest first."""
        return scales(self.stages, patches)


class Decoder(nn.Module):
    """Per scale 3x3 convolution, batch norm, LeakyReLU, bilinear doubling, MGLA; last a 3x3 convolution and sigmoid.

    Features (N, channels, size, size) to a patch (N, 1, S, S) in 0..1 with S = size * 2^len(widths). 393,075
    parameters by default, batch-norm statistics included. Only training needs it. `attention` False leaves MGLA out.

    Source: RRL-Net, Information Fusion 2025. The doubling takes half-pixel centres (0.25, 0.75); the TensorFlow 1
    of the release sampled at 0 and 0.5, which shifts its reconstructions by a quarter pixel and is not followed.
    """

    def __init__(
        self, channels: int = 256, widths: Sequence[int] = (128, 64, 32, 16), size: int = 4, attention: bool = True
    ) -> None:
        super().__init__()
        self.stages = nn.Sequential()
        for before, width in pairwise((channels, *widths)):
            size *= 2
            doubling = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            gates = [MGLA(width, size, size)] if attention else []
            self.stages.append(nn.Sequential(conv_norm(before, width), doubling, *gates))
        self.last = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruct the patch (N, 1, S, S) of `features` (N, channels, size, size), in float32."""
        patch: Tensor = self.last(self.stages(features))
        return patch.float().sigmoid()
