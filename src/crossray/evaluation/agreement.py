"""How far readers agree who labelled the same films: in their verdicts, and in where they put a point."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from crossray.data.annotations import Label, Study
from crossray.data.negatives import DRAWN

NEAR = 1 / 32
"""Labels with a place in one film this near (a share of the film's diagonal) answer the same question."""


@dataclass(frozen=True)
class Agreement:
    """Two readers' labels of the same things.

    Args:
        readers: Who.
        questions: Things both judged.
        verdicts: Share of them with equal verdicts; None without questions.
        kappa: Cohen's kappa of the verdicts; None where chance alone agrees always.
        places: Points both set for a thing, in films other than the one the question was asked in.
        distance: Median distance of such points as a share of the film's diagonal; None without places.
        pixels: The same in the film's pixels.
    """

    readers: tuple[str, str]
    questions: int
    verdicts: float | None
    kappa: float | None
    places: int
    distance: float | None
    pixels: float | None


def agreement(studies: Sequence[Study]) -> list[Agreement]:
    """Every two readers compared over all studies.

    Labels nobody made (drawn negatives) and labels without a reader are left out. Two labels answer one question
    where their landmark has one name, or where their points in a film lie within 1/32 of its diagonal.
    """
    readers = sorted({label.reader for study in studies for label in study.labels} - {""})
    return [_compared(pair, studies) for pair in combinations(readers, 2)]


def _compared(readers: tuple[str, str], studies: Sequence[Study]) -> Agreement:
    verdicts, distances = [], []
    for study in studies:
        for one, other, asked in _shared(study, readers):
            verdicts.append((one.verdict, other.verdict))
            if one.verdict == other.verdict == "same":
                distances += _distances(study, one, other, asked)
    equal = [a == b for a, b in verdicts]
    return Agreement(
        readers=readers,
        questions=len(verdicts),
        verdicts=sum(equal) / len(equal) if equal else None,
        kappa=_kappa(verdicts),
        places=len(distances),
        distance=median(share for share, _ in distances) if distances else None,
        pixels=median(pixels for _, pixels in distances) if distances else None,
    )


def _shared(study: Study, readers: tuple[str, str]) -> Iterator[tuple[Label, Label, str | None]]:
    """Labels of both readers about one thing, and the film in which they asked after it."""
    made = [label for label in study.labels if DRAWN not in label.remarks]
    ones, others = ([label for label in made if label.reader == reader] for reader in readers)
    for one in ones:
        for other in others:
            asked = _asked(study, one, other)
            if asked is not None or (one.name and one.name == other.name):
                others.remove(other)
                yield one, other, asked
                break


def _asked(study: Study, one: Label, other: Label) -> str | None:
    """The first film in which both put their points at the same place."""
    for view in one.places:
        near = view in other.places and _distance(study, one, other, view)
        if near and near[0] <= NEAR:
            return view
    return None


def _distances(
    study: Study, one: Label, other: Label, asked: str | None
) -> list[tuple[float, float]]:
    found = [_distance(study, one, other, view) for view in one.places if view != asked]
    return [distance for distance in found if distance]


def _distance(study: Study, one: Label, other: Label, view: str) -> tuple[float, float] | None:
    """Between two labels' points in a film: as a share of its diagonal, and in pixels."""
    size = study.films[view].size
    places = one.places.get(view), other.places.get(view)
    points = [place.point for place in places if place and place.point]
    if size is None or len(points) < 2:
        return None
    pixels = math.dist(*points)
    return pixels / math.hypot(*size), pixels


def _kappa(verdicts: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa."""
    if not verdicts:
        return None
    count = len(verdicts)
    kinds = {verdict for pair in verdicts for verdict in pair}
    chance = sum(
        sum(a == kind for a, _ in verdicts) * sum(b == kind for _, b in verdicts) for kind in kinds
    ) / count**2  # fmt: skip
    return (
        None if chance == 1 else (sum(a == b for a, b in verdicts) / count - chance) / (1 - chance)
    )
