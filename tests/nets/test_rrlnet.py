"""RRL-Net against the numbers of the released network, and what it promises as a relater."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rrlnet_weights import fill
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.nets.relation import SLOTS, Relation, deploy
from tiepoint.nets.relational.rrlnet import RRLNet

pytestmark = pytest.mark.usefixtures("quick_weights")
HEADS = ["stage5", "stage4", "stage3", "module5", "module4", "module3"]


def size(net: nn.Module) -> int:
    """Parameters and batch-norm statistics."""
    return sum(t.numel() for key, t in net.state_dict().items() if not key.endswith("num_batches_tracked"))


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(Path(__file__).parents[1] / "golden" / "rrlnet.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


@pytest.fixture(scope="module")
def net() -> RRLNet:
    """With the weights of the golden numbers."""
    with torch.device("meta"):
        net = RRLNet()
    net.to_empty(device="cpu")
    fill(net)
    return net.eval()


@pytest.fixture(scope="module")
def pairs(golden: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return golden["vis"].unsqueeze(1), golden["nir"].unsqueeze(1)


@pytest.fixture(scope="module")
def outputs(net: RRLNet, pairs: tuple[Tensor, Tensor]) -> tuple[Relation, dict[str, Tensor]]:
    """All outputs of the network, and the pooled features that enter each head."""
    pooled: dict[str, Tensor] = {}
    heads = {"stage5": net.interaction.head.dense}
    heads |= {f"stage{stage}": head.dense for stage, head in net.interaction.stage_heads.items()}
    heads |= {f"module{stage}": head.head.dense for stage, head in net.interaction.module_heads.items()}
    hooks = [
        dense.register_forward_hook(lambda _, inputs, __, name=name: pooled.__setitem__(name, inputs[0]))
        for name, dense in heads.items()
    ]
    with torch.inference_mode():
        relation = net.relate_all(net.encode(pairs[0], "first"), net.encode(pairs[1], "second"))
    for hook in hooks:
        hook.remove()
    return relation, pooled


def test_sizes_are_the_published_ones(net: RRLNet) -> None:
    assert size(net) == 12_829_412
    assert sum(p.numel() for p in net.parameters()) == 12_816_740
    assert size(deploy(net)) == 9_404_025
    assert sum(p.numel() for p in deploy(net).parameters()) == 9_394_105
    with torch.device("meta"):
        assert size(RRLNet(aux_stages=[1, 2, 3, 4, 5])) == 13_455_048


def test_sizes_of_the_parts_are_the_published_ones(net: RRLNet) -> None:
    shared = net.interaction
    assert [size(encoder) for encoder in net.encoders.values()] == [394_364, 394_364]
    assert [size(stage) for stage in net.encoders["vis"].stages] == [236, 4_780, 18_764, 74_382, 296_202]
    assert [size(decoder) for decoder in net.decoders.values()] == [393_075, 393_075]
    assert size(shared.fils) == 359_104
    assert [size(stage) for stage in shared.aggregation.stages] == [18_752, 92_800, 369_920, 1_477_120, 5_903_360]
    assert size(shared.head) == 394_241
    assert {stage: size(head) for stage, head in shared.stage_heads.items()} == {"4": 263_169, "3": 197_633}
    assert {stage: size(head) for stage, head in shared.module_heads.items()} == {
        "5": 1_445_377,
        "4": 493_825,
        "3": 239_233,
    }


@pytest.mark.parametrize("name", HEADS)
def test_heads_are_those_of_the_release(
    name: str, golden: dict[str, Tensor], outputs: tuple[Relation, dict[str, Tensor]]
) -> None:
    relation, pooled = outputs
    torch.testing.assert_close(pooled[name], golden[f"gap_{name}"], rtol=0, atol=1e-5)
    torch.testing.assert_close(relation.logits[name].sigmoid(), golden[name], rtol=0, atol=1e-6)


def test_reconstructions_are_those_of_the_release(
    golden: dict[str, Tensor], outputs: tuple[Relation, dict[str, Tensor]]
) -> None:
    assert list(outputs[0].logits) == HEADS
    for patch, spectrum in zip(outputs[0].reconstructions, ("vis", "nir"), strict=True):
        torch.testing.assert_close(patch.squeeze(1), golden[f"recon_{spectrum}"], rtol=0, atol=1e-6)


@torch.inference_mode()
def test_pruning_changes_no_bit(
    net: RRLNet,
    golden: dict[str, Tensor],
    pairs: tuple[Tensor, Tensor],
    outputs: tuple[Relation, dict[str, Tensor]],
) -> None:
    pruned = deploy(net)
    logits = pruned(*pairs)
    assert logits.shape == (6,)
    assert torch.equal(logits, outputs[0].main)
    assert torch.equal(logits, net(*pairs))
    torch.testing.assert_close(logits.sigmoid(), golden["pruned"], rtol=0, atol=1e-6)
    state = net.state_dict()
    assert pruned.state_dict().keys() < state.keys()
    assert all(torch.equal(value, state[key]) for key, value in pruned.state_dict().items())


@torch.inference_mode()
def test_patches_are_encoded_once_and_related_in_any_pairs(net: RRLNet, pairs: tuple[Tensor, Tensor]) -> None:
    vis, nir = (net.encode(patches, slot) for patches, slot in zip(pairs, SLOTS, strict=True))
    assert [tuple(code.shape[1:]) for code in vis] == [
        (16, 64, 64),
        (32, 32, 32),
        (64, 16, 16),
        (128, 8, 8),
        (256, 4, 4),
    ]
    rows, columns = torch.tensor([0, 0, 1, 5]), torch.tensor([0, 3, 2, 4])
    logits = net.relate(tuple(code[rows] for code in vis), tuple(code[columns] for code in nir))
    torch.testing.assert_close(logits, net(pairs[0][rows], pairs[1][columns]), rtol=0, atol=1e-5)
    one_by_one = [net(pairs[0][i : i + 1], pairs[1][j : j + 1]) for i, j in zip(rows, columns, strict=True)]
    torch.testing.assert_close(logits, torch.cat(one_by_one), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_the_two_inputs_are_not_exchangeable(net: RRLNet, pairs: tuple[Tensor, Tensor]) -> None:
    assert (net(*pairs) - net(*reversed(pairs))).abs().max() > 1e-3


@pytest.mark.parametrize("aux_stages", [(3, 4, 5), (1, 2, 3, 4, 5), (4,), ()])
def test_training_returns_every_head(aux_stages: tuple[int, ...]) -> None:
    with torch.device("meta"):
        relation = RRLNet(aux_stages)(*torch.rand(2, 3, 1, 64, 64))
    stages = sorted(aux_stages, reverse=True)
    assert list(relation.logits) == ["stage5", *(f"stage{s}" for s in stages if s < 5), *(f"module{s}" for s in stages)]
    assert all(logits.shape == (3,) and logits.dtype == torch.float32 for logits in relation.logits.values())
    assert [patch.shape for patch in relation.reconstructions] == [(3, 1, 64, 64)] * 2


def test_training_reaches_every_weight() -> None:
    torch.manual_seed(0)
    net = RRLNet(aux_stages=(1, 2, 3, 4, 5))
    relation = net(*torch.rand(2, 3, 1, 64, 64))
    loss = sum(logits.square().sum() for logits in relation.logits.values())
    (loss + sum(patch.square().sum() for patch in relation.reconstructions)).backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.any(), key


@pytest.mark.slow
@torch.inference_mode()
def test_half_precision_changes_little(net: RRLNet, pairs: tuple[Tensor, Tensor]) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = net.encode(pairs[0], "first"), net.encode(pairs[1], "second")
        logits = net.relate(*codes)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, net(*pairs), rtol=0, atol=0.02)
    for rounded, exact in zip(codes[0], net.encode(pairs[0], "first"), strict=True):
        assert F.cosine_similarity(rounded.flatten(1).float(), exact.flatten(1)).min() > 0.999


def test_it_is_a_relater_by_name() -> None:
    assert "rrlnet" in nets.relaters()
    assert isinstance(nets.create("rrlnet", aux_stages=[5]), RRLNet)
    with pytest.raises(InputError, match="stages are 1 to 5"):
        nets.create("rrlnet", aux_stages=[0, 5])
    with pytest.raises(InputError, match="width"):
        nets.create("rrlnet", width=3)
