"""Losses that weigh all negatives of a query by log-sum-exp, the soft form of its hardest one."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tiepoint.losses.all_negatives.candidates import compare_to_candidates, log_sum_exp
from tiepoint.losses.batch import LossModule, on_pairs, option
from tiepoint.losses.mining import Candidates
from tiepoint.losses.regularizers import l2


@dataclass(kw_only=True, eq=False, repr=False)
class InfoNCE(LossModule):
    """L = mean of -log(exp(s+ / t) / (exp(s+ / t) + sum_n exp(s-_n / t))), over all 2n patches as queries.

    Temperature 1 with cross is the N-pair loss in both directions, without its penalty on norms; all is NT-Xent.

    Options:
        temperature: t, above 0.
        candidates, duplicate_threshold: see `compare_to_candidates`.

    Source: Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016; van den Oord et al.,
    Representation Learning with Contrastive Predictive Coding, 2018; Chen et al., SimCLR, ICML 2020.
    """

    temperature: float = option(0.07, "(0, inf)")
    candidates: Candidates = "cross"
    duplicate_threshold: float = option(0.0, "[0, 2)")

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match, similarity, negative = compare_to_candidates(anchor, positive, self.candidates, self.duplicate_threshold)
        rivals = log_sum_exp(similarity / self.temperature, negative)
        return F.softplus(rivals - match / self.temperature).mean()


@dataclass(kw_only=True, eq=False, repr=False)
class MultiSimilarity(LossModule):
    """L = mean of log(1 + exp(-alpha (s+ - base))) / alpha + log(1 + sum_n exp(beta (s-_n - base))) / beta.

    The mean goes over all 2n patches as queries. With `mining`, only negatives with s- > s+ - epsilon count, and only
    queries that have one.

    Options:
        alpha: steepness of the positives, above 0.
        beta: steepness of the negatives, above 0.
        base: cosine about which both turn.
        mining: choose the pairs first, as published.
        epsilon: of the mining, 0 or more.
        candidates, duplicate_threshold: see `compare_to_candidates`.

    Source: Wang et al., Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning, CVPR 2019.
    """

    alpha: float = option(2.0, "(0, inf)")
    beta: float = option(50.0, "(0, inf)")
    base: float = option(0.5, "[-1, 1]")
    mining: bool = False
    epsilon: float = option(0.1, "[0, 2]")
    candidates: Candidates = "all"
    duplicate_threshold: float = option(0.0, "[0, 2)")

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match, similarity, negative = compare_to_candidates(anchor, positive, self.candidates, self.duplicate_threshold)
        pull = F.softplus(-self.alpha * (match - self.base)) / self.alpha
        if self.mining:
            negative = negative & (similarity > match[:, None] - self.epsilon)
            pull = pull * negative.any(dim=1)
        push = F.softplus(log_sum_exp(self.beta * (similarity - self.base), negative)) / self.beta
        return (pull + push).mean()


@dataclass(kw_only=True, eq=False, repr=False)
class Circle(LossModule):
    """L = mean of log(1 + sum_n exp(gamma (w-_n (s-_n - margin) - w+ (s+ - 1 + margin)))).

    The weights w- = max(0, s- + margin) and w+ = max(0, 1 + margin - s+) carry no gradient: a similarity is pulled the
    harder the farther it is from where it should be. The mean goes over all 2n patches as queries.

    Options:
        margin: relaxation, 0..1.
        gamma: scale of the similarities, above 0.
        divide: divide by gamma, so that the gradient's size does not depend on it.
        candidates, duplicate_threshold: see `compare_to_candidates`.

    Source: Sun et al., Circle Loss: A Unified Perspective of Pair Similarity Optimization, CVPR 2020. TFMatch trains
    descriptors with gamma 512, margin 0.1 and division by gamma.
    """

    margin: float = option(0.4, "[0, 1]")
    gamma: float = option(80.0, "(0, inf)")
    divide: bool = False
    candidates: Candidates = "all"
    duplicate_threshold: float = option(0.0, "[0, 2)")

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match, similarity, negative = compare_to_candidates(anchor, positive, self.candidates, self.duplicate_threshold)
        weight_p = F.relu(1 + self.margin - match.detach())
        weight_n = F.relu(similarity.detach() + self.margin)
        pull = -self.gamma * weight_p * (match - 1 + self.margin)
        push = log_sum_exp(self.gamma * weight_n * (similarity - self.margin), negative)
        loss = F.softplus(pull + push).mean()
        return loss / self.gamma if self.divide else loss


@dataclass(kw_only=True, eq=False, repr=False)
class Angular(LossModule):
    """L = mean of log(1 + sum_n exp(4 t (a + p)^T n - 2 (1 + t) a^T p)), t = tan^2 of the bound.

    It bounds the angle at the negative n of the triangle that n makes with the pair.

    Options:
        degrees: bound of the angle, between 0 and 90.
        candidates: all: n runs over both patches of all other points, and the mean over the pairs; cross: each pair
            counts twice, once against the other positives and once against the other anchors.
        duplicate_threshold: negatives closer than this L2 distance to either patch count as the same point and are
            ignored; 0: off.

    Source: Wang et al., Deep Metric Learning with Angular Loss, ICCV 2017.
    """

    degrees: float = option(40.0, "(0, 90)")
    candidates: Candidates = "all"
    duplicate_threshold: float = option(0.0, "[0, 2)")

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        count, bound = len(anchor), math.tan(math.radians(self.degrees)) ** 2
        match, similarity, negative = compare_to_candidates(anchor, positive, "all", self.duplicate_threshold)
        centre = similarity[:count] + similarity[count:]  # (a + p)^T x of each patch x
        negative = negative[:count] & negative[count:]
        exponent = 4 * bound * centre - 2 * (1 + bound) * match[:count, None]
        if self.candidates == "cross":
            exponent, negative = exponent.view(2 * count, count), negative.view(2 * count, count)
        return F.softplus(log_sum_exp(exponent, negative)).mean()


@dataclass(kw_only=True, eq=False, repr=False)
class GeneralizedLifted(LossModule):
    """L = mean of max(0, d+ + log sum_n exp(margin - d-_n)), over all 2n patches as queries; d is the L2 distance.

    With `squared` each pair has one term, max(0, ...)^2 / 2 over the negatives of both its patches: the original
    lifted structure loss.

    Options:
        margin: 0 or more.
        squared: see above.
        candidates, duplicate_threshold: see `compare_to_candidates`.

    Source: Hermans et al., In Defense of the Triplet Loss for Person Re-Identification, 2017; the original is Oh Song
    et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016.
    """

    margin: float = option(1.0, "[0, inf)")
    squared: bool = False
    candidates: Candidates = "all"
    duplicate_threshold: float = option(0.0, "[0, 2)")

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match, similarity, negative = compare_to_candidates(anchor, positive, self.candidates, self.duplicate_threshold)
        rivals = log_sum_exp(self.margin - l2(similarity), negative)
        if not self.squared:
            return F.relu(l2(match) + rivals).mean()
        of_pair = torch.logaddexp(*rivals.chunk(2))
        return (F.relu(l2(match[: len(anchor)]) + of_pair) ** 2).mean() / 2
