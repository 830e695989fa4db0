"""What a matcher's values are worth: probabilities, regions that hold a stated share, and whether two films belong.

All of it is fitted on people the matcher was never trained on, kept with the weights, and judged by leaving each person
out of the fit in turn.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossray.correspondence.patches import POSITIVE_ABOVE
from crossray.errors import InputError
from crossray.evaluation.judged import JudgedPair, strength

COVERAGES = (0.5, 0.8, 0.9, 0.95)
"""Shares of what is there that regions are fitted to hold."""
_LOGIT_LIMIT, _LOGIT_BINS = 14.0, 1400
_MASS_BINS = 2000
_ECE_BINS = 15
UNRELATED = 0.2
"""Probability of showing one limb below which two views most likely do not, and no band of theirs means anything."""
DOUBTFUL = 0.5
"""The same, below which it is the less likely case."""


@dataclass(frozen=True)
class Calibration:
    """From a matcher's values to what they are worth.

    Args:
        match: a, b, c of the probability that two patches match, of which the matcher says s:
            logit P = a ln s - b ln(1 - s) + c (beta calibration; Kull, Silva Filho and Flach 2017).
        region: (coverage, share): a region that holds this share of a patch's probability in another view holds
            on average this coverage of what truly matches it there; rising.
        related: Scale and offset of the logistic that turns `strength` into the probability that two views show
            one limb, where half of all pairs do.
        turn: The cosine of the angle between the beams over `LevelAgreement.within`.
    """

    match: tuple[float, float, float]
    region: tuple[tuple[float, float], ...]
    related: tuple[float, float]
    turn: float

    def probability(self, correspondence: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Probability that C > 0.2; zeros, which stand for "not looked at", stay zero."""
        a, b, c = self.match
        ln, ln_rest = _logarithms(correspondence)
        return torch.sigmoid(a * ln - b * ln_rest + c) * (correspondence > 0)

    def chosen(
        self, correspondence: Float[Tensor, "*query patch"], coverage: float
    ) -> Bool[Tensor, "*query patch"]:
        """The patches of another view that make up each query's region: the likeliest, until they hold the share.

        Args:
            correspondence: What the matcher says of the query and every patch of the other view.
            coverage: From 0.5 to 0.95.

        Raises:
            InputError: A coverage that was not fitted.
        """
        known, shares = zip(*self.region, strict=True)
        if not known[0] <= coverage <= known[-1]:
            raise InputError(
                f"A region with coverage {coverage} was never fitted; choose from {known[0]} to {known[-1]}."
            )
        share = float(np.interp(coverage, known, shares))
        probability = self.probability(correspondence)
        return (mass_before(probability) < share) & (probability > 0)

    def turn_deg(self, within: float) -> float:
        """Angle between the beams of two views whose `LevelAgreement.within` is this, 0 to 180 degrees."""
        return math.degrees(math.acos(max(-1.0, min(1.0, self.turn * within))))

    def related_probability(self, strength: float) -> float:
        """Probability that two views whose matrix has this `strength` show one limb."""
        scale, offset = self.related
        return 1 / (1 + float(np.exp(-(scale * strength + offset))))

    def to_json(self) -> str:
        """As one line of JSON, for the weights' metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Calibration":
        """Read what `to_json` wrote.

        Raises:
            InputError: Not a calibration.
        """
        try:
            given = json.loads(text)
            a, b, c = map(float, given["match"])
            scale, offset = map(float, given["related"])
            region = tuple((float(asked), float(share)) for asked, share in given["region"])
            return cls((a, b, c), region, (scale, offset), float(given["turn"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                "The calibration kept with the weights cannot be read; run `crossray calibrate` on them."
            ) from error


def mass_before(probability: Float[Tensor, "*query patch"]) -> Float[Tensor, "*query patch"]:
    """Share of a query's probability that lies on patches likelier than each."""
    ordered, order = probability.sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    share = before / ordered.sum(-1, keepdim=True).clamp(min=1e-12)
    return torch.empty_like(share).scatter_(-1, order, share)


def fit_calibration(pairs: Sequence[JudgedPair]) -> Calibration:
    """Fit everything on judged pairs.

    Raises:
        InputError: No pairs, or pairs without a single match.
    """
    if not any((pair.truth > POSITIVE_ABOVE).any() for pair in pairs):
        raise InputError("There is no match to calibrate on; give more pairs.")
    match = _fit_match(pairs)
    partial = Calibration(match, (), (0.0, 0.0), 0.0)
    return Calibration(match, _fit_region(partial, pairs), _fit_related(pairs), _fit_turn(pairs))


def leave_one_out(pairs: Sequence[JudgedPair]) -> list[tuple[Calibration, list[JudgedPair]]]:
    """For each person, the calibration fitted on all others, and that person's pairs.

    Raises:
        InputError: Pairs of fewer than two people.
    """
    persons = sorted({pair.person for pair in pairs})
    if len(persons) < 2:
        raise InputError(
            "A calibration is judged on people left out of it; give CTs of two or more."
        )
    return [
        (
            fit_calibration([pair for pair in pairs if pair.person != person]),
            [pair for pair in pairs if pair.person == person],
        )
        for person in persons
    ]


def expected_calibration_error(folds: Sequence[tuple[Calibration, list[JudgedPair]]]) -> float:
    """Mean distance between the probability said and the share that matches, over 15 bins of equal width, by pairs."""
    sums = np.zeros((3, _ECE_BINS))
    for calibration, pairs in folds:
        for pair in pairs:
            said = calibration.probability(pair.predicted).flatten().double().numpy()
            true = (pair.truth > POSITIVE_ABOVE).flatten().numpy()
            place = np.minimum((said * _ECE_BINS).astype(int), _ECE_BINS - 1)
            for total, weight in zip(sums, (None, said, true), strict=True):
                total += np.bincount(place, weight, _ECE_BINS)
    return float(np.abs(sums[1] - sums[2]).sum() / sums[0].sum())


