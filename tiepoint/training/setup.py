"""What a run has besides its trainer: data split and sampled, features of the loss, first weights, calibration."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from tiepoint import nets
from tiepoint.data.labelled_pairs import is_cross, split_scenes
from tiepoint.data.sampling import CrossSampler, PairSampler, Sampler, split_points
from tiepoint.errors import InputError
from tiepoint.evaluation.calibration import expected_calibration_error, fit_temperature, sigmoid
from tiepoint.models.weights import TORCH_FILES, WEIGHTS, read_weights, weights_path
from tiepoint.nets.blocks.perceptual import SDGMNetFeatures, VGG19Features
from tiepoint.nets.checkpoints import load_checkpoint, read_torch
from tiepoint.nets.relation import deploy
from tiepoint.nets.towers.sdgmnet import SDGMNet
from tiepoint.patches import PatchSet
from tiepoint.training.recipe import Recipe, build_loss
from tiepoint.training.validation import CrossSpectralValidation, PointValidation
from tiepoint.types import Rows

AnyValidation = PointValidation | CrossSpectralValidation
Validator = Callable[[int, torch.device], AnyValidation]


def split(recipe: Recipe, data: PatchSet) -> tuple[Sampler, Validator]:
    """The sampler of the training pairs, and what makes the validation pairs, given the network's input size.

    A set of two spectra is split by scenes, or by points if the recipe says so, and its pairs go across.
    Raises InputError where the data do not suffice, or a network that relates gets a set of one spectrum.
    """
    relates = recipe.network in nets.RELATERS
    settings, seed = recipe.validation, recipe.seed
    if not is_cross(data):
        if relates:
            fault = f"the spectrum {data.manifest['spectra'][0]} alone, and {recipe.network} relates patches of two"
            raise InputError(f"{data.directory}: has {fault}: build a set with `tiepoint data aligned`")
        if settings.test_data:
            raise InputError("recipe key validation.test_data: the selection `paper` is for sets across two spectra")
        used, held = split_points(data.points, settings.fraction, seed)
        sampler = PairSampler(data.points, recipe.batch, seed, used)
        return sampler, lambda size, device: PointValidation(recipe, data, held, size, device)
    training: Rows | None = None
    held_rows: Rows | None = None
    tested = data
    if settings.test_data:
        tested = PatchSet.open(settings.test_data, verify=True)
        if tested.manifest["spectra"] != data.manifest["spectra"]:
            spectra, wanted = (" and ".join(each.manifest["spectra"]) for each in (tested, data))
            raise InputError(f"{tested.directory}: test data of the spectra {spectra}, but the run's are {wanted}")
    elif settings.by == "points":
        training, held_rows = split_points(data.points, settings.fraction, seed)
    else:
        training, held_rows = split_scenes(data, settings.fraction, seed)
    nonmatches = relates and not build_loss(recipe.loss, 1).matching_only
    across = CrossSampler(data, recipe.batch, seed, training, nonmatches)
    return across, lambda size, device: CrossSpectralValidation(recipe, tested, held_rows, size, device)


def perceptual(recipe: Recipe, device: torch.device) -> nn.Module | None:
    """The features by which the recipe's loss compares reconstructions; None if it compares none or by pixels alone."""
    loss = recipe.loss
    weight = getattr(loss, "reconstruction", 1.0) * getattr(loss, "perceptual", 0.0)
    if not weight or recipe.perceptual == "none":
        return None
    features: nn.Module
    if recipe.perceptual == "sdgmnet":
        features = SDGMNetFeatures(cast(SDGMNet, read_weights(WEIGHTS / "sdgmnet.safetensors")[0]))
    else:
        features = VGG19Features(recipe.perceptual)
    return features.to(device)


def start(net: nn.Module, recipe: Recipe) -> None:
    """Load the weights that the recipe starts from, if it names any.

    Weights of a pruned relater have no heads and decoders of the training: those stay fresh. Raises InputError for
    weights that do not fit.
    """
    if not recipe.start:
        return
    path = weights_path(recipe.start)
    torch_file = path.suffix in TORCH_FILES
    source = load_checkpoint(read_torch(path), recipe.start)[1] if torch_file else read_weights(path)[0]
    fresh = tuple(f"{name}." for name in getattr(net, "training_only", ()))
    try:
        missing, unexpected = net.load_state_dict(source.state_dict(), strict=False)
        wrong = [*unexpected, *(key for key in missing if not key.startswith(fresh))]
        reason = f"{wrong[0]} is in one of them alone" if wrong else ""
    except RuntimeError as error:  # shapes
        reason = str(error).splitlines()[1].strip()
    if reason:
        raise InputError(f"recipe key start is {recipe.start}: not weights of {recipe.network} ({reason})")


def deployed(net: nn.Module, recipe: Recipe) -> nn.Module:
    """The network that is written: pruned if it relates."""
    return deploy(net) if recipe.network in nets.RELATERS else net


def calibration(net: nn.Module, recipe: Recipe, validation: AnyValidation) -> dict[str, Any]:
    """What a relater's card says of its probabilities: the temperature fitted on validation pairs, and the errors."""
    if not isinstance(validation, CrossSpectralValidation) or recipe.network not in nets.RELATERS:
        return {}
    labels, logits = validation.labels, validation.scores(net)
    temperature = fit_temperature(labels, logits)
    error = {
        "before": expected_calibration_error(labels, sigmoid(logits)),
        "after": expected_calibration_error(labels, sigmoid(logits / temperature)),
    }
    return {"temperature": temperature, "calibration": {"pairs": validation.statement, "error": error}}
