"""The gradient analysis against derivatives taken by hand, and mining's memory and gradients at scale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loss_gradients import settle, weights

from tiepoint import losses

ANGLES = torch.tensor([0.7, 0.9, 1.17, 1.5])
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("measure", "derivative"),
    [
        ("angle", torch.ones_like),
        ("l2", lambda t: (t / 2).cos()),
        ("squared_l2", lambda t: 2 * t.sin()),
        ("hybrid", lambda t: 2 * t.sin() + (t / 2).cos()),
    ],
)
def test_weights_are_the_derivatives_of_the_distance(measure: str, derivative: object) -> None:
    loss = losses.create("triplet", measure=measure, margin=10.0, eps=0.0)
    expected = derivative(ANGLES)  # type: ignore[operator]
    positive, _ = weights(loss, ANGLES, torch.full_like(ANGLES, 1.2))
    _, negative = weights(loss, torch.full_like(ANGLES, 0.8), ANGLES)
    torch.testing.assert_close(positive, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(negative, expected, rtol=1e-4, atol=1e-5)


def test_sdgm_cuts_pairs_that_have_reached_the_optimum() -> None:
    loss = settle(losses.create("sdgm"))
    mean, std = loss.statistics[4:6].tolist()
    theta_p = torch.linspace(0.2, 1.4, 61)
    positive, negative = weights(loss, theta_p, torch.full_like(theta_p, 1.17))
    kept = theta_p - 1.17 >= mean + std * loss.quantile
    assert torch.equal(positive > 0, kept)
    assert torch.equal(negative > 0, kept)


def test_settled_statistics_stay() -> None:
    loss = settle(losses.create("sdgm"))
    before = loss.statistics.clone()
    weights(loss, ANGLES, ANGLES)
    assert torch.equal(loss.statistics, before)
    assert before[0].item() == pytest.approx(0.83, abs=0.05)
    assert before[2].item() == pytest.approx(1.17, abs=0.05)


def test_gradients_at_scale_equal_the_full_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import mining as benchmark

    anchor, positive = benchmark.pairs(1500)
    benchmark.plain(anchor, positive).backward()
    expected = anchor.grad, positive.grad
    anchor.grad = positive.grad = None
    losses.create("hardnet")(anchor, positive).backward()
    for gradient, other in zip((anchor.grad, positive.grad), expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-6 * other.abs().max().item())


@pytest.mark.slow
def test_mining_8192_pairs_needs_less_than_200_mib() -> None:
    command = [sys.executable, str(BENCHMARKS / "mining.py"), "--worker", "chunked", "--threads", "1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak = float(done.stderr.split("peak ")[1].split()[0])
    assert 0 < peak < 200