def region_scores(
    folds: Sequence[tuple[Calibration, list[JudgedPair]]], coverage: float
) -> dict[str, tuple[float, float, int]]:
    """What regions of a stated coverage hold.

    Returns:
        By person, sums over queries of the share of what matches that lies in the region and of the share of the view
        that the region takes, and the number of queries.
    """
    scores = {}
    for calibration, pairs in folds:
        inside, taken, queries = 0.0, 0.0, 0
        for pair in pairs:
            said, true = pair.both_ways
            chosen = calibration.chosen(said, coverage)
            inside += ((chosen & true).sum(1) / true.sum(1)).sum().item()
            taken += chosen.float().mean(1).sum().item()
            queries += len(said)
        if queries:
            scores[pairs[0].person] = (inside, taken, queries)
    return scores


def related_auroc(pairs: Sequence[JudgedPair], kind: str) -> float:
    """Chance that a pair of one limb is stronger than one whose second view does not belong."""
    own = np.array([strength(pair.predicted) for pair in pairs])[:, None]
    other = np.array([pair.strangers[kind] for pair in pairs])[None]
    return float(((own > other) + 0.5 * (own == other)).mean())


def _fit_match(pairs: Sequence[JudgedPair]) -> tuple[float, float, float]:
    """Weighted logistic regression on a histogram of logits, with a, b >= 0 so that the map never falls."""
    counts = np.zeros((2, _LOGIT_BINS))
    for pair in pairs:
        ln, ln_rest = _logarithms(pair.predicted.flatten().double())
        place = ((ln - ln_rest) / (2 * _LOGIT_LIMIT) + 0.5) * _LOGIT_BINS
        place = place.long().clamp(0, _LOGIT_BINS - 1).numpy()
        true = (pair.truth > POSITIVE_ABOVE).flatten().numpy()
        for label in (0, 1):
            counts[label] += np.bincount(place[true == label], minlength=_LOGIT_BINS)
    logit = ((np.arange(_LOGIT_BINS) + 0.5) / _LOGIT_BINS - 0.5) * 2 * _LOGIT_LIMIT
    ln, ln_rest = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
    a, b, c = fit_logistic(
        np.stack([ln, -ln_rest, np.ones_like(ln)], 1), counts, least=(0.0, 0.0, None)
    )
    return a, b, c


def _fit_region(
    calibration: Calibration, pairs: Sequence[JudgedPair]
) -> tuple[tuple[float, float], ...]:
    """The weighted quantiles of the mass before what truly matches: conformal prediction with one share for all."""
    held = np.zeros(_MASS_BINS)
    for pair in pairs:
        said, true = pair.both_ways
        before = mass_before(calibration.probability(said))
        weight = true / true.sum(1, keepdim=True)
        place = (before * _MASS_BINS).long().clamp(0, _MASS_BINS - 1)[true]
        held += np.bincount(place.numpy(), weight[true].numpy(), _MASS_BINS)
    covered = held.cumsum() / held.sum()
    edges = (np.searchsorted(covered, COVERAGES) + 1) / _MASS_BINS
    return tuple(zip(COVERAGES, edges.tolist(), strict=True))


def _fit_related(pairs: Sequence[JudgedPair]) -> tuple[float, float]:
    own = [strength(pair.predicted) for pair in pairs]
    others = [value for pair in pairs for value in pair.strangers.values()]
    values = np.array([*own, *others])
    spread = values.std() or 1.0
    weights = np.zeros((2, len(values)))
    weights[1, : len(own)] = 1 / max(1, len(own))
    weights[0, len(own) :] = 1 / max(1, len(others))
    features = np.stack([values / spread, np.ones_like(values)], 1)
    scale, offset = fit_logistic(features, weights, least=(0.0, None))
    return scale / spread, offset


def _fit_turn(pairs: Sequence[JudgedPair]) -> float:
    """Least squares through the origin."""
    within = np.array([pair.agreement.within for pair in pairs])
    cosine = np.array([pair.cosine for pair in pairs])
    return float((within @ cosine) / max(within @ within, 1e-12))


def fit_logistic(
    features: Float[np.ndarray, "row feature"],
    counts: Float[np.ndarray, "2 row"],
    least: tuple[float | None, ...],
) -> tuple[float, ...]:
    """Logistic regression of weighted rows (0: no, 1: yes), with a trace of shrinkage so that it always ends."""
    from scipy.optimize import minimize

    weights = counts / counts.sum()

    def cost(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logit = features @ theta
        value = weights[1] @ np.logaddexp(0, -logit) + weights[0] @ np.logaddexp(0, logit)
        chance = np.exp(-np.logaddexp(0, -logit))
        slope = features.T @ (weights.sum(0) * chance - weights[1])
        return value + 1e-6 * theta @ theta, slope + 2e-6 * theta

    found = minimize(
        cost,
        np.ones(features.shape[1]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(low, None) for low in least],
    )
    return tuple(map(float, found.x))


def _logarithms(scores: Float[Tensor, "*any"]) -> tuple[Tensor, Tensor]:
    """Logarithms of s and of 1 - s, kept finite."""
    tiny = float(np.exp(-_LOGIT_LIMIT))
    safe = scores.clamp(tiny, 1 - 1e-6)
    return safe.log(), torch.log1p(-safe)
