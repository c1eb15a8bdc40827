"""Networks as ONNX files, written only if ONNX Runtime computes what torch does."""

import importlib.util
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tiepoint.errors import InputError, reason
from tiepoint.files import atomic_file, write_json
from tiepoint.models.describer import Graph, no_dense_form
from tiepoint.models.load import load
from tiepoint.nets.inputs import resize
from tiepoint.version import __version__

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
BATCHES = (1, 5)
LEVELS = (0.0, 0.5, 1.0)  # of constant patches
SIDES = ("height", "width")
IMAGES = ((1, 1, 32, 32), (1, 1, 100, 45), (2, 1, 51, 70))  # shapes, with every remainder by a stride of 4
HOLES = 1e-3  # share of pixels that are not valid


def export_onnx(name_or_path: str | Path, out: str | Path, dense: bool = False) -> Path:
    """Write a describer or a relater as ONNX, with its card beside it (.onnx.json).

    A describer has the input "patches" (N, 1, S, S), float32 in 0..1 at the network's own side S, and the output
    "descriptors" (N, D). A relater has one input a spectrum, named as in its card ("vis", "nir"), and the outputs
    "probability" (N,), calibrated by the card's temperature, and "logit" (N,), its log odds, which still rank where
    probabilities round to 0 or 1. N is free. Larger patches are to be reduced to S before.

    With `dense`, a describer has the inputs "images" (N, 1, H, W), float32 in 0..1, reduced by the card's "scale" so
    that a window has 32 px, and "valid", of the same shape, 1 where a pixel is valid and 0 elsewhere. The outputs are
    "descriptors" (N, D, h, w), unit vectors of windows whose corners lie the card's "stride" apart, and "whole"
    (N, 1, h, w), bool: whether all pixels of a window are valid. H and W are free from 32, h = (H - 32) // stride + 1.

    Before the file appears, ONNX Runtime and torch compute random, smooth and constant patches in batches of 1 and 5,
    or such images of several sizes, and must agree to 1e-4, of numbers above 1 relatively. Where the input is constant,
    a network may differ by more if torch itself does after the last bit of some pixels is changed: one that divides by
    the standard deviation gives rounding noise there.

    `name_or_path` is as `tiepoint.load` takes it; `out` ends in .onnx, and the weights are inside. Raises InputError
    for packages that are missing, a model without a network or without dense form, results that differ.
    """
    if missing := [package for package in PACKAGES if importlib.util.find_spec(package) is None]:
        raise InputError(f"ONNX export needs {', '.join(missing)}: pip install 'tiepoint[onnx]'")
    out = Path(out)
    if out.suffix != ".onnx":
        raise InputError(f"{out}: name a file that ends in .onnx")
    model = load(name_or_path)
    graph: Graph | None
    if not dense:
        graph = model.graph()
    elif model.relates is True:
        raise InputError(no_dense_form(model.name))
    else:
        graph = model.dense_graph()
    size = model.input_size
    if graph is None or size is None:
        raise InputError(f"{model.name}: is computed by OpenCV and has no network to export")
    net = graph.net.eval().requires_grad_(False)
    with atomic_file(out) as temporary, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with refused(str(out)):
            import onnxruntime

            shapes = IMAGES if dense else [(batch, 1, size, size) for batch in BATCHES]
            examples = [torch.rand(shapes[-1]) for _ in graph.inputs]
            write_graph(net, examples, graph.inputs, graph.outputs, temporary, SIDES if dense else ())
            difference = compare(net, temporary, graph.inputs, shapes, str(out))
        facts = {
            "inputs": {name: ["batch", 1, *(SIDES if dense else (size, size))] for name in graph.inputs},
            "range": [0.0, 1.0],
            "outputs": list(graph.outputs),
            "tolerance": TOLERANCE,
            "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
            **graph.facts,
            "largest_difference": difference,
        }
        write_json(card_path(out), {**model.card, "name": model.name, "tiepoint": __version__, "onnx": facts})
    return out


