"""Statistic-based dynamic gradient modulation, the loss of SDGMNet."""

import math
from statistics import NormalDist

import torch
from torch import Tensor, nn

from tiepoint.losses.batch import on_pairs, within
from tiepoint.losses.mining import hardest

POSITIVE_MEAN, POSITIVE_STD, NEGATIVE_MEAN, NEGATIVE_STD, GAP_MEAN, GAP_STD, POSITIVE_POWER, NEGATIVE_POWER = range(8)


class SDGM(nn.Module):
    """L = sum_i [alpha w+_i theta+_i / P+ - w-_i theta-_i / P-]: angles weighted by what their running statistics say.

    theta+_i is the angle of pair i, theta-_i the angle of its hardest negative. The weights carry no gradient:

    - included angle: every pair has the same base gradient, so the weights alone decide.
    - auto-focus: w = exp(-(theta - mean)^2 / (2 (pi/6 + std)^2)), positives and negatives each by their own statistics.
    - probabilistic margin: pairs with theta+ - theta- under the quantile `margin_probability` of a normal
      distribution are cut.
    - power adjustment: P+ and P- are running sums of the weights, so positives and negatives stay balanced.

    The first `warm_up` of the run uses neither auto-focus nor margin. Until `duplicate_start`, a negative is ignored as
    a duplicate only if it coincides with the point (similarity 1 - 1e-5), later below the angle `duplicate_angle`.

    Each part can be switched off: `angle=False` measures by L2 distance, `auto_focus=False` and `margin_probability=0`
    weigh all pairs alike, `power=False` divides by the number of pairs. `initial_power`, where P+ and P- start, is
    counted in batches: 10,000 over the published 1,024 pairs. With `unbiased` the running statistics are the mean of
    all batches seen until `momentum` remembers as many, so that a short run does not depend on where they start. They
    are a buffer, saved with the state dict.

    Source: Deng and Ma, SDGMNet, AAAI 2024; constants of the released training code.
    """

    takes_unnormalized = False
    memory = 0.005
    statistics: Tensor
    steps: Tensor

    def __init__(
        self,
        alpha: float = 0.9,
        margin_probability: float = 0.6,
        momentum: float = 0.999,
        *,
        angle: bool = True,
        auto_focus: bool = True,
        power: bool = True,
        warm_up: float = 0.1,
        duplicate_start: float = 0.125,
        duplicate_angle: float = 0.6,
        initial_power: float = 10000 / 1024,
        unbiased: bool = False,
    ) -> None:
        super().__init__()
        within("alpha", alpha, 0, math.inf, "[)")
        within("margin_probability", margin_probability, 0, 1, "[)")
        within("momentum", momentum, 0, 1, "[)")
        within("warm_up", warm_up, 0, 1)
        within("duplicate_start", duplicate_start, 0, 1)
        within("duplicate_angle", duplicate_angle, 0, math.pi)
        within("initial_power", initial_power, 0, math.inf, "()")
        self.alpha = alpha
        self.quantile = NormalDist().inv_cdf(margin_probability) if margin_probability else -math.inf
        self.momentum = momentum
        self.angle, self.auto_focus, self.power = angle, auto_focus, power
        self.warm_up = warm_up
        self.duplicate_start = duplicate_start
        self.duplicate_similarity = math.cos(duplicate_angle)
        self.initial_power = initial_power
        self.unbiased = unbiased
        start = torch.zeros(8)
        start[GAP_MEAN] = -1.0
        self.register_buffer("statistics", start)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs.

        Args:
            anchor: (n, D) unit vectors of any floating type; row i matches row i of `positive`; n at least 2.
            positive: (n, D).
            progress: share of the run that is done, 0..1.

        Returns:
            scalar, float32. Pairs whose negatives are all ignored as duplicates contribute zero.
        """
        limit = 1 - 1e-5 if progress < self.duplicate_start else self.duplicate_similarity
        negative_similarity, valid = hardest(anchor, positive, "all", limit, "point")
        theta_p = self._measure((anchor * positive).sum(dim=1)[valid])
        theta_n = self._measure(negative_similarity[valid])
        if len(theta_p) < 2:
            return (theta_p.sum() - theta_n.sum()) * 0.0
        weight_p, weight_n = self._weights(theta_p.detach(), theta_n.detach(), progress >= self.warm_up, len(anchor))
        return (self.alpha * weight_p * theta_p - weight_n * theta_n).sum()

    def _measure(self, similarity: Tensor) -> Tensor:
        similarity = similarity.clamp(-1 + 1e-5, 1 - 1e-5)
        return torch.acos(similarity) if self.angle else torch.sqrt(2 - 2 * similarity)

    @torch.no_grad()
    def _weights(self, theta_p: Tensor, theta_n: Tensor, warm: bool, count: int) -> tuple[Tensor, Tensor]:
        if self.steps == 0 and not self.unbiased:
            self.statistics[POSITIVE_POWER] = self.statistics[NEGATIVE_POWER] = self.initial_power * count
        gap = theta_p - theta_n
        values = [theta_p.mean(), theta_p.std(), theta_n.mean(), theta_n.std(), gap.mean(), gap.std()]
        self._update(range(6), torch.stack(values))
        mean_p, std_p, mean_n, std_n, mean_gap, std_gap = self.statistics[:6]
        weight_p, weight_n = torch.ones_like(theta_p), torch.ones_like(theta_n)
        if warm and self.auto_focus:
            weight_p = torch.exp(-((theta_p - mean_p) ** 2) / (2 * (math.pi / 6 + std_p) ** 2))
            weight_n = torch.exp(-((theta_n - mean_n) ** 2) / (2 * (math.pi / 6 + std_n) ** 2))
        if warm and self.quantile > -math.inf:
            uncut = gap >= mean_gap + std_gap * self.quantile
            weight_p, weight_n = weight_p * uncut, weight_n * uncut
        self._update((POSITIVE_POWER, NEGATIVE_POWER), torch.stack([weight_p.sum(), weight_n.sum()]))
        self.steps += 1
        if not self.power:
            return weight_p / count, weight_n / count
        return weight_p / self.statistics[POSITIVE_POWER], weight_n / self.statistics[NEGATIVE_POWER]

    def _update(self, indices: range | tuple[int, ...], values: Tensor) -> None:
        """Running means. The first batch sets those of the angles, but leaves the mean gap at its start."""
        index = torch.tensor(list(indices), device=values.device)
        old = self.statistics[index]
        if self.unbiased:
            seen = (self.steps / (self.steps + 1)).clamp(max=self.momentum)
            self.statistics[index] = seen * old + (1 - seen) * values
            return
        first = torch.where(index == GAP_MEAN, old, values)
        updated = self.momentum * old + (1 - self.momentum) * values
        self.statistics[index] = torch.where((self.steps == 0) & (index <= GAP_STD), first, updated)
