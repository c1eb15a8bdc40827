"""ONNX files: what ONNX Runtime computes from them, and that a wrong one is never left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.export import onnx as export
from tiepoint.models.describer import LearnedDescriber
from tiepoint.models.load import load
from tiepoint.models.weights import save_weights
from tiepoint.nets.dense import FORMS, DenseForm
from tiepoint.nets.inputs import resize

runtime = pytest.importorskip("onnxruntime")
names_sides = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 7), reason="torch 2.6 takes no names of free sides"
)


class Tiny(nn.Module):
    """A describer of one layer; `eps` is added to the length before the division."""

    input_size, dimension, normalized = 8, 4, True

    def __init__(self, eps: float = 1e-10) -> None:
        super().__init__()
        self.eps = eps
        self.layer = nn.Linear(64, 4, bias=False)

    def forward(self, patches: Tensor, normalize: bool = True) -> Tensor:
        x = self.layer((patches - patches.mean(dim=(1, 2, 3), keepdim=True)).flatten(1))
        return x * torch.rsqrt(x.square().sum(dim=1, keepdim=True) + self.eps)


class TinyDense(nn.Module):
    """A describer that has a dense form."""

    input_size, dimension, normalized = 32, 4, True

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(1, 3, 4, stride=4), nn.Conv2d(3, 4, 8)])


class AllWhole(nn.Module):
    """A dense form that takes every window for whole."""

    def __init__(self, form: nn.Module) -> None:
        super().__init__()
        self.form = form

    def forward(self, images: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        described, whole = self.form(images, valid)
        return described, whole | ~whole


class First(nn.Module):
    """A network that sees no patch but the first."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, patches: Tensor) -> Tensor:
        return self.net(patches[:1]).expand(len(patches), -1)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> LearnedDescriber:
    """What `load` gives, whatever the name."""
    torch.manual_seed(0)
    describer = LearnedDescriber(Tiny(), "tiny", {"licence": "none"})
    monkeypatch.setattr(export, "load", lambda name: describer)
    return describer


@pytest.fixture
def tiny_dense(monkeypatch: pytest.MonkeyPatch) -> LearnedDescriber:
    """What `load` gives, whatever the name."""
    torch.manual_seed(0)
    describer = LearnedDescriber(TinyDense(), "tiny", {"upright": 48})
    monkeypatch.setitem(FORMS, TinyDense, lambda net: (list(net.layers), None))
    monkeypatch.setattr(export, "load", lambda name: describer)
    return describer


def run(path: Path, *patches: Tensor, output: int = 0) -> np.ndarray:
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    return session.run(None, {k: v.numpy() for k, v in zip(names, patches, strict=True)})[output]


def test_the_shipped_describer_in_onnx_runtime(tmp_path: Path) -> None:
    path = export.export_onnx("sdgmnet", tmp_path / "out" / "sdgmnet.onnx")
    assert sorted(p.name for p in path.parent.iterdir()) == ["sdgmnet.onnx", "sdgmnet.onnx.json"]
    describer = load("sdgmnet")
    for count in (1, 3, 40):
        patches = torch.rand(count, 1, 32, 32)
        np.testing.assert_allclose(run(path, patches), describer.describe(patches).numpy(), atol=1e-5)
    card = json.loads((path.parent / "sdgmnet.onnx.json").read_text(encoding="utf-8"))
    assert card["network"] == "sdgmnet"
    assert card["onnx"]["inputs"] == {"patches": ["batch", 1, 32, 32]}
    assert (card["onnx"]["dimension"], card["onnx"]["support"], card["onnx"]["normalized"]) == (128, 12.0, True)
    assert 0 < card["onnx"]["largest_difference"] < 1e-5


@pytest.mark.usefixtures("quick_weights")
def test_a_relater_gives_calibrated_probabilities(tmp_path: Path) -> None:
    card = {"network": "pnnet", "deployed": True, "spectra": ["opt", "sar"], "temperature": 0.5, "name": "mine"}
    save_weights(tmp_path / "model.safetensors", nets.create("pnnet"), card)
    path = export.export_onnx(tmp_path / "model.safetensors", tmp_path / "model.onnx")
    patches = torch.rand(2, 7, 1, 32, 32)
    relater = load(tmp_path / "model.safetensors")
    expected = relater.probabilities(*patches).numpy()
    np.testing.assert_allclose(run(path, *patches), expected, atol=1e-5)
    assert np.ptp(expected) > 1e-4
    np.testing.assert_allclose(run(path, *patches, output=1), np.log(expected / (1 - expected)), atol=1e-4)
    facts = json.loads(export.card_path(path).read_text(encoding="utf-8"))["onnx"]
    assert list(facts["inputs"]) == ["opt", "sar"]
    assert (facts["outputs"], facts["temperature"]) == (["probability", "logit"], 0.5)
    # The weights' own card is not touched.
    assert json.loads((tmp_path / "model.json").read_text(encoding="utf-8")) == card


