"""Recipes of short runs across two spectra, and what tests look at in them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tiepoint.data.pair_augmentation import PairAugmentation
from tiepoint.patches import PatchSet
from tiepoint.training import setup
from tiepoint.training.recipe import Optimizer, Recipe, Validation, loss_options
from tiepoint.training.trainer import Trainer

CPU = torch.device("cpu")
LOSS_OF = {
    "2channel": "hinge", "kglnet": "kglnet", "pnnet": "pnnet", "rrlnet": "rrlnet", "siamese": "bce",
}  # fmt: skip


def recipe_for(data: PatchSet, network: str = "pnnet", **changes: Any) -> Recipe:
    loss = loss_options(LOSS_OF.get(network, "hardnet"))()
    base = Recipe(
        data=str(data.directory), network=network, loss=loss, steps=3, batch=4, compile="off", checkpoint_seconds=0.0,
        log_every=1, perceptual="none", optimizer=Optimizer("adam", 1e-3, weight_decay=0.0),
        pair_augmentation=PairAugmentation("published"), validation=Validation(fraction=0.25, every=0.5, pairs=10),
    )  # fmt: skip
    return replace(base, **changes)


def trainer(recipe: Recipe, data: PatchSet) -> Trainer:
    run = Trainer(recipe, data, setup.split(recipe, data)[0], CPU, setup.perceptual(recipe, CPU))
    run.begin(recipe.steps or 1)
    return run


def card_of(run: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((run / "model.json").read_text())
    return card


def spy_on_loss(run: Trainer) -> list[tuple[Any, Tensor, tuple[Tensor, Tensor]]]:
    """What the loss will be given: output, labels, patches."""
    seen: list[tuple[Any, Tensor, tuple[Tensor, Tensor]]] = []
    inner = run.loss

    class Spy(nn.Module):
        takes_unnormalized = False

        def forward(self, output: Any, labels: Tensor, patches: Any, *others: Any) -> Tensor:
            seen.append((output, labels, patches))
            value: Tensor = inner(output, labels, patches, *others)
            return value

    run.loss = Spy()
    return seen
