"""Streaming scores of a predicted correspondence against the true one, in constant memory.

A pair of patches is positive where the true C > 0.2; precision and recall are taken at predicted > 0.2, the average
precision (AP) over all pairs. C_lk is the transpose of C_kl, so each pair of views counts once, as the block k < l; the
diagonal blocks say nothing and are ignored.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from crossray.correspondence.patches import POSITIVE_ABOVE
from crossray.errors import InputError

FINEST = 20
"""log2 of the number of histogram bins of a full-resolution `MatchingMetrics`."""
BOOTSTRAP_RESOLUTION = 14

# Binary32 exponents (biased by 127). Scores below 2^-80 share the first bin; towards 1 the distance 1 - score
# is binned, whose smallest non-zero value is 2^-24, so that saturated scores stay apart as well.
_MANTISSA_BITS = 23
_TINY = (127 - 80) << _MANTISSA_BITS
_HALF = (127 - 1) << _MANTISSA_BITS
_NEAREST_ONE = (127 - 25) << _MANTISSA_BITS
_LOW_SHIFT, _HIGH_SHIFT = 10, 9
_LOW_BINS = (_HALF - _TINY) >> _LOW_SHIFT


def score_bins(scores: Float[Tensor, " pair"], resolution: int = FINEST) -> Int[Tensor, " pair"]:
    """Bin of each score in [0, 1]: a monotone map of float32 bit patterns onto fewer than 2^resolution bins.

    Below one half a bin is 1/8192 of an octave of the score, above it 1/16384 of an octave of one minus the score; no
    score is rounded before it is binned.

    Args:
        scores: Values in [0, 1]; values outside are clamped.
        resolution: log2 of the number of bins, at most 20; coarser bins are unions of finer ones.

    Returns:
        Bin numbers, int64, that never decrease with the score.
    """
    value = (
        scores.float().clamp(0.0, 1.0) + 0.0
    )  # turns -0.0, whose bit pattern is negative, into 0.0
    low = (value.contiguous().view(torch.int32) - _TINY).clamp(min=0) >> _LOW_SHIFT
    distance = (1.0 - value).contiguous().view(torch.int32).clamp(min=_NEAREST_ONE)
    high = ((_HALF - distance) >> _HIGH_SHIFT) + _LOW_BINS
    return torch.where(value < 0.5, low, high).long() >> (FINEST - resolution)


@dataclass(frozen=True)
class MatchingScores:
    """What `MatchingMetrics.compute` returns; NaN where a score is undefined.

    Args:
        ap: Average precision over all pairs of patches; NaN without positives.
        mse: Mean squared error of the matrix.
        precision: Share of predicted > 0.2 that is positive; NaN when nothing is predicted.
        recall: Share of positives predicted > 0.2; NaN without positives.
        prevalence: Share of positives among all pairs: the AP of chance.
        pairs: Pairs of patches counted.
        positives: Pairs of patches with true C > 0.2.
    """

    ap: float
    mse: float
    precision: float
    recall: float
    prevalence: float
    pairs: int
    positives: int


class MatchingMetrics:
    """Accumulates matches sample by sample; the memory does not grow, and accumulators add up.

    AP comes from two histograms of the scores (positives, negatives). At the default 2^20 bins it is within 5e-5 of
    the AP of the sorted scores.

    Args:
        resolution: log2 of the number of bins, from 1 to 20.

    Raises:
        InputError: A resolution outside 1 to 20.
    """

    def __init__(self, resolution: int = FINEST) -> None:
        if not 1 <= resolution <= FINEST:
            raise InputError(
                f"resolution is {resolution}; choose a log2 of the number of bins from 1 to {FINEST}."
            )
        self.resolution = resolution
        self._counts = torch.zeros(2, 1 << resolution, dtype=torch.int64)
        self._predicted = torch.zeros(2, dtype=torch.int64)
        self._squared_error = torch.zeros((), dtype=torch.float64)

    def update(
        self,
        prediction: Float[Tensor, "*batch view view patch patch"],
        truth: Float[Tensor, "*batch view view patch patch"],
        known: Bool[Tensor, "*batch view view patch patch"] | None = None,
    ) -> None:
        """Count one sample or a batch of them.

        Args:
            prediction: Predicted correspondence in [0, 1].
            truth: True correspondence in [0, 1].
            known: Where the truth is labelled; everything else is ignored. None: everywhere.

        Raises:
            InputError: Fewer than two views, or a NaN among the counted pairs.
        """
        score, target = _counted(prediction, known), _counted(truth, known)
        if torch.isnan(score).any() or torch.isnan(target).any():
            raise InputError(
                "A correspondence to score holds NaN; mark unlabelled pairs in `known` instead."
            )
        label = (target > POSITIVE_ABOVE).long()
        self._to(score.device)
        index = score_bins(score, self.resolution) + label * (1 << self.resolution)
        self._counts.view(-1).scatter_add_(0, index, torch.ones_like(index))
        self._predicted += torch.bincount(label[score > POSITIVE_ABOVE], minlength=2)
        self._squared_error += (score.double() - target.double()).square().sum()

    def merge(self, other: "MatchingMetrics") -> None:
        """Add another accumulator, of the same or a finer resolution, as if its samples had been counted here.

        Raises:
            InputError: The other one is coarser.
        """
        self._to(other._counts.device)
        self._counts += other.histogram(self.resolution)
        self._predicted += other._predicted
        self._squared_error += other._squared_error

    def histogram(self, resolution: int) -> Int[Tensor, "2 bin"]:
        """Counts of negatives (row 0) and positives (row 1) on 2^resolution bins of rising score.

        Raises:
            InputError: A finer resolution than was accumulated.
        """
        if resolution > self.resolution:
            counted = f"These scores were counted on 2^{self.resolution} bins"
            raise InputError(
                f"{counted} and cannot be split into 2^{resolution}; merge at the coarser resolution."
            )
        return self._counts.reshape(2, 1 << resolution, -1).sum(dim=-1)

    def compute(self) -> MatchingScores:
        """The scores of everything counted so far; NaN where undefined."""
        negatives, positives = self._counts.sum(dim=1).tolist()
        wrong, right = self._predicted.tolist()
        return MatchingScores(
            ap=average_precision(self._counts),
            mse=_ratio(self._squared_error.item(), negatives + positives),
            precision=_ratio(right, right + wrong),
            recall=_ratio(right, positives),
            prevalence=_ratio(positives, negatives + positives),
            pairs=negatives + positives,
            positives=positives,
        )

    def _to(self, device: torch.device) -> None:
        """Follow the data to its device."""
        if self._counts.device != device:
            self._counts = self._counts.to(device)
            self._predicted = self._predicted.to(device)
            self._squared_error = self._squared_error.to(device)


def average_precision(counts: Int[Tensor, "2 bin"]) -> float:
    """AP of a histogram of scores: sum over bins, best first, of the recall gained times the precision reached there.

    Scores in one bin are ties and enter together, as in the usual definition.

    Args:
        counts: Negatives (row 0) and positives (row 1) on bins of rising score.

    Returns:
        AP in [0, 1]; NaN without positives.

    >>> average_precision(torch.tensor([[0, 1, 0], [1, 0, 1]]))  # best: hit; then a miss; then a hit: (1 + 2/3) / 2
    0.8333333333333333
    """
    found = counts.flip(1).cumsum(1)
    gained = counts[1].flip(0)
    here = gained > 0
    if not here.any():
        return nan
    precision = found[1, here].double() / found[:, here].sum(0)
    return ((gained[here].double() * precision).sum() / gained.sum()).item()


def bootstrap_ap(
    persons: Sequence[MatchingMetrics], draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the pooled AP, resampling whole persons with replacement.

    Pairs within a person depend on each other, so the person is the unit. Histograms are merged to 2^14 bins
    for speed; the interval is moved by the small error this makes in the pooled AP itself.

    Args:
        persons: One accumulator per person.
        draws: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        The 2.5 % and 97.5 % quantiles of the AP; NaN for fewer than two persons or no positives.
    """
    if len(persons) < 2:
        return nan, nan
    resolution = min(BOOTSTRAP_RESOLUTION, *(person.resolution for person in persons))
    counts = torch.stack([person.histogram(resolution).cpu() for person in persons])
    pooled = MatchingMetrics(min(person.resolution for person in persons))
    for person in persons:
        pooled.merge(person)
    correction = pooled.compute().ap - average_precision(counts.sum(0))
    return percentile_interval(
        _resampled_ap(counts.flip(2).double().numpy(), draws, seed) + correction
    )