@pytest.mark.slow
@names_sides
def test_the_shipped_dense_form_describes_images_of_any_size(tmp_path: Path) -> None:
    path = export.export_onnx("sdgmnet-any", tmp_path / "dense.onnx", dense=True)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape) for i in session.get_inputs()] == [
        ("images", ["batch", 1, "height", "width"]),
        ("valid", ["batch", 1, "height", "width"]),
    ]
    facts = json.loads(export.card_path(path).read_text(encoding="utf-8"))["onnx"]
    assert (facts["window"], facts["stride"], facts["scale"], facts["normalized"]) == (32, 4, 0.5, True)
    # Both sides in halves are odd, and neither shape is among those of the export.
    image = resize(torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0)), 170)[..., :146]
    mask = torch.ones(170, 146, dtype=torch.bool)
    mask[:20, :50] = False
    dense = load("sdgmnet-any").dense(image[0, 0].numpy(), mask=mask.numpy())
    small = nn.functional.avg_pool2d(image, 2) * mask[None, None, ::2, ::2]
    valid = mask[None, None, ::2, ::2].float()
    assert small.shape[2:] == (85, 73)
    whole = run(path, small, valid, output=1)
    np.testing.assert_array_equal(whole[0, 0], dense.valid.numpy())
    assert 0 < whole.mean() < 1
    found = run(path, small, valid)
    assert found.shape == (1, 128, (85 - 32) // 4 + 1, (73 - 32) // 4 + 1)
    np.testing.assert_allclose(found[0], dense.vectors.numpy(), atol=1e-4)


@names_sides
@pytest.mark.parametrize("fault", [None, "other weights", "all windows whole"])
def test_a_dense_form_that_differs_is_refused(
    fault: str | None, tiny_dense: LearnedDescriber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Callable[..., None] = export.write_graph
    wrong = {
        None: lambda form: form,
        "other weights": lambda form: DenseForm(TinyDense()).eval().requires_grad_(False),
        "all windows whole": AllWhole,
    }[fault]
    monkeypatch.setattr(export, "write_graph", lambda net, *rest: write(wrong(net), *rest))
    if fault is not None:
        with pytest.raises(InputError, match=r"tiny.onnx: ONNX Runtime and torch differ"):
            export.export_onnx("tiny", tmp_path / "tiny.onnx", dense=True)
        assert list(tmp_path.iterdir()) == []
        return
    path = export.export_onnx("tiny", tmp_path / "tiny.onnx", dense=True)
    facts = json.loads(export.card_path(path).read_text(encoding="utf-8"))["onnx"]
    assert facts["scale"] == 32 / 48
    for shape in ((3, 1, 32, 95), (1, 1, 65, 34), (2, 1, 128, 63)):
        images, valid = torch.rand(shape), torch.ones(shape)
        valid[..., -1] = 0
        expected, whole = DenseForm(tiny_dense.net)(images, valid)  # type: ignore[arg-type]
        np.testing.assert_allclose(run(path, images, valid), expected.detach().numpy(), atol=1e-5)
        np.testing.assert_array_equal(run(path, images, valid, output=1), whole.numpy())


@pytest.mark.parametrize("name", ["matchnet", "rootsift", "opencv-orb", "rrlnet-visnir"])
def test_what_has_no_dense_form_names_what_has(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "matchnet":
        monkeypatch.setattr(export, "load", lambda name: LearnedDescriber(nets.create(name), name))
    with pytest.raises(InputError, match=rf"^{name} has no dense form: take one with the network of sdgmnet, hynet.*$"):
        export.export_onnx(name, tmp_path / "x.onnx", dense=True)
    assert list(tmp_path.iterdir()) == []


def test_a_small_eps_survives(tiny: LearnedDescriber, tmp_path: Path) -> None:
    """The exporter's optimiser takes 1e-10 for zero, and constant patches become NaN."""
    path = export.export_onnx("tiny", tmp_path / "tiny.onnx")
    np.testing.assert_array_equal(run(path, torch.zeros(2, 1, 8, 8)), np.zeros((2, 4)))


@pytest.mark.parametrize("fault", ["other weights", "NaN on constant patches", "the first patch alone"])
def test_a_mismatch_is_refused_and_leaves_nothing(
    fault: str, tiny: LearnedDescriber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Callable[..., None] = export.write_graph
    wrong: nn.Module = Tiny(0.0 if fault == "NaN on constant patches" else 1e-10)
    if fault != "other weights":
        wrong.load_state_dict(tiny.net.state_dict())
    if fault == "the first patch alone":
        wrong = First(wrong)
    wrong.eval().requires_grad_(False)
    monkeypatch.setattr(export, "write_graph", lambda net, *rest: write(wrong, *rest))
    with pytest.raises(InputError, match=r"tiny.onnx: (ONNX Runtime and torch differ|.*INVALID).*not written"):
        export.export_onnx("tiny", tmp_path / "tiny.onnx")
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(InputError, match=r"needs onnxscript: pip install 'tiepoint\[onnx\]'"):
        export.export_onnx("sdgmnet", tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("name", "out", "message"),
    [
        ("rootsift", "x.onnx", "rootsift: is computed by OpenCV"),
        ("opencv-orb", "x.onnx", "opencv-orb: is computed by OpenCV"),
        ("sdgmnet", "x.pb", "x.pb: name a file that ends in .onnx"),
        ("nosuch", "x.onnx", "nosuch"),
    ],
)
def test_what_cannot_be_exported(name: str, out: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        export.export_onnx(name, tmp_path / out)
    assert list(tmp_path.iterdir()) == []
