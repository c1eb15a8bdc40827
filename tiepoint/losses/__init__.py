"""Losses by name: two plain dicts are the registry.

Every loss of `LOSSES` trains describers: a module that takes two (n, D) tensors of which rows match, and the share of
the run that is done. Where its `takes_unnormalized` is True it takes the network's output before the L2 normalisation,
else unit vectors.

Every loss of `RELATION_LOSSES` trains relaters: a module that takes what the network returned in training mode, the
labels (N,) 1 or 0, the patches of both slots that the network saw, the network's `relate`, and the share of the run
that is done. Where its `matching_only` is True all labels must be 1, and it finds its non-matches in the batch.
"""

import functools
import inspect
import typing
from typing import Any, NamedTuple

from torch import nn

from tiepoint.errors import InputError
from tiepoint.losses.all_negatives.average_precision import AveragePrecision
from tiepoint.losses.all_negatives.log_sum_exp import Angular, Circle, GeneralizedLifted, InfoNCE, MultiSimilarity
from tiepoint.losses.global_loss import GlobalLoss
from tiepoint.losses.l2net import L2NetLoss
from tiepoint.losses.relational.guided import GuidedLoss
from tiepoint.losses.relational.relation import MultiLoss
from tiepoint.losses.relational.soft_pn import SoftPN
from tiepoint.losses.relational.translation import TranslationLoss
from tiepoint.losses.sdgm import SDGM
from tiepoint.losses.soft_margin import SoftMargin
from tiepoint.losses.tfeat import TFeatLoss
from tiepoint.losses.triplet import RobustAngular, Triplet

__all__ = [
    "LOSSES", "RELATION_LOSSES", "SDGM", "Angular", "AveragePrecision", "Circle", "GeneralizedLifted", "GlobalLoss",
    "GuidedLoss", "InfoNCE", "L2NetLoss", "MultiLoss", "MultiSimilarity", "RobustAngular", "SoftMargin", "SoftPN",
    "TFeatLoss", "TranslationLoss", "Triplet", "create", "names", "options", "relation_names",
]  # fmt: skip


class Preset(NamedTuple):
    """A loss and the options in which a published system differs from its defaults."""

    loss: type[nn.Module]
    options: dict[str, Any] = {}  # noqa: RUF012


HARDNET = {"measure": "l2", "margin": 1.0, "candidates": "cross", "reduction": "mean", "eps": 1e-6}
SUMS = {"candidates": "all", "reduction": "sum", "eps": 0.0}
LOSSES: dict[str, Preset] = {
    "sdgm": Preset(SDGM),
    "triplet": Preset(Triplet),
    "hardnet": Preset(Triplet, {**HARDNET, "form": "hinge"}),
    "hardnet-softmin": Preset(Triplet, {**HARDNET, "form": "softmin"}),
    "hardnet-contrastive": Preset(Triplet, {**HARDNET, "form": "contrastive"}),
    "hardnet-gor": Preset(Triplet, {**HARDNET, "form": "hinge", "spread_out": 1.0}),
    "l2net": Preset(L2NetLoss, {"correlation": 1.0}),
    "sosnet": Preset(Triplet, {**SUMS, "form": "squared_hinge", "margin": 1.0, "second_order": 1.0}),
    "hynet": Preset(Triplet, {**SUMS, "measure": "hybrid", "form": "hinge", "margin": 1.2, "alpha": 2.0, "norm": 0.1}),
    "soft-margin": Preset(SoftMargin),
    "tfeat-margin": Preset(TFeatLoss, {"swap": False}),
    "tfeat-margin-star": Preset(TFeatLoss),
    "tfeat-ratio-star": Preset(TFeatLoss, {"form": "ratio"}),
    "global": Preset(GlobalLoss),
    "global-triplet": Preset(GlobalLoss, {"triplet": 1.0}),
    "doap": Preset(AveragePrecision),
    "fastap": Preset(AveragePrecision, {"form": "fastap", "bins": 10}),
    "ral-net": Preset(RobustAngular),
    "lifted": Preset(GeneralizedLifted, {"squared": True}),
    "generalized-lifted": Preset(GeneralizedLifted),
    "multi-similarity": Preset(MultiSimilarity, {"mining": True}),
    "circle": Preset(Circle),
    "circle-tfmatch": Preset(Circle, {"gamma": 512.0, "margin": 0.1, "divide": True, "candidates": "cross"}),
    "angular": Preset(Angular),
    "info-nce": Preset(InfoNCE),
    "nt-xent": Preset(InfoNCE, {"candidates": "all"}),
    "n-pair": Preset(InfoNCE, {"temperature": 1.0}),
}
# Named by what they are or by the network that they are of.
RELATION_LOSSES: dict[str, Preset] = {
    "bce": Preset(MultiLoss, {"reconstruction": 0.0}),
    "hinge": Preset(MultiLoss, {"form": "hinge", "reconstruction": 0.0}),
    "rrlnet": Preset(MultiLoss),
    "kglnet": Preset(GuidedLoss),
    "pnnet": Preset(SoftPN),
    "qnet": Preset(SoftPN, {"form": "quadruplet"}),
    "spimnet": Preset(TranslationLoss),
}


def names() -> list[str]:
    """Names of the losses of describers; `create` takes those of `relation_names` too."""
    return sorted(LOSSES)


def relation_names() -> list[str]:
    """Names of the losses of relaters."""
    return sorted(RELATION_LOSSES)


def create(name: str, **options: Any) -> nn.Module:
    """Make a loss: its preset with `options` in place of what they name.

    Raises InputError for a name that is not there, ValueError for a value out of range, TypeError for another option.
    """
    preset = _preset(name)
    return preset.loss(**{**preset.options, **options})


@functools.cache
def options(name: str) -> list[tuple[str, Any, Any]]:
    """Options of a loss as (name, type, default of the preset). Raises InputError for a name that is not there."""
    preset = _preset(name)
    types = typing.get_type_hints(preset.loss.__init__)
    defaults = {k: v.default for k, v in inspect.signature(preset.loss).parameters.items()} | preset.options
    return [(key, types[key], default) for key, default in defaults.items()]


def _preset(name: str) -> Preset:
    presets = LOSSES | RELATION_LOSSES
    if name not in presets:
        raise InputError(f"no loss {name!r}: there are {', '.join([*names(), *relation_names()])}")
    return presets[name]
