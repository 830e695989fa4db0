import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.evaluation.metrics import (
    MatchingMetrics,
    PositionPrior,
    average_precision,
    bootstrap_ap,
    person_weights,
    score_bins,
)


def exact_ap(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """The slow twin: sort, walk down the distinct thresholds, add recall gained times precision."""
    order = torch.argsort(scores, descending=True, stable=True)
    ranked, hits = scores[order], labels[order].double().cumsum(0)
    last_of_tie = torch.cat([ranked[1:] != ranked[:-1], torch.tensor([True])])
    hits = hits[last_of_tie]
    precision = hits / (torch.arange(len(scores), dtype=torch.float64) + 1)[last_of_tie]
    recall = hits / hits[-1]
    return (
        (torch.diff(recall, prepend=torch.zeros(1, dtype=torch.float64)) * precision).sum().item()
    )


def two_views(scores: torch.Tensor) -> torch.Tensor:
    """A (2, 2, patch, patch) matrix whose counted block holds the scores; the other blocks are garbage."""
    side = math.isqrt(len(scores))
    matrix = torch.full((2, 2, side, side), 0.77)
    matrix[0, 1] = scores.view(side, side)
    return matrix


def counted(scores: torch.Tensor, labels: torch.Tensor, resolution: int = 20) -> MatchingMetrics:
    metrics = MatchingMetrics(resolution)
    metrics.update(two_views(scores), two_views(labels.float()))
    return metrics


def test_scores_of_four_pairs_by_hand():
    metrics = MatchingMetrics()
    metrics.update(
        two_views(torch.tensor([0.9, 0.8, 0.3, 0.1])),
        two_views(torch.tensor([1.0, 0.1, 0.5, 0.21])),
    )
    scores = metrics.compute()
    # ranks 1, 3, 4 are positive: AP = (1/1 + 2/3 + 3/4) / 3; predicted > 0.2: three, two of them right
    assert scores.ap == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert scores.precision == pytest.approx(2 / 3)
    assert scores.recall == pytest.approx(2 / 3)
    assert scores.prevalence == 0.75
    assert scores.mse == pytest.approx((0.1**2 + 0.7**2 + 0.2**2 + 0.11**2) / 4, rel=1e-6)
    assert (scores.pairs, scores.positives) == (4, 3)


def test_threshold_is_strict():
    metrics = MatchingMetrics()
    metrics.update(
        two_views(torch.full((4,), 0.2)), two_views(torch.tensor([0.2, 0.2001, 0.2, 0.2]))
    )
    scores = metrics.compute()
    assert scores.positives == 1
    assert math.isnan(scores.precision)
    assert scores.recall == 0.0


def test_ties_score_the_prevalence():
    scores = counted(torch.full((100,), 0.4), torch.arange(100) < 7).compute()
    assert scores.ap == pytest.approx(0.07)


def test_no_positives_leaves_ap_undefined():
    scores = counted(torch.rand(16), torch.zeros(16)).compute()
    assert math.isnan(scores.ap)
    assert math.isnan(scores.recall)
    assert scores.precision == 0.0
    assert scores.prevalence == 0.0


def test_nothing_counted_is_undefined():
    assert math.isnan(MatchingMetrics().compute().mse)


def test_every_pair_of_views_counts_once():
    matrix = torch.rand(5, 3, 3, 4, 4)
    metrics = MatchingMetrics()
    metrics.update(matrix, matrix)
    assert metrics.compute().pairs == 5 * 3 * 16


def test_diagonal_and_lower_blocks_do_not_count():
    prediction, truth = torch.rand(2, 2, 9, 9), torch.rand(2, 2, 9, 9)
    disturbed = prediction.clone()
    disturbed[0, 0], disturbed[1, 1], disturbed[1, 0] = 1.0, math.nan, 0.0
    results = []
    for each in (prediction, disturbed):
        metrics = MatchingMetrics()
        metrics.update(each, truth)
        results.append(metrics.compute())
    assert results[0] == results[1]


def test_unknown_pairs_are_ignored():
    prediction, truth = torch.rand(2, 2, 9, 9), torch.rand(2, 2, 9, 9)
    known = torch.zeros(2, 2, 9, 9, dtype=torch.bool)
    known[0, 1, :2, :3] = True
    truth[~known] = math.nan
    metrics = MatchingMetrics()
    metrics.update(prediction, truth, known)
    scores = metrics.compute()
    assert scores.pairs == 6
    assert scores.ap == pytest.approx(exact_ap(prediction[known], truth[known] > 0.2), abs=1e-9)


@pytest.mark.parametrize("broken", ["prediction", "truth"])
def test_nan_is_refused(broken):
    matrices = {"prediction": torch.rand(2, 2, 4, 4), "truth": torch.rand(2, 2, 4, 4)}
    matrices[broken][0, 1, 2, 3] = math.nan
    with pytest.raises(InputError, match="NaN"):
        MatchingMetrics().update(**matrices)


def test_one_view_is_refused():
    with pytest.raises(InputError, match="two views"):
        MatchingMetrics().update(torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4))


