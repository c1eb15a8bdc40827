"""SDGM against the numbers of the authors' code, and its behaviour at the edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tiepoint.losses import SDGM
from tiepoint.losses.mining import hardest

GOLDEN = Path(__file__).parents[1] / "golden"


def pairs(n: int, seed: int = 0, dimension: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    anchor = torch.randn(n, dimension, generator=generator)
    return F.normalize(anchor, dim=1), F.normalize(anchor + 0.5 * torch.randn(n, dimension, generator=generator), dim=1)


@pytest.mark.parametrize("momentum", ["0.999", "0.5"])
def test_value_gradient_and_state_equal_the_released_code(momentum: str) -> None:
    golden = np.load(GOLDEN / f"sdgm_momentum{momentum}.npz")
    loss = SDGM(momentum=float(momentum), initial_power=10_000 / 48)
    for k in range(12):
        anchor, positive = (torch.tensor(golden[f"{side}{k}"], requires_grad=True) for side in "ap")
        value = loss(anchor, positive, float(golden["progress"][k]))
        value.backward()
        np.testing.assert_allclose(value.item(), golden[f"loss{k}"], rtol=1e-5)
        np.testing.assert_allclose(loss.statistics.numpy(), golden[f"state{k}"], rtol=1e-5)
        for gradient, name in ((anchor.grad, f"ga{k}"), (positive.grad, f"gp{k}")):
            assert gradient is not None
            np.testing.assert_allclose(
                gradient.numpy(), golden[name], rtol=1e-5, atol=1e-5 * np.abs(golden[name]).max()
            )


@pytest.mark.parametrize("duplicate_similarity", [0.999, 0.7])
def test_mining_equals_brute_force(duplicate_similarity: float) -> None:
    anchor, positive = pairs(17, seed=3, dimension=4)
    value, valid = hardest(anchor, positive, "all", duplicate_similarity, "point")
    for i in range(17):
        candidates = []
        for j in set(range(17)) - {i}:
            four = [anchor[i] @ positive[j], anchor[j] @ positive[i], anchor[i] @ anchor[j], positive[i] @ positive[j]]
            most = max(float(s) for s in four)
            if most < duplicate_similarity:
                candidates.append(most)
        assert bool(valid[i]) == bool(candidates)
        if candidates:
            assert value[i].item() == pytest.approx(max(candidates), rel=1e-6)


def test_gradient_is_that_of_the_weighted_angles() -> None:
    """With the weights held fixed, autograd of the loss equals a numeric derivative of the angles alone."""
    anchor, positive = (t.double() for t in pairs(6, seed=1))
    loss = SDGM(power=False, auto_focus=False, margin_probability=0)
    moved = anchor.float().requires_grad_()
    loss(moved, positive.float(), 0.5).backward()

    def angles(a: Tensor) -> float:
        value, valid = hardest(a, positive, "all", loss.duplicate_similarity, "point")
        return float((loss.alpha * torch.acos((a * positive).sum(1))[valid] - torch.acos(value[valid])).sum() / 6)

    assert moved.grad is not None
    for i, j in ((0, 0), (3, 7), (5, 15)):
        step = torch.zeros_like(anchor)
        step[i, j] = 1e-5
        numeric = (angles(anchor + step) - angles(anchor - step)) / 2e-5
        assert moved.grad[i, j].item() == pytest.approx(numeric, rel=2e-3, abs=1e-5)


@pytest.mark.parametrize("part", ["angle", "auto_focus", "margin_probability", "power"])
def test_each_part_changes_the_loss_and_can_be_switched_off(part: str) -> None:
    anchor, positive = pairs(32)
    full, without = SDGM(momentum=0.5, initial_power=1), SDGM(momentum=0.5, initial_power=1, **{part: False})
    values = [[loss(anchor, positive, p).item() for p in (0.0, 0.5, 0.9)] for loss in (full, without)]
    assert values[0][-1] != pytest.approx(values[1][-1], rel=1e-3)


def test_margin_cuts_the_easier_share() -> None:
    anchor, positive = pairs(512, dimension=64)
    anchor.requires_grad_()
    loss = SDGM(momentum=0.0, auto_focus=False)
    loss(anchor, positive, 0.0)
    loss(anchor, positive, 0.5).backward()
    survivors = float(loss.statistics[6]) / 512
    assert 0.3 < survivors < 0.5  # nominally 40 %


def test_state_goes_with_the_state_dict() -> None:
    anchor, positive = pairs(24)
    first, second = SDGM(), SDGM()
    first(anchor, positive, 0.0)
    second.load_state_dict(first.state_dict())
    assert first(anchor, positive, 0.5).item() == second(anchor, positive, 0.5).item()


def test_bf16_descriptors_and_autocast_give_float32_statistics() -> None:
    anchor, positive = pairs(64)
    reference = SDGM()(anchor, positive, 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = SDGM()
        value = loss(anchor.bfloat16(), positive.bfloat16(), 0.5)
    assert value.dtype == loss.statistics.dtype == torch.float32
    assert value.item() == pytest.approx(reference.item(), rel=0.05)


@pytest.mark.parametrize("n", [2, 3, 5, 130])
def test_any_batch_size(n: int) -> None:
    anchor, positive = pairs(n)
    anchor.requires_grad_()
    loss = SDGM(momentum=0.9)
    for progress in (0.0, 0.11, 0.9):
        value = loss(anchor, positive, progress)
        assert torch.isfinite(value)
    value.backward()
    assert anchor.grad is not None
    assert torch.isfinite(anchor.grad).all()


def test_identical_descriptors_give_zero_and_no_nan() -> None:
    same = F.normalize(torch.ones(8, 16), dim=1).requires_grad_()
    loss = SDGM()
    value = loss(same, same, 0.5)
    value.backward()
    assert value.item() == 0
    assert same.grad is not None
    assert torch.equal(same.grad, torch.zeros_like(same))
    assert torch.isfinite(loss.statistics).all()


def test_nan_is_not_hidden() -> None:
    anchor, positive = pairs(8)
    anchor[3] = float("nan")
    assert torch.isnan(SDGM()(anchor, positive, 0.5))


@pytest.mark.parametrize("shape", [((1, 8), (1, 8)), ((4, 8), (5, 8)), ((4, 8, 1), (4, 8, 1))])
def test_other_shapes_are_refused(shape: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="n >= 2"):
        SDGM()(torch.ones(shape[0]), torch.ones(shape[1]), 0.0)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="margin_probability"):
        SDGM(margin_probability=1.0)
    with pytest.raises(ValueError, match="momentum"):
        SDGM(momentum=1.0)
