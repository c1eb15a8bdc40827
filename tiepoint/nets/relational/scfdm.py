"""SCFDM: spatially connected features of both patches, compared in two ways."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.nets.blocks.keras import conv_norm, initialise
from tiepoint.nets.relation import Codes, MultiLossRelater, Relation


class SCFDM(MultiLossRelater):
    """One convolutional trunk on the two patches side by side, vis on the left, then split into halves again.

        [vis | nir] (64 x 128) -> trunk -> [F_vis | F_nir]
            |F_vis - F_nir| -> dense layers -> softmax of two classes     main head, "difference"
            maxima of F_vis, F_nir over space -> cosine s -> (s + 1) / 2  training only, "cosine"

    So the patches share weights, and features near the seam see both. Nothing can be computed for one patch alone:
    the codes are the patches. 6,471,554 parameters, batch-norm statistics included; the head for training has none.
    The softmax is returned as the difference of its logits.

    Source: Quan et al., Cross-spectral image patch matching by learning features of the spatially connected patches
    in a shared space, ACCV 2018, in the layers that the authors of RRL-Net released for their comparison.
    """

    training_only = ("auxiliary_heads",)

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *(conv_norm(1, 64, activation=nn.ReLU()), nn.MaxPool2d(2)),
            *(conv_norm(64, 128, activation=nn.ReLU()), nn.MaxPool2d(2)),
            *(conv_norm(128, 256, activation=nn.ReLU()), conv_norm(256, 256, activation=nn.ReLU()), nn.MaxPool2d(2)),
            *(conv_norm(256, 256, activation=nn.ReLU()), conv_norm(256, 256, activation=nn.ReLU()), nn.MaxPool2d(2)),
        )
        self.head = nn.Sequential(
            *(nn.Flatten(), nn.Linear(256 * 4 * 4, 1024), nn.ReLU()),
            *(nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 2)),
        )
        self.auxiliary_heads = nn.ModuleDict({"cosine": Cosine()})
        initialise(self)

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Give back `patches` (N, 1, 64, 64), float in 0..1."""
        return (patches,)

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Give the main head's logit (N,) of N pairs."""
        return self._judge(*self._features(first, second))

    def relate_all(self, first: Codes, second: Codes) -> Relation:
        """Give the outputs of every head that is there, in either mode, of N pairs."""
        features = self._features(first, second)
        others = {name: head(*features) for name, head in self.auxiliary_heads.items()}
        return Relation({"difference": self._judge(*features)} | others)

    def _features(self, first: Codes, second: Codes) -> tuple[Tensor, Tensor]:
        """Features (N, 256, 4, 4) of the first and of the second, from the joint image."""
        left, right = self.trunk(torch.cat([*first, *second], dim=3)).chunk(2, dim=3)
        return left, right

    def _judge(self, first: Tensor, second: Tensor) -> Tensor:
        classes: Tensor = self.head((first - second).abs()).float()
        return classes[:, 1] - classes[:, 0]


class Cosine(nn.Module):
    """The logit of p = (s + 1) / 2, s the cosine of two features' maxima over space, p at least 1e-7 from 0 and 1."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Compare features (N, C, H, W): logits (N,)."""
        cosine = F.cosine_similarity(first.float().amax(dim=(2, 3)), second.float().amax(dim=(2, 3)))
        logits: Tensor = torch.logit((cosine + 1) / 2, eps=1e-7)
        return logits
