"""Studies as samples: their films cut, turned and lit anew for training, whole for reading."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from crossray.data.labelled import turn
from crossray.data.radiographs import read_radiograph
from crossray.data.studies.cases import Case, StudyData, StudyFilm
from crossray.data.windows import Window, cut_all, whole_window

SIDES = (0.75, 1.05)
"""Least and greatest side of a training window in those of the whole film: a label is of the whole film."""
SHIFT, TURN_DEG = 0.08, 15.0
"""How far a training window is moved, in its sides, and turned, either way."""
SPARE = 1.5
"""Films are kept in memory this many times finer than the network looks at them."""


class StudyFilms(Dataset[dict[str, Tensor]]):
    """Endless training samples: each study in turn, in windows, mirrors and contrasts drawn anew.

    Sample i depends on i and the seed alone: `images` (view, row, column) in [0, 1], `present` (view), as some are
    missing, `film_labels` (view) and `label`.

    Args:
        cases: The studies.
        size: Rows and columns of the network's input; a square.
        data: How many views, how often one is taken away, and the seed.
    """

    def __init__(self, cases: Sequence[Case], size: tuple[int, int], data: StudyData) -> None:
        self.cases, self.size, self.data = cases, size[0], data

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Sample `index`."""
        number, rng = turn(index, len(self.cases), self.data.seed)
        case = self.cases[number]
        shown = case.shown(self.data.views, rng)
        if len(shown) > 1 and rng.random() < self.data.missing:
            shown.pop(int(rng.integers(len(shown))))
        films = [small_film(film.file, self.size) for film in shown]
        images = cut_all([_drawn(film, rng) for film in films], films, self.size)
        changed = torch.stack([_lit(image, rng) for image in images])
        return _sample(case, shown, changed, self.data.views)


def whole_study(case: Case, size: tuple[int, int], views: int) -> dict[str, Tensor]:
    """A study's whole films as a sample of `StudyFilms`."""
    shown = case.shown(views)
    films = [small_film(film.file, size[0]) for film in shown]
    return _sample(case, shown, whole_images(films, size[0]), views)


def whole_images(
    films: Sequence[Float[Tensor, "_ _"]], size: int
) -> Float[Tensor, "view size size"]:
    """Whole films as a network takes them."""
    return cut_all([whole_window(film) for film in films], films, size)


@lru_cache(maxsize=4096)
def small_film(file: Path, size: int) -> Float[Tensor, "row column"]:
    """A film that was read, no finer than the network can use; kept, since films come back."""
    pixels = read_radiograph(file).pixels
    scale = min(1.0, SPARE * size / max(pixels.shape))
    shape = [max(2, round(side * scale)) for side in pixels.shape]
    small = functional.interpolate(pixels[None, None], shape, mode="bilinear", antialias=True)[0, 0]
    return small.half()


def _drawn(film: Float[Tensor, "row column"], rng: np.random.Generator) -> Window:
    whole = whole_window(film)
    side = whole.side * rng.uniform(*SIDES)
    down, right = rng.uniform(-SHIFT, SHIFT, 2) * side
    return Window(whole.row + down, whole.column + right, side, rng.uniform(-TURN_DEG, TURN_DEG))


def _lit(
    image: Float[Tensor, "row column"], rng: np.random.Generator
) -> Float[Tensor, "row column"]:
    """An image mirrored by chance, its contrast drawn anew."""
    hung = image.flip(1) if rng.random() < 0.5 else image
    return hung ** float(np.exp(rng.normal(0.0, 0.25)))


def _sample(
    case: Case, shown: Sequence[StudyFilm], images: Float[Tensor, "shown row column"], views: int
) -> dict[str, Tensor]:
    """With empty views in place of missing ones, so that samples of any study stack."""
    empty = views - len(shown)
    return {
        "images": functional.pad(images, (0, 0, 0, 0, 0, empty)),
        "present": torch.tensor([True] * len(shown) + [False] * empty),
        "film_labels": torch.tensor([float(film.label) for film in shown] + [0.0] * empty),
        "label": torch.tensor(float(case.label)),
    }
