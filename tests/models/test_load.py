"""Loading of models by their weights and cards, and describers as users hold them: the patches that they take."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, get_args

import kornia.feature
import numpy as np
import pytest
import torch

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.features.describe import describe
from tiepoint.models.describer import LearnedDescriber, prepare
from tiepoint.models.load import DescriberName, RelaterName, load, load_describer, load_relater
from tiepoint.models.relater import LearnedRelater
from tiepoint.models.weights import WEIGHTS, read_weights, save_weights
from tiepoint.nets.relational.qnet import QNet

pytestmark = pytest.mark.usefixtures("quick_weights")
every_network = pytest.mark.parametrize("name", nets.describers())


@cache
def fresh(name: str) -> LearnedDescriber:
    torch.manual_seed(0)
    return LearnedDescriber(nets.create(name), "fresh")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".params"])
def test_a_torch_file_is_loaded_as_the_network_that_it_holds(suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    patches = torch.rand(9, 1, 32, 32)
    for oracle in (kornia.feature.HyNet, kornia.feature.HardNet, kornia.feature.SOSNet, kornia.feature.TFeat):
        net = oracle(pretrained=False).eval()
        torch.save({"state_dict": net.state_dict()}, tmp_path / f"best{suffix}")
        describer = load(tmp_path / f"best{suffix}")
        with torch.inference_mode():
            torch.testing.assert_close(describer(patches), net(patches), rtol=0, atol=1e-5)
        assert (describer.name, describer.dimension, describer.support) == ("best", 128, 12.0)
        assert describer.normalized == (oracle is not kornia.feature.TFeat)


def test_files_that_are_no_weights_name_themselves(tmp_path: Path) -> None:
    torch.save({"model": Path("x")}, tmp_path / "evil.pt")
    (tmp_path / "text.pth").write_text("no checkpoint")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pt")
    for name in ("evil.pt", "text.pth", "other.pt", "missing.pth"):
        with pytest.raises(InputError, match=name.replace(".", "[.]")) as caught:
            load(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_weights_survive_a_round_trip_in_half_precision(tmp_path: Path) -> None:
    net = nets.create("sdgmnet").eval()
    save_weights(tmp_path / "w.safetensors", net, {"network": "sdgmnet", "options": {"dropout": 0.1}}, half=True)
    back, card = read_weights(tmp_path / "w.safetensors")
    assert card["options"] == {"dropout": 0.1}
    for key, value in net.state_dict().items():
        torch.testing.assert_close(back.state_dict()[key], value.half().to(value.dtype), rtol=0, atol=0)


def test_damaged_weights_name_the_file(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", nets.create("sdgmnet"), {"network": "sdgmnet"})
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"w\.safetensors"):
        load(tmp_path / "w.safetensors")
    (tmp_path / "w.json").unlink()
    with pytest.raises(InputError, match=r"w\.json is missing"):
        load(tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"no such describer.*opencv-orb.*sdgmnet"):
        load("nosuch")


def test_a_relaters_weights_load_as_a_relater(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", nets.create("qnet"), {"network": "qnet"})
    assert isinstance(read_weights(tmp_path / "w.safetensors")[0], QNet)
    relater = load(tmp_path / "w.safetensors")
    assert isinstance(relater, LearnedRelater)
    with pytest.raises(InputError, match=r"w\.safetensors: is a relater of patch pairs: give a describer"):
        load_describer(tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="w: is a relater of patch pairs: give a describer"):
        describe(np.random.default_rng(0).random((64, 64)), relater)  # type: ignore[arg-type]


def test_type_checkers_know_the_kinds_of_shipped_weights() -> None:
    assert {path.stem for path in WEIGHTS.glob("*.safetensors")} <= {*get_args(DescriberName), *get_args(RelaterName)}
    for name in get_args(DescriberName):
        assert load_describer(name).name == name
    for name in get_args(RelaterName):
        assert load_relater(name).name == name


def test_an_absent_device_is_refused() -> None:
    for name in ("sift", "sdgmnet"):
        assert load(name, "auto").name == name
        with pytest.raises(InputError, match="device cuda:99 is not available here"):
            load(name, "cuda:99")


@pytest.mark.parametrize(
    "card", [{"network": "nosuch"}, {"name": "w"}, [], {"network": "tfeat", "deployed": True}, {"network": ["qnet"]}]
)
def test_cards_of_no_network_name_their_file(card: Any, tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", nets.create("tfeat"), card)
    with pytest.raises(InputError, match=r"w\.json is no card of weights") as caught:
        load(tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)


@every_network
def test_chunks_and_types_of_patches_do_not_change_descriptors(name: str) -> None:
    describer = fresh(name)
    describer.chunk = None
    patches = (torch.rand(9, 1, 65, 65) * 255).to(torch.uint8)
    whole = describer(patches)
    assert (whole.shape, whole.dtype) == ((9, describer.dimension), torch.float32)
    describer.chunk = 4
    close = {"rtol": 0, "atol": 1e-5}
    torch.testing.assert_close(describer(patches), whole, **close)
    torch.testing.assert_close(describer(patches.float() / 255), whole, **close)
    torch.testing.assert_close(describer(patches.double() / 255), whole, **close)
    torch.testing.assert_close(describer((patches.int() * 257).to(torch.uint16)), whole, **close)
    rounded = describer(patches.half() / 255)
    assert rounded.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(rounded, whole).min() > 0.999
    empty = describer(patches[:0])
    assert (empty.shape, empty.dtype) == ((0, describer.dimension), torch.float32)


@every_network
def test_the_input_is_not_changed(name: str) -> None:
    describer = fresh(name)
    patches = torch.rand(3, 1, describer.input_size, describer.input_size)
    before = patches.clone()
    describer(patches)
    assert torch.equal(patches, before)


def test_larger_patches_are_reduced_with_antialiasing() -> None:
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    assert prepare(stripes, 32)[:, :, :, 1:-1].std() < 1e-3


@pytest.mark.parametrize("name", ["hardnet", "matchnet"])
@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (2, 1, 64, 32), (2, 1, 16, 16), (64, 64), (), (1, 2, 1, 64, 64)])
def test_other_shapes_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"fresh takes \(N, 1, S, S\)"):
        fresh(name)(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64, torch.complex64])
def test_other_types_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match=f"patches are {dtype}"):
        fresh("tfeat")(torch.zeros(2, 1, 32, 32, dtype=dtype))
