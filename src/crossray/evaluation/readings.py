"""Scores of readings of studies: a probability each, a label each, and intervals clustered by patient.

Studies of one patient depend on each other, so whole patients are drawn with replacement. Every score is computed with
weights, one draw a row, so that many draws cost one pass; a score without draws is that of weight one.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from math import nan
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from crossray.errors import InputError
from crossray.evaluation.calibration import fit_logistic
from crossray.evaluation.metrics import percentile_interval, person_weights
from crossray.models.classifier import ClassifierNetwork
from crossray.models.guidance import guidance_of
from crossray.models.matcher import MatcherNetwork

DRAWS = 1000
_BINS = 10
_LIMIT = 12.0
"""Logits are cut off here before a calibration is fitted."""

Weights = Float[np.ndarray, "draw study"]


@dataclass(frozen=True)
class Readings:
    """What a classifier said of studies, and what is so.

    Args:
        patients: Whose study each is.
        labels: Whether it shows the finding.
        logits: The network's own value, before any calibration.
        probabilities: That it does, as said.
        folds: Which training read it; logits of different trainings do not compare.
    """

    patients: Sequence[str]
    labels: Bool[np.ndarray, " study"]
    logits: Float[np.ndarray, " study"]
    probabilities: Float[np.ndarray, " study"]
    folds: Int[np.ndarray, " study"]

    def __post_init__(self) -> None:
        each = (self.patients, self.labels, self.logits, self.probabilities, self.folds)
        if len({len(values) for values in each}) != 1 or not len(self.labels):
            raise InputError(
                "Readings need a patient, a label, a logit, a probability and a fold each, and at least one study."
            )

    def of(self, which: Bool[np.ndarray, " study"]) -> "Readings":
        """Those of some of the studies."""
        patients = [patient for patient, taken in zip(self.patients, which, strict=True) if taken]
        rest = (self.labels, self.logits, self.probabilities, self.folds)
        return Readings(patients, *(values[which] for values in rest))

    def drawn(self, draws: int = DRAWS, seed: int = 0) -> Weights:
        """How often each study occurs in each draw of patients."""
        names, place = np.unique(np.array(self.patients), return_inverse=True)
        return person_weights(len(names), draws, seed)[:, place]


@dataclass(frozen=True)
class ReadingReport:
    """Scores of readings, NaN where undefined; `intervals` holds 95 % of each by its name.

    Args:
        accuracy: Share of studies read rightly at a probability of one half.
        precision: Share of those read as positive that are.
        recall: Share of the positive ones read as such (sensitivity).
        specificity: Share of the negative ones read as such.
        kappa: Cohen's, of reading and label.
        auc: Chance that a positive study gets a higher logit than a negative one read by the same training.
        brier: Mean squared distance of probability and label.
        ece: Mean distance of probability and share of positives over ten bins, by studies.
        studies: Their number.
        patients: Number of patients.
        prevalence: Share of positive studies.
        intervals: By score, its 2.5 % and 97.5 % quantiles over draws of patients.
        settings: How it was made.
    """

    accuracy: float
    precision: float
    recall: float
    specificity: float
    kappa: float
    auc: float
    brier: float
    ece: float
    studies: int
    patients: int
    prevalence: float
    intervals: dict[str, tuple[float, float]]
    settings: dict[str, Any] = field(default_factory=dict)


def report(
    readings: Readings, settings: dict[str, Any] | None = None, draws: int = DRAWS
) -> ReadingReport:
    """All scores of readings with their intervals.

    Args:
        readings: What was said and what is so.
        settings: Kept with the report.
        draws: Draws of patients behind an interval; with one patient alone it is undefined.
    """
    patients = len(set(readings.patients))
    weights = readings.drawn(draws) if patients > 1 else np.full((1, len(readings.labels)), nan)
    once = np.ones((1, len(readings.labels)))
    values = {name: float(score(readings, once)[0]) for name, score in SCORES.items()}
    intervals = {
        name: percentile_interval(score(readings, weights)) for name, score in SCORES.items()
    }
    return ReadingReport(
        **values,
        studies=len(readings.labels),
        patients=patients,
        prevalence=float(readings.labels.mean()),
        intervals=intervals,
        settings=settings or {},
    )


def accuracy(readings: Readings, weights: Weights) -> Float[np.ndarray, " draw"]:
    """Share read rightly."""
    right = (readings.probabilities > 0.5) == readings.labels
    return _over(weights @ right, weights.sum(1))


def precision(readings: Readings, weights: Weights) -> Float[np.ndarray, " draw"]:
    """Share of the positive readings that are right."""
    said = readings.probabilities > 0.5
    return _over(weights @ (said & readings.labels), weights @ said)


def recall(readings: Readings, weights: Weights) -> Float[np.ndarray, " draw"]:
    """Share of the positive studies read as such."""
    said = readings.probabilities > 0.5
    return _over(weights @ (said & readings.labels), weights @ readings.labels)


def specificity(readings: Readings, weights: Weights) -> Float[np.ndarray, " draw"]:
    """Share of the negative studies read as such."""
    said = readings.probabilities > 0.5
    return _over(weights @ (~said & ~readings.labels), weights @ ~readings.labels)


def kappa(readings: Readings, weights: Weights) -> Float[np.ndarray, " draw"]:
    """Cohen's kappa: agreement beyond that of chance, over the most there could be."""
    said, all_of = readings.probabilities > 0.5, weights.sum(1)
    positive, called = _over(weights @ readings.labels, all_of), _over(weights @ said, all_of)
    chance = positive * called + (1 - positive) * (1 - called)
    return _over(accuracy(readings, weights) - chance, 1 - chance)


