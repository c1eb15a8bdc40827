"""SPIMNet without most of its weights: its judge alone has 100 million, which take seconds to fill and to copy."""

from __future__ import annotations

from torch import nn

from tiepoint.nets.relational.spimnet import SPIMNet


class LightSPIMNet(SPIMNet):
    """With a judge of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = nn.Sequential(nn.Linear(6 * 256 * 8 * 8, 1))
