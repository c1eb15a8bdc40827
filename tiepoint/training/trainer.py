"""Network, loss and optimiser of a run, and its single step."""

import time
from typing import Any

import torch
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.data.augmentation import augment
from tiepoint.data.crop import central_crop
from tiepoint.data.pair_augmentation import augment_pairs
from tiepoint.data.sampling import Batch, Sampler
from tiepoint.nets.inputs import channels_for, floats, resize
from tiepoint.nets.relation import SLOTS
from tiepoint.patches import PatchSet
from tiepoint.training import schedule
from tiepoint.training.recipe import Recipe, build_loss, network_options

AUGMENTATION_STREAM, DROPOUT_STREAM, PAIR_STREAM = 1, 2, 3
CALIBRATION_STEPS = 12


class Trainer:
    """Network, loss and optimiser of a run: of a describer, or of a relater, which differ in what a loss looks at."""

    def __init__(
        self, recipe: Recipe, data: PatchSet, sampler: Sampler, device: torch.device, features: Any = None
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.data, self.sampler, self.device, self.features = recipe, data, sampler, device, features
        self.net = nets.create(recipe.network, **network_options(recipe)).to(device)
        if recipe.norm_momentum is not None:
            for module in self.net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = recipe.norm_momentum
        self.relates = recipe.network in nets.RELATERS
        self.size = int(self.net.input_size)  # type: ignore[arg-type]
        self.forward: nn.Module = self.net
        if schedule.should_compile(recipe.compile, device):
            self.forward = torch.compile(self.net)  # type: ignore[assignment]
        self.begin(1)

    def begin(self, steps: int) -> None:
        """Start the loss and the optimiser of a run of `steps` steps."""
        self.steps = steps
        self.loss = build_loss(self.recipe.loss, steps).to(self.device)
        if hasattr(self.loss, "features"):
            self.loss.features = self.features
        self.optimizer = schedule.make_optimizer(self.net, self.recipe.optimizer)

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
        batch = self.sampler(step)
        stored = floats(torch.from_numpy(self.data.patches[batch.rows]).to(self.device, non_blocking=True))
        first, second = (channels_for(stored[:, side], self.net, slot) for side, slot in enumerate(SLOTS))
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * schedule.factor(recipe.optimizer, progress)
        self.net.train()
        loss = (self._relation if self.relates else self._description)((first, second), batch, step, progress)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    def _description(self, pairs: tuple[Tensor, Tensor], batch: Batch, step: int, progress: float) -> Tensor:
        """Loss of the descriptors of matching pairs."""
        recipe = self.recipe
        if recipe.pair_augmentation.preset != "none":
            generator = schedule.generator(self.device, recipe.seed, step, PAIR_STREAM)
            pairs = augment_pairs(*pairs, recipe.pair_augmentation, generator)
        generator = schedule.generator(self.device, recipe.seed, step, AUGMENTATION_STREAM)
        stacked = torch.stack(pairs, dim=1)
        patches = augment(stacked, recipe.augmentation, self.data.margin, self.size, generator)
        torch.manual_seed(schedule.seed(recipe.seed, step, DROPOUT_STREAM))
        call = {"normalize": False} if self.loss.takes_unnormalized else {}
        # Two passes: batch norm sees each side by itself, as published.
        with self._precision():
            anchor, positive = (self.forward(side, **call) for side in patches)
        loss: Tensor = self.loss(anchor, positive, progress)
        return loss

    def _relation(self, pairs: tuple[Tensor, Tensor], batch: Batch, step: int, progress: float) -> Tensor:
        """Loss of the relations of labelled pairs."""
        generator = schedule.generator(self.device, self.recipe.seed, step, PAIR_STREAM)
        first, second = (central_crop(side, self.data.margin) for side in pairs)
        both = augment_pairs(first, second, self.recipe.pair_augmentation, generator)
        first, second = (resize(side, self.size) for side in both)
        labels = torch.from_numpy(batch.labels).to(self.device)
        torch.manual_seed(schedule.seed(self.recipe.seed, step, DROPOUT_STREAM))
        relate: Any = self.net.relate
        with self._precision():
            output = self.forward(first, second)
            loss: Tensor = self.loss(output, labels, (first, second), relate, progress)
        return loss

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def calibrate(self, seconds: float) -> int:
        """Steps that fit `seconds` of a machine with nothing else to do, from a few steps, whose effect is undone."""
        before = {k: v.clone() for k, v in self.net.state_dict().items()}
        for step in range(2 + CALIBRATION_STEPS):
            if step == 2:  # the first steps compile and fill caches
                began = self._clock()
            self.step(0)
        rate = CALIBRATION_STEPS / (self._clock() - began)
        self.net.load_state_dict(before)
        return max(1, round(seconds * rate))

    def _clock(self) -> float:
        """Seconds; on the CPU those that the threads computed, so that other work on the machine takes no steps."""
        return time.process_time() / torch.get_num_threads() if self.device.type == "cpu" else time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """All that a step depends on."""
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "loss": self.loss.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse. What the recipe says of the optimiser is not taken from the state.

        Raises ValueError, KeyError, TypeError or RuntimeError for the state of another run.
        """
        for held in (state["best_net"], state["net"]):
            if held:
                self.net.load_state_dict(held)
        own, held = self.optimizer.state_dict(), state["optimizer"]["state"]
        shapes, names = [p.shape for group in self.optimizer.param_groups for p in group["params"]], self._moments()
        for index, moments in held.items():
            if moments.keys() != names:
                raise ValueError("its optimiser is another")
            for value in moments.values():
                if value is not None and (value.shape not in (shapes[index], ())):
                    raise ValueError("its optimiser is of other weights")
        self.optimizer.load_state_dict({**own, "state": held})
        self.loss.load_state_dict(state["loss"])

    def _moments(self) -> set[str]:
        """What the optimiser keeps of each weight after a step."""
        weight = torch.zeros(1, requires_grad=True)
        weight.grad = torch.zeros(1)
        own = type(self.optimizer)([weight], **self.optimizer.defaults)
        own.step()
        return set(own.state[weight])
