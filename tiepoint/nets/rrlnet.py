"""RRL-Net: relational representation learning across spectra."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from tiepoint.errors import InputError
from tiepoint.nets.aggregation import Aggregation
from tiepoint.nets.decoder import Decoder
from tiepoint.nets.fil import FIL, Interaction
from tiepoint.nets.heads import Head, ModuleHead
from tiepoint.nets.keras import initialise
from tiepoint.nets.light_encoder import LightEncoder
from tiepoint.nets.relation import Codes, Relation

WIDTHS = (16, 32, 64, 128, 256)  # channels of each scale, in an encoder
TRUNK = (32, 64, 128, 256, 512)  # and in the aggregation
STAGES = range(1, 6)


class RRLNet(nn.Module):
    """Auto-encoded features of each patch, their interaction at five scales, and what they differ in, gathered.

        vis -> encoder -> F1 .. F5 -> decoder -> vis again
                          |     |
                         FIL .. FIL   -> common features  -> module heads
                          |     |
        nir -> encoder -> F1 .. F5 -> decoder -> nir again
                          |     |
                         aggregation  -> stage heads, of which the last, "stage5", is the main one

    Patches (N, 1, 64, 64), float in 0..1. The two encoders share no weights, so vis and nir are not exchangeable.
    Codes are F1 .. F5: 126,976 numbers a patch. `aux_stages` are the stages that get a stage head and a module head
    for training: the released code has (3, 4, 5), the paper's figure (1, 2, 3, 4, 5).

    12,829,412 parameters, batch-norm statistics included, 9,404,025 after `tiepoint.nets.relation.deploy`.

    Source: RRL-Net, Information Fusion 2025, and its released code, but for the decoder's bilinear grid (see there).
    """

    input_size = 64
    training_only = ("decoders", "stage_heads", "module_heads")

    def __init__(self, aux_stages: Collection[int] = (3, 4, 5)) -> None:
        super().__init__()
        if not set(aux_stages) <= set(STAGES):
            raise InputError(f"aux_stages {list(aux_stages)}: stages are 1 to 5")
        helped = sorted(set(aux_stages), reverse=True)
        self.encoders = nn.ModuleDict({"vis": LightEncoder(WIDTHS), "nir": LightEncoder(WIDTHS)})
        self.interactions = nn.ModuleList(FIL(width) for width in WIDTHS)
        self.aggregation = Aggregation([2 * width for width in WIDTHS], TRUNK)
        self.head = Head(TRUNK[-1])
        self.stage_heads = nn.ModuleDict({str(s): Head(TRUNK[s - 1]) for s in helped if s < 5})
        self.module_heads = nn.ModuleDict({str(s): ModuleHead(WIDTHS[s - 1]) for s in helped})
        self.decoders = nn.ModuleDict({"vis": Decoder(WIDTHS[-1]), "nir": Decoder(WIDTHS[-1])})
        initialise(self)

    def forward(self, vis: Tensor, nir: Tensor) -> Relation | Tensor:
        """Relate `vis` and `nir`, each (N, 1, 64, 64): see `tiepoint.nets.relation.Relater`."""
        codes = self.encode(vis, "vis"), self.encode(nir, "nir")
        return self.relate_all(*codes) if self.training else self.relate(*codes)

    def encode(self, patches: Tensor, spectrum: str) -> Codes:
        """Encode `patches` (N, 1, 64, 64) of "vis" or "nir": F1 (N, 16, 64, 64) to F5 (N, 256, 4, 4)."""
        codes: Codes = self.encoders[spectrum](patches)
        return codes

    def relate(self, vis: Codes, nir: Codes) -> Tensor:
        """Give the main head's logit (N,) of N coded pairs."""
        _, stages = self._gather(vis, nir)
        logits: Tensor = self.head(stages[-1])
        return logits

    def relate_all(self, vis: Codes, nir: Codes) -> Relation:
        """Give the outputs of every head and decoder that is there, in either mode, of N coded pairs."""
        interactions, stages = self._gather(vis, nir)
        logits = {"stage5": self.head(stages[-1])}
        logits |= {f"stage{s}": head(stages[int(s) - 1]) for s, head in self.stage_heads.items()}
        logits |= {f"module{s}": head(interactions[int(s) - 1].common) for s, head in self.module_heads.items()}
        codes = {"vis": vis, "nir": nir}
        return Relation(logits, tuple(decoder(codes[spectrum][-1]) for spectrum, decoder in self.decoders.items()))

    def _gather(self, vis: Codes, nir: Codes) -> tuple[list[Interaction], tuple[Tensor, ...]]:
        """Interactions of every scale, and the aggregation's stages."""
        interactions = [fil(a, b) for fil, a, b in zip(self.interactions, vis, nir, strict=True)]
        return interactions, self.aggregation([interaction.private for interaction in interactions])
