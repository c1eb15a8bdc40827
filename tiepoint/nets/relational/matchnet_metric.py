"""MatchNet whole: its feature tower and the metric network that the paper compares features with."""

import torch
from torch import Tensor, nn

from tiepoint.nets.relation import Codes, MultiLossRelater
from tiepoint.nets.towers.matchnet import MatchNet


class MatchNetMetric(MultiLossRelater):
    """MatchNet's tower describes both patches, and three dense layers judge the features beside each other.

    233,456 + 9,441,282 = 9,674,738 parameters. The tower is `tiepoint.nets.towers.matchnet.MatchNet` without
    bottleneck, as in the released network definition, its output not normalised. The softmax of two classes is returned
    as the difference of their logits, match minus no match. Weights start as PyTorch's do (the release trains in
    Caffe).

    Source: Han et al., MatchNet, CVPR 2015, table 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tower = MatchNet()
        self.metric = nn.Sequential(
            nn.Linear(2 * self.tower.dimension, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 2)
        )

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Patches (N, 1, 64, 64), float in 0..1 -> the feature (N, 4096); both spectra are treated alike."""
        return (self.tower(patches, normalize=False),)

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Features of N first and N second patches -> match logit (N,)."""
        classes: Tensor = self.metric(torch.cat([*first, *second], dim=1)).float()
        return classes[:, 1] - classes[:, 0]
