"""What to ask a reader next: where the matcher is least certain and a reader can see something."""

from dataclasses import dataclass

import numpy as np

from crossray.app.server.answers import Answer
from crossray.app.server.session import OpenStudy

BEST = 8
"""A study is as uncertain as its most uncertain places, so many of them."""


@dataclass(frozen=True)
class Question:
    """A place to label across views.

    Args:
        study: Its id.
        view: The film to begin in.
        point: Row and column.
        uncertainty: From 0 to 1: how widely the place's match is spread, where the film shows anything.
    """

    study: str
    view: int
    point: tuple[float, float]
    uncertainty: float


def question(study: OpenStudy, answer: Answer, asked: list[tuple[int, int]]) -> Question | None:
    """The most uncertain place of a study; its uncertainty is the mean over the study's foremost.

    Args:
        study: With its films.
        answer: What the matcher says.
        asked: (view, patch) of what was labelled already.
    """
    found = []
    for view in range(len(study.films)):
        spread = np.mean([answer.spread(view, m) for m in range(len(study.films)) if m != view], 0)
        spread *= _detail(study, answer, view)
        for known, patch in asked:
            spread[answer.around(patch)] *= known != view
        found += [(value, view, int(patch)) for patch, value in enumerate(spread) if value > 0]
    if not found:
        return None
    foremost = sorted(found, reverse=True)[:BEST]
    _, view, patch = foremost[0]
    uncertainty = float(np.mean([value for value, _, _ in foremost]))
    return Question(study.id, view, answer.middle(view, patch), uncertainty)


def _detail(study: OpenStudy, answer: Answer, view: int) -> np.ndarray:
    """Contrast within each patch, relative to the film's richest ones: where there is something to recognise."""
    film = study.films[view]
    pixels = np.memmap(film.pixels, "<u2", "r", shape=film.size)
    contrast = []
    for top, left, bottom, right in answer.boxes[view].round().astype(int):
        cell = pixels[top:bottom:4, left:right:4]
        contrast.append(float(cell.std()) if cell.size else 0.0)
    return np.clip(np.array(contrast) / max(np.quantile(contrast, 0.9), 1.0), 0, 1)