def test_bad_resolutions_are_refused():
    with pytest.raises(InputError, match="resolution"):
        MatchingMetrics(21)
    with pytest.raises(InputError, match="cannot be split"):
        MatchingMetrics().merge(MatchingMetrics(10))


SCORES = {
    "uniform": lambda noise: torch.rand_like(noise),
    "informative": lambda noise: torch.sigmoid(4 * noise - 3),
    "saturated high": lambda noise: torch.sigmoid(12 + 3 * noise),
    "tiny": lambda noise: torch.exp(-20 + 4 * noise),
    "eight levels": lambda noise: torch.sigmoid(noise).mul(8).floor().div(8),
    "squared cosine": lambda noise: torch.cos(noise).square(),
}


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("prevalence", [0.5, 0.01])
def test_histogram_ap_agrees_with_sorted_ap(kind, prevalence):
    torch.manual_seed(0)
    labels = torch.rand(700**2) < prevalence
    scores = SCORES[kind](torch.randn(700**2) + labels)
    assert counted(scores, labels).compute().ap == pytest.approx(exact_ap(scores, labels), abs=5e-5)


def test_bins_are_monotone_and_within_range():
    edges = [0.0, -0.0, 1e-45, 1e-30, 2.0**-80, 0.2, 0.5, 1.0 - 2.0**-24, 1.0]
    values = torch.tensor(
        [*edges, *torch.rand(10_000).pow(8).tolist(), *(1 - torch.rand(10_000).pow(8)).tolist()]
    )
    ordered = values.sort().values
    bins = score_bins(ordered)
    assert (bins.diff() >= 0).all()
    assert bins[0] == 0
    assert bins[-1] < 2**20
    below_half, half = (
        torch.nextafter(torch.tensor([0.5]), torch.tensor([0.0])),
        torch.tensor([0.5]),
    )
    assert score_bins(half) - score_bins(below_half) == 1
    assert score_bins(torch.tensor([1.0])) > score_bins(torch.tensor([1.0 - 2.0**-24]))
    assert torch.equal(score_bins(ordered, 14), bins >> 6)


def test_values_outside_are_clamped():
    assert torch.equal(score_bins(torch.tensor([-3.0, 1.5])), score_bins(torch.tensor([0.0, 1.0])))


cases = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=16, max_size=16
).filter(lambda pairs: any(label for _, label in pairs))


