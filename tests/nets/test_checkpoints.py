"""Which network a checkpoint belongs to, and what is said when it fits none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.nets.checkpoints import MARKS, load_checkpoint, read_torch

pytestmark = pytest.mark.usefixtures("quick_weights")
TWINS = {"hynet": "sdgmnet", "l2net": "hardnet"}


@cache
def shaken(name: str, **options: int) -> nn.Module:
    """A network whose running means matter, made once."""
    torch.manual_seed(0)
    net = nets.create(name, **options).eval()
    for key, buffer in net.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(std=0.1)
    return net


def released_sdgmnet(state: dict[str, Tensor]) -> dict[str, object]:
    """The layout of the released SDGMNet file: eps as buffers, every key twice, wrapped."""
    norms = [key.removesuffix(".tau") for key in state if key.endswith(".tau")]
    eps = {f"{key[:-1]}{int(key[-1]) - 1}.eps": torch.tensor([1e-6]) for key in norms}
    once = {**state, **eps}
    twice = {**once, **{f"features.{int(k[5]) - 1}{k[6:]}": v for k, v in once.items()}}
    assert len(twice) == 88
    return {"epoch": 1, "model_state_dict": twice, "FPR": 0.1, "opt": {}}


def describe(net: nn.Module) -> Tensor:
    size = int(net.input_size)
    with torch.inference_mode():
        return net(torch.rand(3, 1, size, size, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("name", nets.describers())
def test_every_network_is_found_from_its_own_weights(name: str) -> None:
    net = shaken(name)
    network, back = load_checkpoint(net.state_dict())
    assert network == TWINS.get(name, name)
    assert torch.equal(describe(back), describe(net))


def test_sizes_are_found_from_the_weights() -> None:
    net = shaken("matchnet", bottleneck=64)
    _, back = load_checkpoint(net.state_dict())
    assert back.dimension == 64
    assert torch.equal(describe(back), describe(net))
    projection = {"components": torch.eye(512, 96), "mean": torch.zeros(512)}
    _, back = load_checkpoint({**shaken("hardnet8").state_dict(), **projection})
    assert back.dimension == 96
    first = nn.functional.normalize(describe(shaken("hardnet8"))[:, :96])
    torch.testing.assert_close(describe(back), first, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_the_released_sdgmnet_loads(bias: bool, tmp_path: Path) -> None:
    net = shaken("sdgmnet", bias=bias)
    content = released_sdgmnet(net.state_dict()) if bias else {"state_dict": net.state_dict()}
    torch.save(content, tmp_path / "best.pt")
    _, back = load_checkpoint(read_torch(tmp_path / "best.pt"))
    assert torch.equal(describe(back), describe(net))


@pytest.mark.parametrize("name", [name for name in nets.describers() if name not in ("hardnet8", "matchnet")])
@pytest.mark.parametrize("wrapper", ["model_state_dict", "state_dict", "model", None])
def test_wrapped_prefixed_half_precision_without_counters(name: str, wrapper: str | None, tmp_path: Path) -> None:
    net = shaken(name)
    state = {f"module.{k}": v.half() for k, v in net.state_dict().items() if v.is_floating_point()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "half.pth")
    _, back = load_checkpoint(read_torch(tmp_path / "half.pth"))
    assert all(p.dtype == torch.float32 for p in back.parameters())
    assert nn.functional.cosine_similarity(describe(back), describe(net)).min() > 0.999


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "net.", "model.net.", "encoder."])
def test_whatever_stands_before_all_keys_is_taken_off(prefix: str, tmp_path: Path) -> None:
    """As DDP, torch.compile and LightningModules write it, whose losses have buffers of their own."""
    net = shaken("hardnet")
    state = {f"{prefix}{key}": value for key, value in net.state_dict().items()}
    beside = {} if prefix == "_orig_mod." else {"loss.margin": torch.zeros(1)}
    torch.save({"epoch": 3, "state_dict": {**beside, **state}}, tmp_path / "last.ckpt")
    name, back = load_checkpoint(read_torch(tmp_path / "last.ckpt"))
    assert name == "hardnet"
    assert torch.equal(describe(back), describe(net))
    with pytest.raises(InputError, match=r"head\.weight is left over"):
        load_checkpoint({**state, f"{prefix}head.weight": torch.zeros(1)})


def test_a_part_that_was_compiled_is_found() -> None:
    state = {key.replace("features.", "features._orig_mod."): v for key, v in shaken("hardnet").state_dict().items()}
    assert load_checkpoint(state)[0] == "hardnet"


def test_two_networks_of_one_kind_are_refused() -> None:
    state = {f"{who}.{key}": v for key, v in shaken("hardnet").state_dict().items() for who in ("net", "teacher")}
    with pytest.raises(InputError, match=r"two: holds the networks net\. and teacher\.: save one of them alone"):
        load_checkpoint(state, "two")


def test_what_is_no_plain_torch_file_is_said_in_one_line_without_advice_to_load_it(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "fpr": np.float64(0.1)}, tmp_path / "objects.pth")
    (tmp_path / "page.pth").write_text("<html>not found</html>\n")
    (tmp_path / "empty.pth").touch()
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pth")
    said = {"objects": "it holds numpy", "page": "no pickle", "empty": "EOFError", "script": "a TorchScript archive"}
    for name, reason in said.items():
        with pytest.raises(InputError, match=rf"{name}\.pth: damaged, or not a torch file .*{reason}") as caught:
            read_torch(tmp_path / f"{name}.pth")
        assert not {"\n", "\x1b"} & {*str(caught.value)}
        assert "weights_only" not in str(caught.value)
        assert len(str(caught.value)) < 300


def test_the_eps_of_a_checkpoint_is_taken_over() -> None:
    net = shaken("hynet")
    _, back = load_checkpoint({**net.state_dict(), "layer3.1.eps": torch.tensor([0.5])})
    assert back.get_submodule("layer3.1").eps == 0.5  # type: ignore[union-attr]
    assert back.get_submodule("layer2.1").eps == pytest.approx(1e-6)  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"layer3\.1\.eps is left over"):
        load_checkpoint({**net.state_dict(), "layer3.1.eps": torch.zeros(2)})


@pytest.mark.parametrize(("name", "mark"), MARKS.items())
def test_a_wrong_checkpoint_names_the_key_at_fault(name: str, mark: str) -> None:
    state = shaken(name).state_dict()
    gone = next(key for key in state if key != mark and key.endswith("weight"))
    with pytest.raises(InputError, match=rf"file: no weights of {name}: {gone.replace('.', '[.]')} is missing"):
        load_checkpoint({k: v for k, v in state.items() if k != gone}, "file")
    with pytest.raises(InputError, match=r"head\.weight is left over"):
        load_checkpoint({**state, "head.weight": torch.zeros(1)})
    with pytest.raises(InputError, match=rf"{mark.replace('.', '[.]')} has the shape \(1, 2\), not"):
        load_checkpoint({**state, mark: torch.zeros(1, 2)})


def test_weights_of_no_network_here_are_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"other: no weights of a network that is known \(its first key is fc\.weight\): give .*hardnet",
    ):
        load_checkpoint({"fc.weight": torch.zeros(2, 2)}, "other")


def test_a_loaded_network_can_be_trained_and_leaves_the_given_state_alone() -> None:
    state = {k: v.clone() for k, v in shaken("sosnet").state_dict().items()}
    _, net = load_checkpoint(state)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.train()(torch.rand(4, 1, 32, 32), normalize=False).square().sum().backward()
    optimizer.step()
    assert not torch.equal(net.get_parameter("layers.1.weight"), state["layers.1.weight"])
    assert net.get_buffer("layers.2.num_batches_tracked") == 1
    for key, value in shaken("sosnet").state_dict().items():
        assert torch.equal(state[key], value)


@pytest.mark.parametrize("content", [[], {}, {"epoch": 3}, {"state_dict": {"a": 1}}, {0: torch.zeros(1)}, 5])
def test_files_without_a_state_dict_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt: holds no state dict"):
        read_torch(tmp_path / "a.pt")
