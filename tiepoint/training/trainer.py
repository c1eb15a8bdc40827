"""Network, loss and optimiser of a run, and its single step."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.data.augmentation import augment
from tiepoint.data.sampling import PairSampler
from tiepoint.patches import PatchSet
from tiepoint.training import schedule
from tiepoint.training.recipe import Recipe, build_loss

AUGMENTATION_STREAM, DROPOUT_STREAM, CALIBRATION_STEPS = 1, 2, 12


class Trainer:
    """Network, loss and optimiser of a run."""

    def __init__(self, recipe: Recipe, data: PatchSet, sampler: PairSampler, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.data, self.sampler, self.device = recipe, data, sampler, device
        self.net = nets.create(recipe.network, dropout=recipe.dropout).to(device)
        self.size = int(self.net.input_size)  # type: ignore[arg-type]
        self.forward: nn.Module = self.net
        if schedule.should_compile(recipe.compile, device):
            self.forward = torch.compile(self.net)  # type: ignore[assignment]
        self.begin(1)

    def begin(self, steps: int) -> None:
        """Start the loss and the optimiser of a run of `steps` steps."""
        recipe, self.steps = self.recipe, steps
        self.loss = build_loss(recipe.loss, steps).to(self.device)
        self.call = {"normalize": False} if self.loss.raw else {}
        parameters = self.net.parameters()
        self.optimizer: torch.optim.Optimizer
        if recipe.optimizer.name == "sgd":
            o = recipe.optimizer
            self.optimizer = torch.optim.SGD(parameters, o.lr, o.momentum, o.dampening, o.weight_decay)
        else:
            self.optimizer = torch.optim.Adam(
                parameters, lr=recipe.optimizer.lr, weight_decay=recipe.optimizer.weight_decay
            )

    @property
    def lr(self) -> float:
        """Learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def statistics(self) -> dict[str, list[float]]:
        """The running statistics of the loss, for the log."""
        return {name: value.tolist() for name, value in self.loss.named_buffers() if name == "statistics"}

    def step(self, step: int) -> float:
        """One optimiser step; return the loss."""
        recipe, progress = self.recipe, step / self.steps
        rows = self.sampler(step)
        pairs = torch.from_numpy(self.data.patches[rows]).to(self.device, non_blocking=True)
        generator = schedule.generator(self.device, recipe.seed, step, AUGMENTATION_STREAM)
        patches = augment(pairs, recipe.augmentation, self.data.margin, self.size, generator)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.optimizer.lr * schedule.factor(recipe.optimizer, progress)
        torch.manual_seed(schedule.seed(recipe.seed, step, DROPOUT_STREAM))
        self.net.train()
        # Two passes: batch norm sees each side by itself, as published.
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=recipe.precision == "bf16"):
            anchor, positive = (self.forward(side, **self.call) for side in patches)
        loss: Tensor = self.loss(anchor, positive, progress)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    def calibrate(self, seconds: float) -> int:
        """Steps that fit `seconds`, from the time of a few, whose effect is undone."""
        before = {k: v.clone() for k, v in self.net.state_dict().items()}
        for step in range(2 + CALIBRATION_STEPS):
            if step == 2:  # the first steps compile and fill caches
                began = time.monotonic()
            self.step(0)
        rate = CALIBRATION_STEPS / (time.monotonic() - began)
        self.net.load_state_dict(before)
        return max(1, round(seconds * rate))

    def state_dict(self) -> dict[str, Any]:
        """All that a step depends on."""
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "loss": self.loss.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loss.load_state_dict(state["loss"])