def auc(readings: Readings, weights: Weights) -> Float[np.ndarray, " draw"]:
    """Area under the ROC curve of the logits, over pairs of studies within a fold; equal logits count half."""
    right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for fold in np.unique(readings.folds):
        within = np.flatnonzero(readings.folds == fold)
        order = within[np.argsort(readings.logits[within], kind="stable")]
        values = readings.logits[order]
        starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
        positive, negative = (
            np.add.reduceat(weights[:, order] * kind[order], starts, axis=1)
            for kind in (readings.labels, ~readings.labels)
        )
        right += (positive * (negative.cumsum(1) - negative / 2)).sum(1)
        pairs += positive.sum(1) * negative.sum(1)
    return _over(right, pairs)


def brier(readings: Readings, weights: Weights) -> Float[np.ndarray, " draw"]:
    """Mean squared distance of probability and label."""
    return _over(weights @ np.square(readings.probabilities - readings.labels), weights.sum(1))


def ece(readings: Readings, weights: Weights) -> Float[np.ndarray, " draw"]:
    """Expected calibration error over ten bins of equal width."""
    place = np.minimum((readings.probabilities * _BINS).astype(int), _BINS - 1)
    bins = (place[:, None] == np.arange(_BINS)).astype(float)
    distance = weights * (readings.probabilities - readings.labels)
    return _over(np.abs(distance @ bins).sum(1), weights.sum(1))


SCORES: dict[str, Callable[[Readings, Weights], Float[np.ndarray, " draw"]]] = {
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
    "kappa": kappa,
    "auc": auc,
    "brier": brier,
    "ece": ece,
}


@dataclass(frozen=True)
class ReadingCalibration:
    """From a classifier's logit to a probability: logit P = scale x logit + offset (Platt 1999), scale at least 0.

    Args:
        scale: Of the logit; the inverse of a temperature.
        offset: Added.
    """

    scale: float = 1.0
    offset: float = 0.0

    def probability(self, logits: Float[np.ndarray, " study"]) -> Float[np.ndarray, " study"]:
        """Probabilities of the finding."""
        return np.exp(-np.logaddexp(0, -(self.scale * logits + self.offset)))

    def to_json(self) -> str:
        """As one line of JSON, for the weights' metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ReadingCalibration":
        """Read what `to_json` wrote.

        Raises:
            InputError: Not a calibration.
        """
        try:
            given = json.loads(text)
            return cls(float(given["scale"]), float(given["offset"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                "The calibration kept with the classifier cannot be read; train it again."
            ) from error


def fit_reading_calibration(
    logits: Float[np.ndarray, " study"], labels: Bool[np.ndarray, " study"]
) -> ReadingCalibration:
    """Fit a calibration on studies the classifier was not trained on.

    As few studies may be parted without an error, labels are drawn together a little, as Platt does: one of n positive
    studies counts as (n + 1) / (n + 2) of one.

    Raises:
        InputError: Studies of one kind alone.
    """
    positive, negative = int(labels.sum()), int((~labels).sum())
    if not positive or not negative:
        raise InputError(
            "A calibration needs studies with a finding and studies without; hold back more with data.val_share."
        )
    target = np.where(labels, (positive + 1) / (positive + 2), 1 / (negative + 2))
    features = np.stack([np.clip(logits, -_LIMIT, _LIMIT), np.ones_like(logits)], 1)
    scale, offset = fit_logistic(features, np.stack([1 - target, target]), least=(0.0, None))
    return ReadingCalibration(scale, offset)


def _over(part: np.ndarray, whole: np.ndarray) -> Float[np.ndarray, " draw"]:
    """A ratio; NaN over nothing."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), nan)


@torch.inference_mode()
def study_logits(
    network: ClassifierNetwork,
    samples: Iterable[dict[str, Tensor]],
    matcher: MatcherNetwork | None = None,
    batch: int = 16,
) -> Float[np.ndarray, " study"]:
    """A classifier's logit of every study.

    Args:
        network: In evaluation mode.
        samples: Of `whole_study`, one a study.
        matcher: Guides the classifier, where its form asks for guidance.
        batch: Studies read at once.
    """
    device = next(network.parameters()).device
    logits, waiting = [], iter(samples)
    while several := list(islice(waiting, batch)):
        images, present = (
            torch.stack([sample[name] for sample in several]).to(device)
            for name in ("images", "present")
        )
        logits.append(network(images, present, guidance_of(matcher, images, present)).float().cpu())
    return torch.cat(logits).double().numpy()
