from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from tiepoint.data.noise import LEVELS, FrameNoise, draw, rotations

COUNT = 40_000
TABLE = {  # rotation (degrees), shift, scale, stretch: the scene protocol
    "none": (0, 0, 0, 0),
    "easy": (8, 0.03, 0.1, 0.05),
    "hard": (15, 0.06, 0.2, 0.12),
    "tough": (22, 0.10, 0.3, 0.2),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parts(maps: torch.Tensor) -> dict[str, np.ndarray]:
    """What `draw` put together: A = R(rotation) S with S symmetric, eigenvalues exp(scale +- stretch)."""
    matrix = maps[:, :, :2].double().numpy()
    turn = np.arctan2(matrix[:, 1, 0] - matrix[:, 0, 1], matrix[:, 0, 0] + matrix[:, 1, 1])
    logs = np.log(np.linalg.svd(matrix, compute_uv=False))
    symmetric = rotations(torch.from_numpy(-turn)).numpy() @ matrix
    _, vectors = np.linalg.eigh(symmetric)
    direction = np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]) % np.pi  # along the longer axis
    return {
        "rotation": np.rad2deg(turn),
        "scale": logs.sum(axis=1) / 2,
        "stretch": (logs[:, 0] - logs[:, 1]) / 2,  # its magnitude
        "direction": direction,
        "x": maps[:, 0, 2].double().numpy(),
        "y": maps[:, 1, 2].double().numpy(),
    }


def test_the_levels_are_those_of_the_protocol() -> None:
    assert {name: astuple(noise) for name, noise in LEVELS.items()} == TABLE


@pytest.mark.parametrize("level", ["easy", "hard", "tough"])
def test_each_error_is_normal_with_the_deviation_of_its_level(level: str) -> None:
    noise = LEVELS[level]
    drawn = parts(draw(noise, COUNT, generator()))
    for name, deviation in (
        ("rotation", noise.rotation),
        ("x", noise.shift),
        ("y", noise.shift),
        ("scale", noise.scale),
    ):
        assert kstest(drawn[name], norm(0, deviation).cdf).pvalue > 1e-3, name
        assert drawn[name].std() == pytest.approx(deviation, rel=0.02), name
    assert np.sqrt((drawn["stretch"] ** 2).mean()) == pytest.approx(noise.stretch, rel=0.02)
    assert kstest(drawn["direction"], "uniform", args=(0, np.pi)).pvalue > 1e-3


def test_errors_are_independent() -> None:
    drawn = parts(draw(LEVELS["hard"], COUNT, generator(1)))
    correlation = np.corrcoef(np.stack(list(drawn.values())))
    assert np.abs(correlation - np.eye(len(drawn))).max() < 0.025


def test_stretch_keeps_the_area() -> None:
    maps = draw(FrameNoise(rotation=30, shift=0.1, scale=0, stretch=0.4), 1000, generator())
    torch.testing.assert_close(torch.linalg.det(maps[:, :, :2]), torch.ones(1000), atol=1e-5, rtol=0)
    assert parts(maps)["stretch"].max() > 1


def test_no_noise_is_the_identity() -> None:
    maps = draw(LEVELS["none"], 10, generator())
    expected = torch.cat([torch.eye(2), torch.zeros(2, 1)], dim=1).expand(10, 2, 3)
    torch.testing.assert_close(maps, expected, atol=1e-6, rtol=0)


def test_strength_scales_each_map_by_itself() -> None:
    strength = torch.linspace(0, 1, 101)
    full, scaled = (parts(draw(LEVELS["hard"], 101, generator(2), s)) for s in (1.0, strength))
    for name in ("rotation", "scale", "stretch", "x", "y"):
        np.testing.assert_allclose(scaled[name], full[name] * strength.numpy(), atol=2e-5)


def test_maps_depend_on_the_generator_alone() -> None:
    one, same, other = (draw(LEVELS["hard"], 20, generator(seed)) for seed in (3, 3, 4))
    assert one.shape == (20, 2, 3)
    assert torch.equal(one, same)
    assert not torch.isclose(one, other).all(dim=(1, 2)).any()


def test_rotations_turn_x_towards_y() -> None:
    turned = rotations(torch.tensor([0.0, torch.pi / 2, torch.pi / 6]))
    torch.testing.assert_close(turned[0], torch.eye(2))
    torch.testing.assert_close(turned[1] @ torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(turned[2][:, 0], torch.tensor([0.75**0.5, 0.5]))
    torch.testing.assert_close(torch.linalg.det(turned), torch.ones(3))
