"""Scores a matcher on samples and slope pairs, and writes the report.

The evaluation knows neither networks nor training: a matcher is any function from images to correspondence. It stands
beside two baselines that see no image: chance (the prevalence) and the position prior (the mean true matrix).
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import isnan, nan
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from crossray.errors import InputError
from crossray.evaluation.groups import groups_of
from crossray.evaluation.metrics import FINEST, MatchingMetrics, PositionPrior, bootstrap_ap
from crossray.evaluation.slope import Predict, SlopePair, SlopeResult, slope
from crossray.files import written_whole

_VOLUME_RESOLUTION = 17
"""log2 of the bins per volume: 2 MB each, AP within about 1e-4; the pooled AP has all 2^20."""


@runtime_checkable
class MatchedSample(Protocol):
    """What the evaluation needs of a sample."""

    @property
    def images(self) -> Tensor:
        """Radiographs (view, row, column) in [0, 1]."""
        ...

    @property
    def correspondence(self) -> Tensor:
        """True correspondence (view, view, patch, patch) in [0, 1]."""
        ...


LabelledSample = tuple[str, str, MatchedSample]
"""Person, volume name, sample."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class MatcherReport:
    """Scores of a matcher, pooled over samples and per volume; NaN where undefined (null in JSON).

    Args:
        ap: Average precision over all pairs of patches, pooled.
        mse: Mean squared error of the matrix.
        precision: Precision at predicted > 0.2.
        recall: Recall at predicted > 0.2.
        prevalence: Share of positive pairs: the AP of chance.
        prior_ap: AP of the position prior on the same samples.
        ap_low: 2.5 % quantile of the AP, bootstrap over persons.
        ap_high: 97.5 % quantile.
        slope: Pooled slope: 1 where bands follow the anatomy, 0 where they stay in place.
        slope_low: 2.5 % quantile of the slope, bootstrap over persons.
        slope_high: 97.5 % quantile.
        row_error: Mean distance between predicted and true band rows in the slope test, in pixels.
        pairs: Pairs of views scored.
        persons: Persons scored.
        slope_pairs: Pairs the slope was measured on.
        per_volume: For each volume name, person, ap, prevalence, prior_ap, pairs.
        per_group: The same scores for each group of pairs, as kind (angle, overlap) and name; see `groups_of`.
        settings: How the report was made (weights, seed, protocol, definition), as the caller describes it.
    """

    ap: float
    mse: float
    precision: float
    recall: float
    prevalence: float
    prior_ap: float
    ap_low: float
    ap_high: float
    slope: float
    slope_low: float
    slope_high: float
    row_error: float
    pairs: int
    persons: int
    slope_pairs: int
    per_volume: list[dict[str, Any]]
    per_group: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The report as JSON text; undefined scores are null."""
        return json.dumps(null_for_nan(asdict(self)), indent=2, allow_nan=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as JSON; the file appears whole or not at all."""
        with written_whole(path) as partial:
            partial.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "MatcherReport":
        """Read a saved report.

        Raises:
            InputError: A file that is not a matcher report.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            scores = _nan_for_null(
                {each.name: content[each.name] for each in fields(cls) if each.name != "per_group"}
            )
            lists = {
                name: [_nan_for_null(row) for row in content.get(name, [])]
                for name in ("per_volume", "per_group")
            }
            return cls(**{**scores, **lists, "settings": dict(content["settings"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            remedy = "give a file written by `crossray evaluate matcher --json`."
            raise InputError(f"{path} is not a matcher report; {remedy}") from error


def evaluate_matcher(
    predict: Predict,
    samples: Iterable[LabelledSample],
    prior: PositionPrior | None = None,
    slope_pairs: Iterable[SlopePair] = (),
    *,
    batch_size: int = 8,
    settings: dict[str, Any] | None = None,
    progress: bool = False,
) -> MatcherReport:
    """Score a matcher on samples with known correspondence and on slope pairs.

    Args:
        predict: Images (batch, view, row, column) in [0, 1] to correspondence (batch, view, view,
            patch, patch) in [0, 1].
        samples: Person, volume name and sample; consumed lazily, any number. Of one with a mask `known` (as its
            correspondence), what the mask leaves out is ignored.
        prior: Mean matrix over training samples; None leaves `prior_ap` undefined.
        slope_pairs: Pairs for the slope test; none leaves `slope` undefined.
        batch_size: Samples of equal shape predicted together.
        settings: What to record in the report about how it was made.
        progress: Show a progress bar on stderr.

    Returns:
        The report; intervals come from 1000 bootstrap draws over persons with seed 0.

    Raises:
        InputError: No samples.
    """
    tally = Tally.of(predict, _tracked(samples, "matching", progress), prior, batch_size)
    measured = slope(predict, _tracked(slope_pairs, "slope", progress and slope_pairs != ()))
    return tally.report(measured, settings or {})


class Part:
    """Histograms of some of the pairs of views, for the matcher and for the prior."""

    def __init__(self, resolution: int = _VOLUME_RESOLUTION) -> None:
        self.scores = MatchingMetrics(resolution)
        self.prior = MatchingMetrics(resolution)
        self.pairs = 0

    def count(
        self, predicted: Tensor, usual: Tensor | None, truth: Tensor, known: Tensor | None
    ) -> None:
        """Count one sample: the matcher's matrix, the prior's where there is one, and the true one where known."""
        self.scores.update(predicted, truth, known)
        if usual is not None:
            self.prior.update(usual, truth, known)
        self.pairs += len(truth) * (len(truth) - 1) // 2

    def row(self) -> dict[str, Any]:
        """Its scores."""
        scores = self.scores.compute()
        prior_ap = self.prior.compute().ap
        return {
            "ap": scores.ap,
            "prevalence": scores.prevalence,
            "prior_ap": prior_ap,
            "pairs": self.pairs,
        }


class Tally:
    """What was counted of all pairs, of each volume's and of each group's."""

    def __init__(self) -> None:
        self.pooled = Part(FINEST)
        self.volumes: dict[tuple[str, str], Part] = {}
        self.groups: dict[tuple[str, str], Part] = {}

    @classmethod
    def of(
        cls,
        predict: Predict,
        samples: Iterable[LabelledSample],
        prior: PositionPrior | None = None,
        batch_size: int = 8,
    ) -> "Tally":
        """All samples predicted and counted; arguments and errors are those of `evaluate_matcher`."""
        tally = cls()
        for batch in _batches(samples, batch_size):
            tally.count(batch, predict, prior)
        if not tally.pooled.pairs:
            raise InputError(
                "There are no samples to evaluate on; give at least one volume and one pair."
            )
        return tally

    def count(
        self, batch: Sequence[LabelledSample], predict: Predict, prior: PositionPrior | None
    ) -> None:
        """Predict a batch of samples of equal shape and count it.

        Args:
            batch: The samples.
            predict: As for `evaluate_matcher`.
            prior: As for `evaluate_matcher`.
        """
        images = torch.stack([sample.images for _, _, sample in batch])
        with torch.inference_mode():
            predicted = predict(images).float().cpu()
        usual = None if prior is None else prior(images)
        for number, (person, name, sample) in enumerate(batch):
            parts = [self.pooled, self.volumes.setdefault((person, name), Part())]
            parts += [self.groups.setdefault(group, Part()) for group in groups_of(sample)]
            for part in parts:
                part.count(
                    predicted[number],
                    None if usual is None else usual[number],
                    sample.correspondence,
                    getattr(sample, "known", None),
                )

    def report(self, measured: SlopeResult, settings: dict[str, Any]) -> MatcherReport:
        """Everything counted, as a report; intervals come from 1000 bootstrap draws over persons with seed 0."""
        pooled = self.pooled.scores.compute()
        persons = list(self.persons().values())
        low, high = bootstrap_ap(persons)
        return MatcherReport(
            ap=pooled.ap,
            mse=pooled.mse,
            precision=pooled.precision,
            recall=pooled.recall,
            prevalence=pooled.prevalence,
            prior_ap=self.pooled.prior.compute().ap,
            ap_low=low,
            ap_high=high,
            slope=measured.slope,
            slope_low=measured.low,
            slope_high=measured.high,
            row_error=measured.row_error,
            pairs=self.pooled.pairs,
            persons=len(persons),
            slope_pairs=len(measured.pairs),
            per_volume=[
                {"name": name, "person": person, **part.row()}
                for (person, name), part in sorted(self.volumes.items())
            ],
            per_group=[
                {"kind": kind, "name": name, **part.row()}
                for (kind, name), part in sorted(self.groups.items())
            ],
            settings=settings,
        )

    def persons(self) -> dict[str, MatchingMetrics]:
        """What was counted of each person, over all volumes."""
        merged: dict[str, MatchingMetrics] = {}
        for (person, _), part in sorted(self.volumes.items()):
            merged.setdefault(person, MatchingMetrics(_VOLUME_RESOLUTION)).merge(part.scores)
        return merged


def _batches(samples: Iterable[LabelledSample], batch_size: int) -> Iterator[list[LabelledSample]]:
    """Runs of consecutive samples whose images have the same shape."""
    batch: list[LabelledSample] = []
    for labelled in samples:
        if batch and (
            len(batch) == batch_size or labelled[2].images.shape != batch[0][2].images.shape
        ):
            yield batch
            batch = []
        batch.append(labelled)
    if batch:
        yield batch


def _tracked(items: Iterable[Item], label: str, shown: bool) -> Iterator[Item]:
    """The items, with a progress bar on stderr when asked for."""
    if not shown:
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    total = float(len(items)) if isinstance(items, Sequence) else None
    yield from track(items, description=label, total=total, console=Console(stderr=True))


def null_for_nan(value: Any) -> Any:
    """The same nested value with None in place of NaN."""
    if isinstance(value, float) and isnan(value):
        return None
    if isinstance(value, dict):
        return {key: null_for_nan(each) for key, each in value.items()}
    return [null_for_nan(each) for each in value] if isinstance(value, list | tuple) else value


def _nan_for_null(scores: dict[str, Any]) -> dict[str, Any]:
    """The same scores with NaN in place of None."""
    return {key: nan if value is None else value for key, value in scores.items()}