@given(cases, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=25)
def test_ap_ignores_the_order(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    scores, labels = (torch.tensor(column) for column in zip(*pairs, strict=True))
    other_scores, other_labels = (torch.tensor(column) for column in zip(*shuffled, strict=True))
    assert counted(scores, labels).compute().ap == counted(other_scores, other_labels).compute().ap


@given(cases, cases)
@settings(deadline=None, max_examples=25)
def test_merging_equals_pooling(first, second):
    apart, pooled = MatchingMetrics(), MatchingMetrics()
    for pairs in (first, second):
        scores, labels = (torch.tensor(column).float() for column in zip(*pairs, strict=True))
        apart.merge(counted(scores, labels))
        pooled.update(two_views(scores), two_views(labels))
    assert apart.compute() == pooled.compute()


@given(cases)
@settings(deadline=None, max_examples=25)
def test_ap_ignores_monotone_transforms(pairs):
    levels, labels = (torch.tensor(column) for column in zip(*pairs, strict=True))
    ranks = torch.unique(levels, return_inverse=True)[1].float()
    plain, squashed = ranks / 20, torch.sigmoid(ranks - 8)
    assert counted(plain, labels).compute().ap == pytest.approx(
        counted(squashed, labels).compute().ap, abs=1e-12
    )


@given(cases)
@settings(deadline=None, max_examples=25)
def test_ap_lies_between_zero_and_one_and_matches_the_twin_on_spread_scores(pairs):
    levels, labels = (torch.tensor(column) for column in zip(*pairs, strict=True))
    spread = torch.unique(levels, return_inverse=True)[1].float() / 16
    value = counted(spread, labels).compute().ap
    assert 0 < value <= 1
    assert value == pytest.approx(exact_ap(spread, labels), abs=1e-12)


def test_average_precision_of_a_perfect_ranking_is_one():
    assert average_precision(torch.tensor([[5, 2, 0, 0], [0, 0, 3, 1]])) == 1.0


def person(seed: int, quality: float, pairs: int = 1024) -> MatchingMetrics:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.rand(pairs, generator=generator) < 0.1
    return counted(
        torch.sigmoid(torch.randn(pairs, generator=generator) + quality * labels), labels, 16
    )


def test_bootstrap_of_equal_persons_has_no_width():
    one = person(0, 2.0)
    low, high = bootstrap_ap([one, one, one])
    assert low == pytest.approx(high, abs=1e-9)
    assert low == pytest.approx(one.compute().ap, abs=1e-9)


def test_bootstrap_agrees_with_naive_resampling():
    persons = [person(seed, quality) for seed, quality in enumerate([0.5, 1.0, 1.5, 2.0, 3.0])]
    naive = []
    for weights in person_weights(5, 200, seed=3):
        pooled = MatchingMetrics(16)
        for one, times in zip(persons, weights, strict=True):
            for _ in range(int(times)):
                pooled.merge(one)
        naive.append(pooled.compute().ap)
    assert bootstrap_ap(persons, draws=200, seed=3) == pytest.approx(
        tuple(np.quantile(naive, [0.025, 0.975])), abs=2e-3
    )


def test_bootstrap_covers_the_true_ap_about_as_often_as_it_says():
    qualities = np.random.default_rng(0).normal(1.5, 0.7, size=(40, 20))
    truth = MatchingMetrics(14)
    for number, quality in enumerate(np.random.default_rng(1).normal(1.5, 0.7, size=600)):
        truth.merge(person(10_000 + number, quality))
    expected = truth.compute().ap
    hits = 0
    for trial, row in enumerate(qualities):
        low, high = bootstrap_ap(
            [person(trial * 20 + number, quality) for number, quality in enumerate(row)], draws=200
        )
        hits += low <= expected <= high
    assert 33 <= hits <= 40


def test_bootstrap_needs_two_persons_and_a_positive():
    assert all(math.isnan(bound) for bound in bootstrap_ap([person(0, 1.0)]))
    empty = counted(torch.rand(16), torch.zeros(16))
    assert all(math.isnan(bound) for bound in bootstrap_ap([empty, empty]))


def test_position_prior_is_the_mean_over_both_directions():
    truth = torch.zeros(2, 2, 4, 4)
    truth[0, 1, 0, 3] = 1.0
    truth[1, 0] = truth[0, 1].T
    prior = PositionPrior.from_truths([truth, torch.zeros(2, 2, 4, 4)])
    matrix = prior.matrix(3)
    assert matrix.shape == (3, 3, 4, 4)
    assert matrix[0, 2, 0, 3] == matrix[0, 2, 3, 0] == 0.25
    assert matrix.sum() == 6 * 0.5
    assert torch.equal(prior(torch.rand(5, 2, 8, 8))[4], prior.matrix(2))


def test_position_prior_refuses_what_does_not_fit():
    prior = PositionPrior()
    with pytest.raises(InputError, match="no training sample"):
        prior.matrix()
    prior.update(torch.rand(2, 2, 4, 4))
    with pytest.raises(InputError, match="4 patches"):
        prior.update(torch.rand(2, 2, 9, 9))
