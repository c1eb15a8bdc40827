"""The training loop: one linear function, resumable at any step.

Every random draw of a step comes from (seed, step), so a run that was interrupted, by whatever means, goes on from
its last checkpoint as if nothing had happened: on the CPU its weights end bit for bit as those of a run left alone.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tiepoint.errors import InputError
from tiepoint.files import locked, write_json
from tiepoint.models.device import choose_device
from tiepoint.models.weights import save_weights
from tiepoint.patches import PatchSet
from tiepoint.training import schedule, setup
from tiepoint.training.folder import Log, card, claim, epoch_folder, read_checkpoint, restore, save_checkpoint
from tiepoint.training.recipe import Recipe
from tiepoint.training.recipe_file import check
from tiepoint.training.trainer import Trainer
from tiepoint.version import __version__


@dataclass(frozen=True)
class Status:
    """What a progress display may show."""

    step: int
    steps: int
    rate: float  # pairs a second since the last report
    loss: float
    fpr95: float | None  # of the last validation


def train(recipe: Recipe, out: Path, report: Callable[[Status], None] = lambda status: None) -> dict[str, Any]:
    """Train a describer or a relater by `recipe` into the folder `out`, or go on with the run that is there.

    The folder holds recipe.yaml (resolved), run.json (versions, machine), log.jsonl, checkpoint.pt, and at the end
    model.safetensors with its card model.json and result.json; with recipe.keep also epochs/STEP of the same form. The
    weights of a relater are those of the pruned network, see `tiepoint.nets.relation.deploy`, and its card holds the
    temperature that calibrates it.

    Returns the result: steps, seconds, and the validation FPR95 of the weights kept. Raises InputError for a value out
    of range, data that cannot be used, a folder that holds another run or in which one is at work, or a loss that is
    not finite.
    """
    check(recipe)
    with locked(out):
        return _train(recipe, out, report)


def _train(recipe: Recipe, out: Path, report: Callable[[Status], None]) -> dict[str, Any]:
    device = choose_device(recipe.device)
    data = PatchSet.open(recipe.data, verify=True)
    sampler, validation_pairs = setup.split(recipe, data)
    run = Trainer(recipe, data, sampler, device, setup.perceptual(recipe, device))
    setup.start(run.net, recipe)
    validation = validation_pairs(run.size, device)
    claim(out, recipe, data, device)
    state = read_checkpoint(out / "checkpoint.pt", recipe)
    steps = state["steps"] if state else recipe.steps or run.calibrate(60 * (recipe.minutes or 0))
    run.begin(steps)
    start, elapsed, window, best = 0, 0.0, [0.0, 0], {"fpr95": 2.0, "step": 0}
    best_net: dict[str, Tensor] = {}
    if state:
        restore(run, state, out / "checkpoint.pt")
        start, elapsed, window, best, best_net = (state[k] for k in ("step", "elapsed", "window", "best", "best_net"))
    log = Log(out, state["log_bytes"] if state else 0, recipe.tensorboard)
    began = saved = reported = time.monotonic()

    def keep(done: int) -> None:
        progress = {"step": done, "steps": steps, "elapsed": elapsed + time.monotonic() - began, "window": window}
        kept = {"best": best, "best_net": best_net, "log_bytes": log.size()}
        save_checkpoint(out / "checkpoint.pt", {**run.state_dict(), **progress, **kept})

    if not state:
        keep(0)  # fixes the number of steps of a run in minutes
    reported_step, fpr95 = start, best["fpr95"] if best_net else None
    for step in range(start, steps):
        loss = run.step(step)
        if not math.isfinite(loss):
            raise InputError(f"loss is not finite at step {step + 1}: lower optimizer.lr or use precision fp32")
        window = [window[0] + loss, window[1] + 1]
        done, now = step + 1, time.monotonic()
        if done % recipe.log_every == 0 or done == steps:
            rate = (done - reported_step) * recipe.batch / max(now - reported, 1e-9)
            mean = float(window[0]) / window[1]
            log.write({"step": done, "loss": mean, "lr": run.lr, **run.statistics()})
            report(Status(done, steps, rate, mean, fpr95))
            window, reported, reported_step = [0.0, 0], now, done
        if schedule.is_due(done, steps, recipe.validation.every):
            fpr95 = validation.fpr95(run.net)
            log.write({"step": done, "validation_fpr95": fpr95})
            if recipe.keep:
                stated = {"selection": "last", "selected_step": done, "validation_fpr95": fpr95}
                path = epoch_folder(out, done, recipe.keep) / "model.safetensors"
                save_weights(path, setup.deployed(run.net, recipe), card(recipe, data, device, stated))
            if fpr95 <= best["fpr95"] or recipe.selection == "last":
                best = {"fpr95": fpr95, "step": done}
                best_net = {k: v.detach().clone() for k, v in run.net.state_dict().items()}
        if now - saved > recipe.checkpoint_seconds or done == steps:
            keep(done)
            saved = time.monotonic()
    log.close()
    run.net.load_state_dict(best_net)
    result = {
        "steps": steps,
        "batch": recipe.batch,
        "seconds": round(elapsed + time.monotonic() - began, 1),
        "selection": recipe.selection,
        "selected_step": best["step"],
        "validation_fpr95": best["fpr95"],
        "validation": validation.statement,
    }
    weights = {**card(recipe, data, device, result), **setup.calibration(run.net, recipe, validation)}
    write_json(out / "result.json", {"tiepoint": __version__, **result})
    save_weights(out / "model.safetensors", setup.deployed(run.net, recipe), weights)
    return result
