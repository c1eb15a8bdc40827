from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import permutations, product

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare
from torch import Tensor

from tiepoint.data import pair_augmentation
from tiepoint.data.pair_augmentation import BLUR, PairAugmentation, augment_pairs, turn_all
from tiepoint.errors import InputError

PUBLISHED = PairAugmentation("published")
CORRECTED = PairAugmentation("corrected")
KGL = PairAugmentation("corrected", scale=(0.95, 1.10), crop=0.1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def texture(side: int, seed: int = 0) -> np.ndarray:
    """Smooth noise in 0..1, without symmetry."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((side, side)).astype(np.float32), (0, 0), 2)
    return (noise - noise.min()) / (noise.max() - noise.min())


@pytest.mark.parametrize("kinds", [5, 7, 8])
def test_some_of(kinds: int) -> None:
    drawn = Counter(map(tuple, pair_augmentation._some_of(kinds, 20000, generator()).T.tolist()))
    share = {(-1, -1): 1 / 3}
    share |= {(one, -1): 1 / 3 / kinds for one in range(kinds)}
    share |= dict.fromkeys(permutations(range(kinds), 2), 1 / 3 / (kinds * (kinds - 1)))
    assert set(drawn) <= set(share)
    expected = [20000 * value for value in share.values()]
    assert chisquare([drawn[key] for key in share], expected).pvalue > 1e-3


def dihedral(patch: np.ndarray) -> list[np.ndarray]:
    """The patch (C, S, S) under each element of the dihedral group."""
    return [np.rot90(p, k, (1, 2)) for p in (patch, patch[:, :, ::-1]) for k in range(4)]


def element(shown: np.ndarray, patch: np.ndarray) -> int:
    """Which element of the group was applied, -1 if the patch was changed otherwise."""
    return next((k for k, turned in enumerate(dihedral(patch)) if np.array_equal(turned, shown)), -1)


def dihedral_shares() -> np.ndarray:
    """Probability of each element, by going through all draws."""
    operations: list[Callable[[np.ndarray, bool], np.ndarray]] = [
        lambda p, heads: p[:, :, ::-1] if heads else p,
        lambda p, heads: p[:, ::-1] if heads else p,
        *(lambda p, heads, k=k: np.rot90(p, k, (1, 2)) for k in (1, 2, 3)),
    ]
    shares = np.zeros(8)
    patch = texture(4)[None]
    for number in range(3):
        outcomes = list(product(permutations(operations, number), product((False, True), repeat=number)))
        for chosen, heads in outcomes:
            shown = patch
            for operation, head in zip(chosen, heads, strict=True):
                shown = operation(shown, head)
            shares[element(shown, patch)] += 1 / 3 / len(outcomes)
    return shares


def test_joint_and_independent_changes() -> None:
    first, second = texture(6, 1)[None], texture(6, 2)[None]
    count = 6000
    stacks = [torch.from_numpy(p).expand(count, 1, 6, 6) for p in (first, second)]
    shown = [s.numpy() for s in augment_pairs(*stacks, PUBLISHED, generator())]
    of_first, of_second = (
        np.array([element(s, p) for s in batch]) for batch, p in zip(shown, (first, second), strict=True)
    )
    # Nothing but flips and turns: no operation, or the blur that does nothing.
    untouched = 1 / 3 + 1 / 3 / 7
    for elements in (of_first, of_second):
        plain = elements[elements >= 0]
        assert binomtest(len(plain), count, untouched).pvalue > 1e-3
        assert chisquare(np.bincount(plain, minlength=8), dihedral_shares() * len(plain)).pvalue > 1e-3
    both = (of_first >= 0) & (of_second >= 0)
    np.testing.assert_array_equal(of_first[both], of_second[both])
    assert binomtest(int(both.sum()), count, untouched**2).pvalue > 1e-3
    # The same patch twice: the own changes differ.
    same = augment_pairs(stacks[0][:200], stacks[0][:200], PUBLISHED, generator())
    equal = (same[0] == same[1]).all(dim=3).all(dim=2).sum().item()
    assert binomtest(equal, 200, untouched**2).pvalue > 1e-3


def test_turn_all() -> None:
    patches = torch.rand(8, 2, 5, 5, generator=generator())
    flip, turns = torch.arange(8) >= 4, torch.arange(8) % 4
    shown = turn_all(patches, flip, turns)
    for k in range(8):
        np.testing.assert_array_equal(shown[k].numpy(), dihedral(patches[k].numpy())[k])


def test_order_of_joint_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    patch = texture(6)[None]
    for turn_first in (True, False):
        # A quarter turn and a flip left-right, which happens half of the time.
        rounds = torch.tensor([[2], [0]] if turn_first else [[0], [2]])
        nothing = torch.full_like(rounds, -1)
        choose = [nothing, rounds]
        monkeypatch.setattr(
            pair_augmentation, "_some_of", lambda kinds, count, _, c=choose: c[int(kinds == 5)].expand(2, count)
        )
        shown, _ = augment_pairs(*2 * [torch.from_numpy(patch).expand(50, 1, 6, 6)], PUBLISHED, generator())
        flipped = np.rot90(patch, 1, (1, 2))[:, :, ::-1] if turn_first else np.rot90(patch[:, :, ::-1], 1, (1, 2))
        allowed = {element(np.rot90(patch, 1, (1, 2)), patch), element(flipped, patch)}
        assert {element(s, patch) for s in shown.numpy()} == allowed


def test_published_is_corrected_without_blur(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []
    original = pair_augmentation._some_of

    def some_of(kinds: int, count: int, generator: torch.Generator) -> Tensor:
        rounds = original(kinds, count, generator)
        if kinds > 5:
            drawn.append(rounds)
        return rounds

    monkeypatch.setattr(pair_augmentation, "_some_of", some_of)
    patches = torch.rand(500, 1, 8, 8, generator=generator(1))
    published = augment_pairs(patches, patches, PUBLISHED, generator())
    corrected = augment_pairs(patches, patches, CORRECTED, generator())
    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[1], drawn[3])
    for rounds, a, b in zip(drawn, published, corrected, strict=False):
        blurred = (rounds == BLUR).any(dim=0)
        assert binomtest(int(blurred.sum()), 500, 1 / 7).pvalue > 1e-3
        same = (a == b).flatten(1).all(dim=1)
        assert same[~blurred].all()
        assert same[blurred].float().mean() < 0.3  # sigmas near 0 change nothing


def test_seeds() -> None:
    patches = torch.rand(20, 1, 8, 8, generator=generator(1))
    states = []
    for how, content in ((CORRECTED, patches), (CORRECTED, 1 - patches), (PUBLISHED, patches), (KGL, patches)):
        draws = generator(5)
        augment_pairs(content, content, how, draws)
        states.append(draws.get_state())
    assert all(torch.equal(state, states[0]) for state in states)  # as many draws, whatever happens
    once, again, other = (augment_pairs(patches, patches, KGL, generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(once[0], again[0])
    assert torch.equal(once[1], again[1])
    assert not torch.equal(once[0], other[0])


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 6),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    side=st.integers(3, 17),
    dtype=st.sampled_from([torch.uint8, torch.uint16, torch.float32, torch.float64]),
    how=st.sampled_from([PairAugmentation(), PUBLISHED, CORRECTED, KGL, PairAugmentation("corrected", (0.2, 3), 0.49)]),
    seed=st.integers(0, 2**31),
)
def test_shape_and_range(
    count: int, channels: tuple[int, int], side: int, dtype: torch.dtype, how: PairAugmentation, seed: int
) -> None:
    top = {torch.uint8: 255, torch.uint16: 65535}.get(dtype, 1)
    values = np.random.default_rng(seed)
    pairs = [
        torch.from_numpy(values.choice([0, 0.3, 1], (count, c, side, side)) * top).to(torch.int32 if top > 1 else dtype)
        for c in channels
    ]
    pairs = [p.to(dtype) for p in pairs]
    before = [p.clone() for p in pairs]
    for shown, given_, kept in zip(augment_pairs(*pairs, how, generator(seed)), pairs, before, strict=True):
        assert shown.shape == given_.shape
        assert shown.dtype == torch.float32
        assert ((shown >= 0) & (shown <= 1)).all()
        assert torch.equal(given_, kept)
        if how.preset == "none":
            np.testing.assert_allclose(shown.numpy(), given_.numpy() / top, atol=1e-7)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (torch.rand(2, 1, 8, 8), torch.rand(3, 1, 8, 8), "as many"),
        (torch.rand(2, 1, 8, 8), torch.rand(2, 1, 9, 9), "one side"),
        (torch.rand(2, 1, 8, 9), torch.rand(2, 1, 8, 9), "side, side"),
        (torch.rand(2, 1, 2, 2), torch.rand(2, 1, 2, 2), "3 px"),
        (torch.rand(2, 8, 8), torch.rand(2, 8, 8), "channels"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.int32), torch.rand(2, 1, 8, 8), "int32"),
        (torch.rand(2, 1, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.bool), "bool"),
    ],
)
@pytest.mark.parametrize("how", [PairAugmentation(), CORRECTED])
def test_bad_patches(first: Tensor, second: Tensor, message: str, how: PairAugmentation) -> None:
    with pytest.raises(InputError, match=message):
        augment_pairs(first, second, how, generator())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "imgaug"}, "imgaug"),
        ({"scale": (0.0, 1.0)}, "above 0"),
        ({"scale": (1.1, 0.9)}, "smaller one first"),
        ({"crop": 0.5}, "below 0.5"),
        ({"crop": -0.1}, "from 0"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PairAugmentation(**options)  # type: ignore[arg-type]
