"""Weights in the layouts of kornia and of the authors: loaded there, and here again."""

from __future__ import annotations

import json
from pathlib import Path

import kornia.feature
import pytest
import torch

from tiepoint import nets
from tiepoint.cli import main
from tiepoint.errors import InputError
from tiepoint.export.weights import export_weights
from tiepoint.models.load import load, load_describer
from tiepoint.models.weights import save_weights

OPTIONS = {"hardnet8": {"projection": 128}, "sdgmnet": {"bias": False}}


def saved(network: str, folder: Path, **options: object) -> Path:
    """A run's weights, with statistics that matter."""
    torch.manual_seed(0)
    net = nets.create(network, **options)
    net.train()(torch.rand(16, 1, net.input_size, net.input_size))
    for key, value in net.state_dict().items():
        if key in ("components", "mean"):
            value.normal_()
    path = folder / f"{network}.safetensors"
    save_weights(path, net, {"network": network, "options": options})
    return path


@pytest.mark.parametrize(
    ("network", "oracle"),
    [("sdgmnet", "HyNet"), ("hynet", "HyNet"), ("hardnet", "HardNet"), ("l2net", "HardNet"), ("hardnet8", "HardNet8"),
     ("sosnet", "SOSNet"), ("tfeat", "TFeat")],
)  # fmt: skip
def test_kornia_loads_them_strictly_and_describes_alike(network: str, oracle: str, tmp_path: Path) -> None:
    weights = saved(network, tmp_path, **OPTIONS.get(network, {}))
    assert export_weights(weights, tmp_path / "out.pth") == f"kornia.feature.{oracle}"
    theirs = getattr(kornia.feature, oracle)(pretrained=False)
    theirs.load_state_dict(torch.load(tmp_path / "out.pth", weights_only=True), strict=True)
    patches = torch.rand(5, 1, 32, 32)
    with torch.inference_mode():
        expected = theirs.eval()(patches)
    for path in (weights, tmp_path / "out.pth"):
        torch.testing.assert_close(load_describer(path).describe(patches), expected, rtol=0, atol=1e-5)


def test_shipped_weights_go_to_kornia_by_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "weights", "sdgmnet", "--out", str(tmp_path / "h.pth"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["loads_into"] == "kornia.feature.HyNet"
    theirs = kornia.feature.HyNet(pretrained=False).eval()
    theirs.load_state_dict(torch.load(tmp_path / "h.pth", weights_only=True), strict=True)
    patches = torch.rand(5, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(load("sdgmnet").describe(patches), theirs(patches), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "wrapper"), [("sdgmnet", "model_state_dict"), ("hardnet", "state_dict"), ("matchnet", None)]
)
def test_the_authors_layout_loads_here_again(network: str, wrapper: str | None, tmp_path: Path) -> None:
    weights = saved(network, tmp_path)
    export_weights(weights, tmp_path / "out.pt", "authors")
    content = torch.load(tmp_path / "out.pt", weights_only=True)
    state = content[wrapper] if wrapper else content
    assert len(state) == {"sdgmnet": 88, "hardnet": 28, "matchnet": 10}[network]
    before, after = load_describer(weights), load_describer(tmp_path / "out.pt")
    assert after.card["network"] == network
    patches = torch.rand(3, 1, 64, 64)
    assert torch.equal(before.describe(patches), after.describe(patches))


def test_what_has_no_such_layout_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.pth"
    cases = [
        (("sift", out), "sift: is computed by OpenCV and has no weights to export"),
        (("sdgmnet", tmp_path / "out.onnx"), "ends in .pth"),
        (("sdgmnet", out, "keras"), "layout 'keras': there are kornia and authors"),
        (("rrlnet-visnir", out), "is a relater of patch pairs: give a describer"),
        ((saved("matchnet", tmp_path), out), "kornia has no matchnet, only .*: try the layout authors"),
        ((saved("hardnet8", tmp_path), out), r"its projection is \(0,\), that of kornia's HardNet8 \(512, 128\)"),
    ]
    for arguments, words in cases:
        with pytest.raises(InputError, match=words):
            export_weights(*arguments)
    assert not out.exists()
