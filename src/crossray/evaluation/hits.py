"""The band hit rate: does the true place of a labelled thing lie in the best tenth of the other film's patches?

Films of a study are taken alike, so "at the same height" is nearly right on them as they are, and a matcher that knows
nothing else looks good. Therefore each film is cut anew, at random and independently of the other: a window of 55 to
100 % of its height, shifted and turned. Three answers that do not look for what was asked are scored beside the
matcher's on the same windows: the same height, where things usually are, and the matcher's own mean over all that could
be asked, since landmarks lie on bone and bone is where much matches.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import nan

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.data.annotations import Study
from crossray.data.windows import cut_all, draw_window
from crossray.errors import InputError
from crossray.evaluation.metrics import percentile_interval, person_weights
from crossray.evaluation.slope import Predict

BEST = 0.1
"""Share of patches that count as the band; the hit rate of chance."""
TURN_DEG = 15.0
"""Most a window is turned either way."""


@dataclass(frozen=True)
class StudyHits:
    """Hit rates of one study.

    Args:
        study: Its name.
        person: Whose.
        trials: Pairs of shown places asked for, over all draws and both directions.
        matcher: Share of hits of the matcher.
        same_height: Of the answer "at the same height".
        prior: Of the position prior, NaN without one.
        unasked: Of the matcher's mean answer over all patches, whichever is asked for.
    """

    study: str
    person: str
    trials: int
    matcher: float
    same_height: float
    prior: float
    unasked: float


@dataclass(frozen=True)
class HitReport:
    """Hit rates over studies, every study counting alike.

    Args:
        matcher: Mean over studies.
        low: 95 % interval of `matcher`, by bootstrap over persons; NaN for fewer than two.
        high: See `low`.
        same_height: Mean of the answer "at the same height".
        prior: Mean of the position prior.
        unasked: Mean of the matcher's answer whichever patch is asked for.
        studies: Each study's.
    """

    matcher: float
    low: float
    high: float
    same_height: float
    prior: float
    unasked: float
    studies: tuple[StudyHits, ...]
    chance: float = BEST


def band_hits(
    predict: Predict,
    studies: Iterable[tuple[Study, Mapping[str, Float[Tensor, "row column"]]]],
    prior: Predict | None = None,
    draws: int = 20,
    seed: int = 0,
    size: int = 256,
) -> HitReport:
    """Ask for every labelled place in every other view, in windows drawn anew.

    Labels of verdict `same` with points count, those remarked `doubtful` do not.

    Args:
        predict: The matcher.
        studies: Each with its films by view, values of any scale, bone bright.
        prior: The position prior, or None.
        draws: Windows a study.
        seed: Of the windows.
        size: Side of the matcher's input.

    Raises:
        InputError: No study has a place labelled in two films.
    """
    rows = [
        _study_hits(
            predict, prior, study, films, draws, np.random.default_rng([seed, number]), size
        )
        for number, (study, films) in enumerate(studies)
    ]
    if not (rows := [row for row in rows if row.trials]):
        raise InputError(
            "No study has a point labelled as the same in two films; label some first."
        )
    names = ("matcher", "same_height", "prior", "unasked")
    means = {name: float(np.mean([getattr(row, name) for row in rows])) for name in names}
    return HitReport(**means, **_interval(rows), studies=tuple(rows))


def _interval(rows: Sequence[StudyHits], draws: int = 1000) -> dict[str, float]:
    persons = sorted({row.person for row in rows})
    if len(persons) < 2:
        return {"low": nan, "high": nan}
    sums = np.zeros((len(persons), 2))
    for row in rows:
        sums[persons.index(row.person)] += row.matcher, 1.0
    drawn = person_weights(len(persons), draws, 0) @ sums
    low, high = percentile_interval(drawn[:, 0] / drawn[:, 1])
    return {"low": low, "high": high}


def _study_hits(
    predict: Predict, prior: Predict | None, study: Study, films: Mapping[str, Tensor], draws: int,
    rng: np.random.Generator, size: int,
) -> StudyHits:  # fmt: skip
    views = list(study.films)
    hits: list[tuple[float, ...]] = []
    for _ in range(draws):
        windows = {view: draw_window(rng, films[view], TURN_DEG) for view in views}
        images = cut_all(windows.values(), [films[view] for view in views], size)[None]
        with torch.inference_mode():
            matrix = predict(images)[0].cpu()
            usual = None if prior is None else prior(images)[0].cpu()
        for label in study.labels:
            if label.verdict != "same" or not label.counts:
                continue
            side = round(matrix.shape[-1] ** 0.5)
            points = {
                view: place.point for view, place in label.places.items() if place.point is not None
            }
            shown = {
                views.index(view): _patch(windows[view].place(point), side)
                for view, point in points.items()
            }
            for (k, p), (m, q) in permutations(shown.items(), 2):
                if p is not None and q is not None:
                    height = -(torch.arange(side * side) // side - p // side).abs().float()
                    hits.append((
                        hit(matrix[k, m, p], q),
                        hit(height, q),
                        nan if usual is None else hit(usual[k, m, p], q),
                        hit(matrix[k, m].mean(0), q),
                    ))  # fmt: skip
    means = np.mean(hits, 0).tolist() if hits else (nan,) * 4
    return StudyHits(study.study, study.person, len(hits), *means)


def _patch(place: tuple[float, float], side: int) -> int | None:
    """The patch of a place in a window, None beside it."""
    row, column = (int(np.floor(part * side)) for part in place)
    return row * side + column if 0 <= row < side and 0 <= column < side else None


def hit(scores: Float[Tensor, " patch"], true: int, best: float = BEST) -> float:
    """1 where the true patch is among the best share of all, 0 where not; between where ties decide.

    Example:
        >>> hit(torch.arange(10.0), 9), hit(torch.arange(10.0), 8), hit(torch.zeros(10), 3)
        (1.0, 0.0, 0.1)
    """
    better = int((scores > scores[true]).sum())
    alike = int((scores == scores[true]).sum())
    return min(1.0, max(0.0, (best * len(scores) - better) / alike))
