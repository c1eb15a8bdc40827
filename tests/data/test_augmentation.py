from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare, kstest
from torch import Tensor

from tiepoint.data.augmentation import Augmentation, augment, sample
from tiepoint.data.crop import central_crop
from tiepoint.data.noise import LEVELS, draw, rotations
from tiepoint.features.extract import extract
from tiepoint.features.frames import compose, perturb

PLAIN = Augmentation(rotation=0, crop_area=(1, 1), crop_ratio=(1, 1), dihedral="none")
TURNS = [np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), k) for k in range(4)]
DIHEDRAL = [*TURNS, *(turn @ np.diag([-1, 1]) for turn in TURNS)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramps(count: int, margin: float, side: int = 64) -> Tensor:
    """Pairs (count, 2, 2, side, side) whose channels hold x and y in sides of the support, plus 1/2; linear, so that
    bilinear sampling is exact. Values leave 0..1 in the margin: nothing clips them."""
    axis = ((torch.arange(side) + 0.5) / side - 0.5) * margin + 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y]).expand(count, 2, 2, side, side)


def recovered(shown: Tensor) -> np.ndarray:
    """The maps (N, 2, 3) through which the ramps (N, 2, S, S) are seen; fails where they are not affine."""
    size = shown.shape[-1]
    axis = (np.arange(size) + 0.5) / size - 0.5
    y, x = np.meshgrid(axis, axis, indexing="ij")
    design = np.stack([x.ravel(), y.ravel(), np.ones(size * size)], axis=1)
    values = shown.double().numpy().reshape(len(shown), 2, -1) - 0.5
    maps = values @ np.linalg.pinv(design).T
    np.testing.assert_allclose(maps @ design.T, values, atol=1e-5)
    return np.asarray(maps)


def both(pairs: Tensor, how: Augmentation, margin: float, size: int, seed: int = 0) -> Tensor:
    """Anchors and positives (n, 2, C, size, size)."""
    return torch.stack(augment(pairs, how, margin, size, generator(seed)), dim=1)


def smooth_image(size: int, sigma: float) -> np.ndarray:
    noise = cv2.GaussianBlur(np.random.default_rng(0).standard_normal((size, size)).astype(np.float32), (0, 0), sigma)
    return np.clip(128 + 45 * noise / noise.std(), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("margin", "size", "kept"), [(1.0, 32, 64), (2.0, 16, 32), (4 / 3, 24, 48), (4.0, 8, 16)])