def bootstrap_difference(
    persons: Sequence[MatchingMetrics], others: Sequence[MatchingMetrics], draws: int = 1000
) -> tuple[float, float]:
    """95 % interval of the difference of two matchers' pooled APs on the same samples, resampling whole persons.

    Args:
        persons: One accumulator per person.
        others: Those of the other matcher, of the same persons in the same order.
        draws: Number of resamples.

    Returns:
        The 2.5 % and 97.5 % quantiles of AP(persons) - AP(others); NaN for fewer than two persons or no positives.
    """
    if len(persons) < 2:
        return nan, nan
    first, second = (
        torch.stack([person.histogram(BOOTSTRAP_RESOLUTION).cpu() for person in group])
        for group in (persons, others)
    )
    resampled = [
        _resampled_ap(counts.flip(2).double().numpy(), draws, 0) for counts in (first, second)
    ]
    return percentile_interval(resampled[0] - resampled[1])


def _resampled_ap(
    counts: Float[np.ndarray, "person 2 bin"], draws: int, seed: int
) -> Float[np.ndarray, " draw"]:
    """AP of each draw of persons, from histograms with the best bin first."""
    counts = counts[:, :, counts.sum(axis=(0, 1)) > 0]
    found = counts.cumsum(axis=2)
    values = []
    for weights in np.array_split(person_weights(len(counts), draws, seed), max(1, draws // 100)):
        hits, misses = weights @ found[:, 1], weights @ found[:, 0]
        precision = hits / np.maximum(hits + misses, 1.0)
        gained = weights @ counts[:, 1]
        total = gained.sum(axis=1)
        values.append(
            np.where(total > 0, (gained * precision).sum(axis=1) / np.maximum(total, 1.0), nan)
        )
    return np.concatenate(values)


def person_weights(persons: int, draws: int, seed: int) -> Float[np.ndarray, "draw person"]:
    """How often each person occurs in each bootstrap draw."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(persons, np.full(persons, 1.0 / persons), size=draws).astype(np.float64)


def percentile_interval(values: Float[np.ndarray, " draw"]) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles, ignoring undefined draws; NaN when none is defined."""
    defined = values[~np.isnan(values)]
    if defined.size == 0:
        return nan, nan
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


class PositionPrior:
    """The mean true matrix over training samples: a matcher that has only learned where things usually are.

    Views are drawn alike, so the mean runs over both directions of every pair of views. Calling it with images
    returns the same matrix for any of them, which makes it a matcher to compare with.
    """

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count = 0

    @classmethod
    def from_truths(cls, truths: Iterable[Tensor]) -> "PositionPrior":
        """The mean over matrices of shape (view, view, patch, patch)."""
        prior = cls()
        for truth in truths:
            prior.update(truth)
        return prior

    def update(self, truth: Float[Tensor, "*batch view view patch patch"]) -> None:
        """Count the true matrices of one sample or a batch.

        Raises:
            InputError: Fewer than two views, or another number of patches than before.
        """
        view, patch = truth.shape[-3], truth.shape[-1]
        if view < 2:
            raise InputError("A position prior needs matrices between at least two views.")
        if self._sum is None:
            self._sum = torch.zeros(patch, patch, dtype=torch.float64)
        if self._sum.shape[0] != patch:
            raise InputError(
                f"The position prior holds {self._sum.shape[0]} patches a view and was given {patch}."
            )
        blocks = upper_blocks(truth).detach().cpu().reshape(-1, patch, patch).double()
        total = blocks.sum(0)
        self._sum += total + total.T
        self._count += 2 * len(blocks)

    def matrix(self, views: int = 2) -> Float[Tensor, "view view patch patch"]:
        """The prior as a correspondence between `views` views; the diagonal blocks are zero.

        Raises:
            InputError: No sample has been counted.
        """
        if self._sum is None:
            raise InputError(
                "The position prior has seen no training sample; give it at least one."
            )
        mean = (self._sum / self._count).float()
        other = ~torch.eye(views, dtype=torch.bool)
        return mean * other[:, :, None, None]

    def __call__(
        self, images: Float[Tensor, "batch view row column"]
    ) -> Float[Tensor, "batch view view patch patch"]:
        """The prior for every sample of a batch, whatever the images show."""
        batch, views = images.shape[:2]
        return self.matrix(views).to(images.device).expand(batch, -1, -1, -1, -1)


def upper_blocks(
    matrix: Shaped[Tensor, "*batch view view patch patch"],
) -> Shaped[Tensor, "*batch pair patch patch"]:
    """Blocks k < l of a matrix over all views, in the order (0, 1), (0, 2), ..., (1, 2), ..."""
    first, second = torch.triu_indices(
        matrix.shape[-3], matrix.shape[-3], offset=1, device=matrix.device
    )
    return matrix[..., first, second, :, :]


def _counted(matrix: Tensor, known: Tensor | None) -> Tensor:
    """The entries that count, as one flat list."""
    if matrix.shape[-3] < 2:
        raise InputError(
            f"A correspondence of {matrix.shape[-3]} view has no pairs to score; give two views or more."
        )
    entries = upper_blocks(matrix.detach())
    return entries.reshape(-1) if known is None else entries[upper_blocks(known)]


def _ratio(part: float | int, whole: int) -> float:
    return part / whole if whole else nan
