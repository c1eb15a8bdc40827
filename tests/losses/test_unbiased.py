"""Running statistics without bias: the mean of all batches until the time constant is reached."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tiepoint.losses.sdgm import GAP_MEAN, POSITIVE_MEAN, POSITIVE_POWER, SDGM
from tiepoint.losses.soft_margin import SoftMargin


def pairs(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    anchor = F.normalize(torch.randn(24, 8, generator=generator), dim=1)
    return anchor, F.normalize(anchor + 0.4 * torch.randn(24, 8, generator=generator), dim=1)


def of_single_batches(make: type[SDGM] | type[SoftMargin], name: str, count: int) -> torch.Tensor:
    """What each of the batches says by itself, (count, ...)."""
    rows = []
    for seed in range(count):
        loss = make(momentum=0.999, unbiased=True)
        loss(*pairs(seed), 0.05)
        rows.append(getattr(loss, name).clone())
    return torch.stack(rows)


def test_statistics_of_few_batches_are_their_mean() -> None:
    loss = SDGM(momentum=0.999, unbiased=True)
    for seed in range(5):
        loss(*pairs(seed), 0.05)
    torch.testing.assert_close(loss.statistics, of_single_batches(SDGM, "statistics", 5).mean(dim=0))


def test_the_histogram_of_few_batches_is_their_mean() -> None:
    loss = SoftMargin(momentum=0.999, unbiased=True)
    for seed in range(5):
        loss(*pairs(seed))
    torch.testing.assert_close(loss.histogram, of_single_batches(SoftMargin, "histogram", 5).mean(dim=0))


def test_without_it_the_published_starts_still_weigh() -> None:
    loss = SDGM(momentum=0.999)
    for seed in range(5):
        loss(*pairs(seed), 0.05)
    single = of_single_batches(SDGM, "statistics", 5)
    assert loss.statistics[POSITIVE_POWER] > 9 * single[:, POSITIVE_POWER].mean()
    assert loss.statistics[GAP_MEAN] < -0.9
    torch.testing.assert_close(
        loss.statistics[POSITIVE_MEAN], single[0, POSITIVE_MEAN] * 0.999**4 + 0.001 * sum(
            0.999 ** (4 - k) * single[k, POSITIVE_MEAN] for k in range(1, 5)
        )
    )  # fmt: skip


def test_in_the_long_run_the_momentum_is_that_of_the_time_constant() -> None:
    loss = SDGM(momentum=0.5, unbiased=True)
    for seed in range(3):
        loss(*pairs(seed), 0.05)
    single = of_single_batches(SDGM, "statistics", 3)[:, POSITIVE_MEAN]
    expected = 0.5 * (0.5 * single[0] + 0.5 * single[1]) + 0.5 * single[2]
    torch.testing.assert_close(loss.statistics[POSITIVE_MEAN], expected)