def test_without_changes_the_central_part_is_averaged_down(margin: float, size: int, kept: int) -> None:
    pairs = torch.randint(256, (3, 2, 2, 64, 64), generator=generator(), dtype=torch.uint8)
    edge = (64 - kept) // 2
    expected = F.avg_pool2d(pairs[..., edge : edge + kept, edge : edge + kept].flatten(0, 1) / 255, 2)
    torch.testing.assert_close(both(pairs, PLAIN, margin, size).flatten(0, 1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("margin", "size"), [(1.0, 32), (1.75, 32), (1.75, 64), (1.3, 24)])
def test_without_changes_training_sees_what_a_describer_sees(margin: float, size: int) -> None:
    image = torch.from_numpy(smooth_image(128, 6))  # too smooth for the filters to differ
    pairs = image.reshape(2, 64, 2, 64).permute(0, 2, 1, 3)[:, :, None]
    ours = both(pairs, PLAIN, margin, size).flatten(0, 1)
    expected = central_crop(pairs.flatten(0, 1) / 255, margin, size)
    torch.testing.assert_close(ours, expected, atol=4 / 255, rtol=0)


def test_shapes_types_and_range() -> None:
    how = Augmentation(noise="tough", contrast=0.5, brightness=0.3)
    pairs = torch.randint(256, (5, 2, 3, 64, 64), generator=generator(), dtype=torch.uint8)
    anchors, positives = augment(pairs, how, 1.75, 32, generator())
    for batch in (anchors, positives):
        assert batch.shape == (5, 3, 32, 32)
        assert batch.dtype == torch.float32
        assert 0 <= batch.min() < batch.max() <= 1


@pytest.mark.parametrize(("dtype", "unit"), [(torch.uint8, 255), (torch.uint16, 65535)])
def test_integers_are_scaled_by_their_range(dtype: torch.dtype, unit: int) -> None:
    values = torch.randint(unit + 1, (3, 2, 1, 64, 64), generator=generator())
    ours, expected = (both(pairs, Augmentation(), 1.0, 32) for pairs in (values.to(dtype), values / unit))
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("how", [Augmentation(), Augmentation(noise="hard", contrast=0.2, brightness=0.1)])
def test_the_generator_decides_everything(how: Augmentation) -> None:
    pairs = torch.rand(4, 2, 1, 64, 64, generator=generator())
    before = pairs.clone()
    torch.manual_seed(1)
    one = both(pairs, how, 1.75, 32, 3)
    torch.manual_seed(2)
    same, other = both(pairs, how, 1.75, 32, 3), both(pairs, how, 1.75, 32, 4)
    assert torch.equal(one, same)
    assert not torch.isclose(one, other).all(dim=(1, 2, 3, 4)).any()
    assert torch.equal(pairs, before)


@pytest.mark.parametrize("margin", [1.5, 2.5])
def test_a_map_leads_from_the_result_to_the_support(margin: float) -> None:
    maps = torch.tensor([[[0.9, 0.2, 0.05], [-0.1, 1.1, -0.04]], [[0.0, -1.0, 0.0], [1.0, 0.0, 0.1]]])
    shown = sample(ramps(1, margin)[0], maps, margin, 32)
    np.testing.assert_allclose(recovered(shown), maps.numpy(), atol=1e-5)


def test_a_blob_moves_as_its_map_says() -> None:
    """What lies at A u + t of the stored patch appears at u: a shift to the right brings the right to the centre."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")

    def blob(u: float, v: float) -> Tensor:
        centre = torch.tensor([u, v]) * 64 / 2 + 31.5  # margin 2
        return torch.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 8)[None, None]

    def seen(stored: Tensor, matrix: Tensor, shift: tuple[float, float]) -> tuple[float, float]:
        shown = sample(stored, torch.cat([matrix, torch.tensor(shift)[:, None]], dim=1)[None], 2.0, 32)[0, 0]
        axis = (torch.arange(32) + 0.5) / 32 - 0.5
        return float((shown * axis).sum() / shown.sum()), float((shown * axis[:, None]).sum() / shown.sum())

    one, quarter = torch.eye(2), rotations(torch.tensor([torch.pi / 2]))[0]
    assert seen(blob(0.2, -0.1), one, (0.0, 0.0)) == pytest.approx((0.2, -0.1), abs=1e-3)
    assert seen(blob(0.2, -0.1), one, (0.2, -0.1)) == pytest.approx((0, 0), abs=1e-3)
    assert seen(blob(0.2, 0.0), 2 * one, (0.0, 0.0)) == pytest.approx((0.1, 0), abs=1e-3)
    assert seen(blob(0.0, 0.2), quarter, (0.0, 0.0)) == pytest.approx((0.2, 0), abs=1e-3)


@pytest.mark.parametrize("noise", ["easy", "hard"])
def test_augmenting_a_stored_patch_is_cutting_with_the_disturbed_frame(noise: str) -> None:
    """The ramps beside the image tell which map was drawn, whatever the order of the draws."""
    margin, count = 3.0, 20
    image = smooth_image(700, 20)
    rng = np.random.default_rng(1)
    frames = compose(rng.uniform(250, 450, (2 * count, 2)), rng.uniform(4, 5, 2 * count), rng.uniform(-3, 3, 2 * count))
    stored = torch.from_numpy(extract(image, frames, support=12 * margin)).view(count, 2, 1, 64, 64) / 255
    how = Augmentation(noise=noise, rotation=20, crop_area=(0.6, 1.0), noise_spread=False)
    shown = both(torch.cat([stored, ramps(count, margin)], dim=2), how, margin, 32).flatten(0, 1)
    maps = recovered(shown[:, 1:])
    expected = extract(image, perturb(frames, maps), size=32)[:, 0].astype(int)
    assert np.abs(255 * shown[:, 0].numpy() - expected).max() < 4
    backwards = maps.copy()
    backwards[:, :, :2] = np.linalg.inv(maps[:, :, :2])
    assert np.abs(extract(image, perturb(frames, backwards), size=32)[:, 0] - expected).max() > 40


@pytest.mark.parametrize(
    ("kind", "shares"), [("published", [1 / 12] * 4 + [1 / 6] * 4), ("uniform", [1 / 8] * 8), ("none", [1] + [0] * 7)]
)
def test_turns_and_flips_have_their_shares_and_are_joint(kind: str, shares: list[float]) -> None:
    count = 4800
    shown = both(ramps(count, 1.0, side=8), replace(PLAIN, dihedral=kind), 1.0, 4)
    torch.testing.assert_close(shown[:, 0], shown[:, 1])
    maps = recovered(shown[:, 0])
    np.testing.assert_allclose(maps[:, :, 2], 0, atol=1e-6)
    kinds = [np.isclose(maps[:, :, :2], matrix, atol=1e-5).all(axis=(1, 2)) for matrix in DIHEDRAL]
    assert (np.sum(kinds, axis=0) == 1).all()
    counts, expected = np.sum(kinds, axis=1), count * np.array(shares)
    assert (counts[expected == 0] == 0).all()
    if kind != "none":
        assert chisquare(counts, expected).pvalue > 1e-3


def test_turns_and_flips_move_pixels_exactly() -> None:
    """Every dihedral map of a patch is numpy's, pixel by pixel."""
    patch = torch.rand(64, 64, generator=generator())
    small = F.avg_pool2d(patch[None], 2)[0].numpy()
    possible = [np.rot90(face, k) for face in (small, small[:, ::-1]) for k in range(4)]
    shown = both(patch.expand(60, 2, 1, 64, 64), replace(PLAIN, dihedral="published"), 1.0, 32)
    found = {
        index
        for one in shown[:, 0, 0].numpy()
        for index, other in enumerate(possible)
        if np.allclose(one, other, atol=1e-5)
    }
    assert found == set(range(8))


def test_rotation_is_uniform_and_each_patchs_own() -> None:
    shown = both(ramps(1500, 2.0, side=16), replace(PLAIN, rotation=30), 2.0, 4)
    maps = recovered(shown.flatten(0, 1))
    turns = np.rad2deg(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    np.testing.assert_allclose(
        maps[:, :, :2] @ maps[:, :, :2].transpose(0, 2, 1), np.eye(2)[None].repeat(3000, 0), atol=1e-5
    )
    np.testing.assert_allclose(maps[:, :, 2], 0, atol=1e-6)
    assert kstest(turns, "uniform", args=(-30, 60)).pvalue > 1e-3
    assert abs(np.corrcoef(turns[::2], turns[1::2])[0, 1]) < 0.08


def test_a_crop_stays_inside_and_has_its_area_and_ratio() -> None:
    how = replace(PLAIN, crop_area=(0.5, 0.8), crop_ratio=(0.8, 1.25))
    maps = recovered(both(ramps(1500, 2.0, side=16), how, 2.0, 4).flatten(0, 1))
    np.testing.assert_allclose(maps[:, [0, 1], [1, 0]], 0, atol=1e-6)
    sides, shift = maps[:, [0, 1], [0, 1]], maps[:, :, 2]
    assert (np.abs(shift) + sides / 2 <= 0.5 + 1e-6).all()
    assert kstest(sides.prod(axis=1), "uniform", args=(0.5, 0.3)).pvalue > 1e-3
    logs = np.log(sides[:, 0] / sides[:, 1])
    assert kstest(logs, "uniform", args=(-np.log(1.25), 2 * np.log(1.25))).pvalue > 1e-3
    places = shift / (1 - sides) + 0.5
    for axis in (0, 1):
        assert kstest(places[:, axis], "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(shift[::2, 0], shift[1::2, 0])[0, 1]) < 0.08


def test_noise_has_the_deviation_of_its_level_on_each_patch_by_itself() -> None:
    how = replace(PLAIN, noise="hard", noise_spread=False)
    maps = recovered(both(ramps(2000, 8.0, side=16), how, 8.0, 4).flatten(0, 1))
    turn = np.arctan2(maps[:, 1, 0] - maps[:, 0, 1], maps[:, 0, 0] + maps[:, 1, 1])
    assert np.rad2deg(turn.std()) == pytest.approx(LEVELS["hard"].rotation, rel=0.05)
    assert (0.5 * np.log(np.linalg.det(maps[:, :, :2]))).std() == pytest.approx(LEVELS["hard"].scale, rel=0.05)
    np.testing.assert_allclose(maps[:, :, 2].std(axis=0), LEVELS["hard"].shift, rtol=0.05)
    assert abs(np.corrcoef(turn[::2], turn[1::2])[0, 1]) < 0.07


def test_spread_noise_holds_all_strengths() -> None:
    """A product of a uniform strength and a normal error has a third of its variance."""
    how = replace(PLAIN, noise="hard", noise_spread=True)
    maps = recovered(both(ramps(3000, 8.0, side=16), how, 8.0, 4).flatten(0, 1))
    np.testing.assert_allclose(maps[:, :, 2].std(axis=0), LEVELS["hard"].shift / 3**0.5, rtol=0.05)


def test_shifts_are_of_the_patch_that_the_network_sees_not_of_the_stored_one() -> None:
    maps = torch.tensor([[[1.0, 0.0, 0.25], [0.0, 1.0, 0.0]]])
    stored = torch.zeros(1, 1, 64, 64)
    stored[..., 40] = 1  # at margin 2 a quarter of the support is 8 stored pixels
    shown = sample(stored, maps, 2.0, 32)[0, 0, 16]
    assert shown.argmax() == 16


@pytest.mark.parametrize(("padding", "corner"), [("zeros", 0.0), ("border", 1.0)])
def test_beyond_the_stored_patch_lies_the_padding(padding: str, corner: float) -> None:
    eighth = torch.cat([rotations(torch.tensor([torch.pi / 4])), torch.zeros(1, 2, 1)], dim=2)
    white = torch.ones(1, 1, 64, 64)
    shown = sample(white, eighth, 1.0, 32, padding)[0, 0]
    assert shown[0, 0] == shown[-1, 0] == corner
    assert shown[16, 16] == 1
    torch.testing.assert_close(sample(white, eighth, 1.75, 32, padding), torch.ones(1, 1, 32, 32))


def test_the_setting_of_the_padding_is_used() -> None:
    pairs = torch.ones(50, 2, 1, 64, 64)
    for padding, darkest in (("zeros", 0.0), ("border", 1.0)):
        shown = both(pairs, Augmentation(rotation=45, padding=padding), 1.0, 32)
        assert shown.min() == pytest.approx(darkest, abs=1e-6)


def test_contrast_is_log_normal_about_each_patchs_mean() -> None:
    pairs = 0.5 + 0.05 * (torch.rand(1000, 2, 1, 16, 16, generator=generator()) - 0.5)
    plain, shown = (both(pairs, how, 1.0, 8).flatten(0, 1) for how in (PLAIN, replace(PLAIN, contrast=0.3)))
    torch.testing.assert_close(shown.mean(dim=(1, 2, 3)), plain.mean(dim=(1, 2, 3)), atol=1e-5, rtol=0)
    gains = (shown.std(dim=(1, 2, 3)) / plain.std(dim=(1, 2, 3))).log().numpy()
    assert kstest(gains / 0.3, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(gains[::2], gains[1::2])[0, 1]) < 0.1


def test_brightness_is_normal_and_clamped() -> None:
    pairs = torch.full((1000, 2, 1, 8, 8), 0.5)
    offsets = (both(pairs, replace(PLAIN, brightness=0.1), 1.0, 4).flatten(0, 1) - 0.5)[:, 0]
    assert (offsets == offsets[:, :1, :1]).all()
    assert kstest(offsets[:, 0, 0].numpy() / 0.1, "norm").pvalue > 1e-3
    wild = both(pairs, replace(PLAIN, brightness=5.0), 1.0, 4)
    assert (wild.min(), wild.max()) == (0, 1)


def test_perturb_takes_maps_as_they_are_drawn() -> None:
    """The scene protocol and training share their maps: both read u -> A u + t in sides of the support."""
    maps = draw(LEVELS["hard"], 30, generator()).double().numpy()
    frames = np.tile(np.array([[1 / 12, 0, 0], [0, 1 / 12, 0]]), (30, 1, 1))
    moved = perturb(frames, maps, support=12.0)
    np.testing.assert_allclose(12 * moved[:, :, :2], maps[:, :, :2], atol=1e-12)
    np.testing.assert_allclose(moved[:, :, 2], maps[:, :, 2], atol=1e-12)


@pytest.mark.parametrize("how", [replace(PLAIN, noise="hard"), replace(PLAIN, rotation=30)])
def test_noise_and_rotation_act_on_the_stored_patch_and_the_crop_within(how: Augmentation) -> None:
    """Of a crop as wide as the patch and a quarter as high, only the y axis is short: the map's second column."""
    narrow = replace(how, crop_area=(0.25, 0.25), crop_ratio=(4, 4))
    maps = recovered(both(ramps(500, 8.0, side=16), narrow, 8.0, 4).flatten(0, 1))
    assert maps[:, 1, 0].std() == pytest.approx(4 * maps[:, 0, 1].std(), rel=0.1)