def card_path(out: Path) -> Path:
    """Where the card of an ONNX file lies; the weights' own card may be beside it."""
    return out.with_name(out.name + ".json")


def write_graph(
    net: nn.Module,
    examples: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
    sides: Sequence[str] = (),
) -> None:
    """Export `net` with a free batch, and free sides if `sides` names them.

    Inputs must be different tensors: torch takes equal ones for one input.
    """
    axes = {0: torch.export.Dim("batch"), **dict(enumerate(sides, start=2))}
    with quiet():
        program = torch.onnx.export(
            net,
            tuple(examples),
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple(dict(axes) for _ in examples),
            verbose=False,
            # onnxscript 0.7 takes an eps of 1e-8 or less for zero and drops it: constant patches then give NaN.
            optimize=False,
        )
        assert program is not None
        program.save(path, external_data=False)


def compare(
    net: nn.Module, path: Path, inputs: Sequence[str], shapes: Iterable[tuple[int, int, int, int]], title: str
) -> float:
    """Run the file at `path` and `net` on the same inputs: the largest difference that torch's rounding leaves.

    Raises InputError, with `title`, where they differ by more than the tolerance.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for shape in shapes:
        batch, _, height, width = shape
        smooth = resize(torch.rand(batch, 1, 4, 4), max(height, width))[..., :height, :width]
        kinds = [("random", [torch.rand(shape) for _ in inputs]), ("smooth", [smooth for _ in inputs])]
        kinds += [(f"constant {v:g}", [torch.full(shape, v) for _ in inputs]) for v in LEVELS]
        for kind, patches in kinds:
            if "valid" in inputs:  # whole images, and noise with holes
                patches[1] = (patches[1] >= (HOLES if kind == "random" else 0)).float()
            expected = run_torch(net, patches)
            found = session.run(None, {k: v.numpy() for k, v in zip(inputs, patches, strict=True)})
            difference, allowed = distance(found, expected), TOLERANCE
            if difference > allowed and kind.startswith("constant"):
                allowed = max(allowed, 2 * distance(run_torch(net, [touch(p) for p in patches]), expected))
            if not difference <= allowed:  # NaN too
                fault = f"ONNX Runtime and torch differ by {difference:.2g} on {kind} inputs {shape}"
                remedy = "try other versions of torch, onnxscript and onnxruntime"
                raise InputError(f"{title}: {fault}: not written; {remedy}")
            largest = max(largest, difference if difference <= TOLERANCE else 0.0)
    return largest


def distance(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """Largest difference of entries, over the entry where it is above 1; NaN if any is or shapes differ."""
    if [f.shape for f in found] != [e.shape for e in expected]:
        return np.nan
    pairs = [(np.asarray(f, np.float32), np.asarray(e, np.float32)) for f, e in zip(found, expected, strict=True)]
    return float(max((np.abs(f - e) / np.maximum(np.abs(e), 1)).max() for f, e in pairs))


@torch.inference_mode()
def run_torch(net: nn.Module, patches: Sequence[Tensor]) -> list[Any]:
    """The network's outputs as arrays."""
    outputs = net(*patches)
    return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def touch(patches: Tensor) -> Tensor:
    """Patches with the last bit of about half the pixels changed; 0 stays as good as 0."""
    changed = torch.nextafter(patches, torch.full_like(patches, 0.25))
    return torch.where(torch.rand_like(patches) < 0.5, patches, changed)


@contextmanager
def refused(title: str) -> Iterator[None]:
    """Errors of the exporter and of ONNX Runtime, which have no common class, as InputError; a full disk stays one."""
    try:
        yield
    except (InputError, OSError):
        raise
    except Exception as error:
        remedy = "try other versions of torch, onnxscript, onnxruntime"
        raise InputError(f"{title}: cannot be exported ({reason(error)}): not written; {remedy}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what the exporter says of packages that it does not need and of its own future."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)
