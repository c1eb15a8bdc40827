"""`tiepoint train`: a run by a recipe."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from tiepoint.cli.output import LOG, emit, note, progress_bar
from tiepoint.cli.parse import parse
from tiepoint.errors import InputError
from tiepoint.training.recipe import Recipe, loss_options
from tiepoint.training.recipe_file import OPEN, load_recipe, recipe_names, with_key

EXAMPLES = {
    "hardnet --data patches --minutes 60 --out runs/mine": "Train HardNet for an hour on one's own patches.",
    "scenes/sdgmnet --data patches --steps 1000 --optimizer.lr 0.1": "Change keys of a recipe.",
}


@dataclass
class Options:
    """Train a network by RECIPE, or go on with the run in the folder. Any key of the recipe can be changed.

    RECIPE is a YAML file, or the name of a recipe that comes with tiepoint, such as hardnet or scenes/hardnet.

    Keys of the network's options and of the submodules' rates may be new: --options.KEY VALUE, --optimizer.rates.KEY
    VALUE, the value as YAML.
    """

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    out: Path | None = None
    """Folder of the run (default: runs/NAME-OF-RECIPE)."""
    json: bool = False
    """print one JSON object, rates as fractions"""


def run_words(prog: str, arguments: Sequence[str]) -> int:
    """Parse the command line, with the recipe's values as defaults, and train."""
    words = list(arguments)
    name = words.pop(0) if words and not words[0].startswith("-") else None
    recipe = load_recipe(name) if name else Recipe()
    if "--loss.name" in words[:-1]:  # another loss has other options
        recipe = replace(recipe, loss=loss_options(words[words.index("--loss.name") + 1])())
    for given, other in (("--minutes", "--steps"), ("--steps", "--minutes")):
        if given in words and other not in words:
            words += [other, "None"]
    recipe, words = _take_tables(recipe, words)
    options = parse(Options, f"{prog} RECIPE", words, EXAMPLES, default=Options(recipe))
    if name is None:
        shipped = ", ".join(recipe_names())
        raise InputError(f"name a recipe, {prog} RECIPE [--key value ...]: a file, or one of {shipped}")
    return _train(options, options.out or Path("runs") / Path(name).stem)


def _take_tables(recipe: Recipe, words: Sequence[str]) -> tuple[Recipe, list[str]]:
    """The recipe with the keys of open tables among the words, of which a parser knows none, and the other words."""
    rest: list[str] = []
    given = iter(words)
    for word in given:
        key, equals, text = word.removeprefix("--").partition("=")
        if not (word.startswith("--") and key.startswith(OPEN)):
            rest.append(word)
            continue
        text = text if equals else next(given, "")
        if not text or text.startswith("--"):
            raise InputError(f"--{key}: give a value")
        recipe = with_key(recipe, key, text)
    return recipe, rest


def _train(options: Options, out: Path) -> int:
    from tiepoint.training.loop import Status, train

    with progress_bar("training") as advance:

        def report(status: Status) -> None:
            fpr95 = "-" if status.fpr95 is None else f"{100 * status.fpr95:.2f} %"
            text = f"{status.rate:,.0f} pairs/s  loss {status.loss:.4f}  FPR95 {fpr95}"
            advance(status.step, status.steps, text)
            if not sys.stderr.isatty():
                LOG.info("step %d/%d  %s", status.step, status.steps, text)

        result = train(options.recipe, out, report)
    if not options.json:
        result["validation_fpr95"] = f"{100 * result['validation_fpr95']:.2f} %"
    emit({"directory": str(out), **result}, options.json, title=f"run {out}")
    note(out, then=f"give {out} to --describer, --relater or --model, or run the command again to go on")
    return 0
