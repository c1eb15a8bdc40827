"""Multi-similarity, circle, InfoNCE, lifted and angular loss against loops and pytorch-metric-learning."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from oracle import assert_equal, negatives, on_normalised, pairs, queries, value_and_gradients
from pytorch_metric_learning import distances, losses, miners, reducers
from torch import Tensor, nn

from tiepoint.losses.all_negatives.log_sum_exp import Angular, Circle, GeneralizedLifted, InfoNCE, MultiSimilarity

GUARD = 1.05  # large, so that it acts in a random batch


def mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()


def log_sum(values: list[Tensor]) -> Tensor:
    return torch.log(sum((torch.exp(x) for x in values), torch.zeros((), dtype=torch.float64)))


def l2(similarity: Tensor) -> Tensor:
    return torch.sqrt(2 - 2 * similarity)


@pytest.mark.parametrize("candidates", ["cross", "all"])
@pytest.mark.parametrize("duplicate_threshold", [0.0, GUARD])
class TestAgainstLoops:
    def test_multi_similarity(self, candidates: str, duplicate_threshold: float) -> None:
        def formula(a: Tensor, p: Tensor) -> Tensor:
            return mean(
                [
                    torch.log(1 + torch.exp(-3 * (s - 0.4))) / 3
                    + torch.log(1 + torch.exp(log_sum([20 * (x - 0.4) for x in n]))) / 20
                    for s, n in queries(a, p, candidates, duplicate_threshold)
                ]
            )

        assert_equal(
            MultiSimilarity(alpha=3, beta=20, base=0.4, candidates=candidates, duplicate_threshold=duplicate_threshold),
            formula,
            *pairs(7),
        )

    def test_multi_similarity_with_mining(self, candidates: str, duplicate_threshold: float) -> None:
        def formula(a: Tensor, p: Tensor) -> Tensor:
            terms = []
            for s, n in queries(a, p, candidates, duplicate_threshold):
                kept = [x for x in n if x > s - 0.1]
                pull, push = torch.log(1 + torch.exp(-2 * (s - 0.5))) / 2, log_sum([50 * (x - 0.5) for x in kept])
                terms.append(pull + torch.log(1 + torch.exp(push)) / 50 if kept else pull * 0)
            return mean(terms)

        assert_equal(
            MultiSimilarity(mining=True, candidates=candidates, duplicate_threshold=duplicate_threshold),
            formula,
            *pairs(7, seed=2, noise=2.0),
        )

    @pytest.mark.parametrize("divide", [False, True])
    def test_circle(self, candidates: str, duplicate_threshold: float, divide: bool) -> None:
        def formula(a: Tensor, p: Tensor) -> Tensor:
            terms = []
            for s, n in queries(a, p, candidates, duplicate_threshold):
                pull = -10 * max(1.3 - s.detach(), 0) * (s - 0.7)
                push = log_sum([10 * max(x.detach() + 0.3, 0) * (x - 0.3) for x in n])
                terms.append(torch.log(1 + torch.exp(pull + push)))
            return mean(terms) / (10 if divide else 1)

        assert_equal(
            Circle(margin=0.3, gamma=10, divide=divide, candidates=candidates, duplicate_threshold=duplicate_threshold),
            formula,
            *pairs(7),
        )

    def test_info_nce(self, candidates: str, duplicate_threshold: float) -> None:
        def formula(a: Tensor, p: Tensor) -> Tensor:
            return mean(
                [
                    log_sum([s / 0.2, *(x / 0.2 for x in n)]) - s / 0.2
                    for s, n in queries(a, p, candidates, duplicate_threshold)
                ]
            )

        assert_equal(
            InfoNCE(temperature=0.2, candidates=candidates, duplicate_threshold=duplicate_threshold), formula, *pairs(7)
        )

    def test_generalized_lifted(self, candidates: str, duplicate_threshold: float) -> None:
        def formula(a: Tensor, p: Tensor) -> Tensor:
            return mean(
                [
                    torch.relu(l2(s) + log_sum([0.3 - l2(x) for x in n]))
                    for s, n in queries(a, p, candidates, duplicate_threshold)
                ]
            )

        assert_equal(
            GeneralizedLifted(margin=0.3, candidates=candidates, duplicate_threshold=duplicate_threshold),
            formula,
            *pairs(5),
        )

    def test_original_lifted(self, candidates: str, duplicate_threshold: float) -> None:
        def formula(a: Tensor, p: Tensor) -> Tensor:
            found = queries(a, p, candidates, duplicate_threshold)
            return mean(
                [
                    torch.relu(l2(s) + log_sum([0.3 - l2(x) for x in n + m])) ** 2 / 2
                    for (s, n), (_, m) in zip(found[::2], found[1::2], strict=True)
                ]
            )

        assert_equal(
            GeneralizedLifted(margin=0.3, squared=True, candidates=candidates, duplicate_threshold=duplicate_threshold),
            formula,
            *pairs(5),
        )

    def test_angular(self, candidates: str, duplicate_threshold: float) -> None:
        t = math.tan(math.radians(35)) ** 2

        def formula(a: Tensor, p: Tensor) -> Tensor:
            terms = []
            for i in range(len(a)):
                far = [j for j in range(len(a)) if j != i]
                sides = [[side[j] for j in far] for side in (a, p)]
                for rivals in [sides[0] + sides[1]] if candidates == "all" else sides:
                    let = [x for x in rivals if min((x - a[i]).norm(), (x - p[i]).norm()) >= duplicate_threshold]
                    exponents = [4 * t * (a[i] + p[i]) @ x - 2 * (1 + t) * a[i] @ p[i] for x in let]
                    terms.append(torch.log(1 + torch.exp(log_sum(exponents))))
            return mean(terms)

        assert_equal(
            Angular(degrees=35, candidates=candidates, duplicate_threshold=duplicate_threshold), formula, *pairs(7)
        )


def test_the_threshold_of_these_tests_passes_some_over_and_leaves_some() -> None:
    for seed, n, noise in ((0, 7, 0.7), (2, 7, 2.0), (0, 5, 0.7)):
        anchor, positive = pairs(n, seed=seed, noise=noise)
        left = sum(len(x) for i in range(n) for x in negatives(anchor, positive, i, "cross", GUARD))
        assert 0 < left < 2 * n * (n - 1)


PEERS: dict[str, tuple[type[nn.Module], dict[str, float], Callable[[], nn.Module]]] = {
    "multi_similarity": (MultiSimilarity, {}, lambda: losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)),
    "circle": (Circle, {}, lambda: losses.CircleLoss(m=0.4, gamma=80, reducer=reducers.MeanReducer())),
    "circle_tfmatch": (
        Circle,
        {"margin": 0.1, "gamma": 512},
        lambda: losses.CircleLoss(m=0.1, gamma=512, reducer=reducers.MeanReducer()),
    ),
    "info_nce": (InfoNCE, {}, lambda: losses.NTXentLoss(temperature=0.07)),
    "generalized_lifted": (GeneralizedLifted, {}, lambda: losses.GeneralizedLiftedStructureLoss(neg_margin=1)),
    "angular": (Angular, {}, lambda: losses.AngularLoss(alpha=40)),
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("candidates", ["cross", "all"])
def test_equals_pytorch_metric_learning(name: str, candidates: str) -> None:
    kind, options, peer = PEERS[name]
    points = torch.arange(20)  # cloned below: labels that are the same object make the peer leave the match out

    def one_call(a: Tensor, p: Tensor) -> Tensor:
        return peer()(torch.cat([a, p]), points.repeat(2))

    def both_directions(a: Tensor, p: Tensor) -> Tensor:
        return (
            peer()(a, points, ref_emb=p, ref_labels=points.clone())
            + peer()(p, points, ref_emb=a, ref_labels=points.clone())
        ) / 2

    formula = one_call if candidates == "all" else both_directions
    assert_equal(on_normalised(kind(candidates=candidates, **options)), on_normalised(formula), *pairs(20, seed=5))


def test_published_multi_similarity_equals_pytorch_metric_learning_with_its_miner() -> None:
    points, miner = torch.arange(20).repeat(2), miners.MultiSimilarityMiner(epsilon=0.1)

    def peer(a: Tensor, p: Tensor) -> Tensor:
        patches = torch.cat([a, p])
        return losses.MultiSimilarityLoss()(patches, points, miner(patches, points))

    assert_equal(on_normalised(MultiSimilarity(mining=True)), peer, *pairs(20, seed=5, noise=1.0))


def test_original_lifted_equals_pytorch_metric_learning() -> None:
    def peer(a: Tensor, p: Tensor) -> Tensor:
        return losses.LiftedStructureLoss(neg_margin=1)(torch.cat([a, p]), torch.arange(20).repeat(2))

    assert_equal(on_normalised(GeneralizedLifted(squared=True)), peer, *pairs(20, seed=5))


def test_n_pair_is_info_nce_at_temperature_one() -> None:
    def peer(a: Tensor, p: Tensor) -> Tensor:
        points = torch.arange(12)
        loss = losses.NPairsLoss(distance=distances.DotProductSimilarity(normalize_embeddings=False))
        in_turn = [torch.stack([x, y], dim=1).flatten(0, 1) for x, y in ((a, p), (p, a))]
        return sum(loss(x, points.repeat_interleave(2)) for x in in_turn) / 2

    assert_equal(InfoNCE(temperature=1.0), peer, *pairs(12, seed=4))


def test_a_query_without_negatives_adds_nothing_to_losses_that_weigh_it_against_them() -> None:
    anchor, positive = pairs(6)
    for loss in (
        Circle(duplicate_threshold=1.99),
        InfoNCE(duplicate_threshold=1.99),
        GeneralizedLifted(duplicate_threshold=1.99),
        Angular(duplicate_threshold=1.99),
    ):
        value, *gradients = value_and_gradients(loss, anchor, positive)
        assert value == 0
        assert all(torch.equal(g, torch.zeros_like(g)) for g in gradients)
