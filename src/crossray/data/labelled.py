"""Labelled films as samples: windows and looks drawn anew for training, whole films for tests, split by person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from crossray.data.annotations import Labels, Study, labelled_truth
from crossray.data.augment import chosen_patches
from crossray.data.radiographs import read_radiograph
from crossray.data.windows import HEIGHTS, Window, coarser, cut_all, draw_window, whole_window
from crossray.errors import InputError

SHARES = {"train": 0.6, "val": 0.1, "test": 0.3}
"""Of the persons, as the paper splits them."""


@dataclass(frozen=True)
class LabelledStudy:
    """A study whose films were read.

    Args:
        study: What was said of it, in pixels of `films`.
        films: By view, values of any scale, bone bright.
    """

    study: Study
    films: Mapping[str, Float[Tensor, "row column"]]

    @classmethod
    def read(cls, study: Study, folder: Path, size: int) -> "LabelledStudy":
        """Read the films from where the labels lie, no finer than the least window needs; places are scaled with them.

        Args:
            study: With its labels.
            folder: Where the labels lie.
            size: Side of the network's input.

        Raises:
            InputError: A film that cannot be read or is of another size than the labels say, or a place beside it.
        """
        whole = {
            view: read_radiograph(folder / film.file).pixels for view, film in study.films.items()
        }
        for view, film in study.films.items():
            if film.size not in (None, (shape := tuple(whole[view].shape))):
                raise InputError(
                    f"{folder / film.file} has {shape[0]} x {shape[1]} pixels and was labelled with"
                    f" {film.size[0]} x {film.size[1]}; put that one back."
                )
        try:
            study.check_places({view: tuple(film.shape) for view, film in whole.items()})
        except ValueError as error:
            raise InputError(f"In {folder} {error}; label that place again.") from None
        rows = ceil(size / HEIGHTS[0])
        films = {view: coarser(film, rows / film.shape[0]) for view, film in whole.items()}
        scales = {
            view: (film.shape[0] / whole[view].shape[0], film.shape[1] / whole[view].shape[1])
            for view, film in films.items()
        }
        return cls(study.scaled(scales), films)


@dataclass(frozen=True, eq=False)
class LabelledPair:
    """Two films and what is known of which of their patches match.

    Args:
        images: In [0, 1], bone bright.
        correspondence: 1 where patches show the same, else 0.
        known: Where that was said.
    """

    images: Float[Tensor, "view row column"]
    correspondence: Float[Tensor, "view view patch patch"]
    known: Bool[Tensor, "view view patch patch"]


def split_by_person(labels: Labels, seed: int = 0) -> dict[str, list[Study]]:
    """The studies of `train`, `val` and `test`, each person in one of them.

    Raises:
        InputError: Fewer than three persons have labels.
    """
    studies = [study for study in labels.studies if study.labels]
    persons = sorted({study.person for study in studies})
    if len(persons) < len(SHARES):
        raise InputError(
            f"The labels are of {len(persons)} persons; training, validation and test need one each."
        )
    order = np.random.default_rng(seed).permutation(len(persons))
    count = {name: max(1, round(SHARES[name] * len(persons))) for name in ("val", "test")}
    parts = np.split(order, np.cumsum([len(persons) - sum(count.values()), count["val"]]))
    return {
        name: [study for study in studies if study.person in {persons[i] for i in part}]
        for name, part in zip(SHARES, parts, strict=True)
    }


@dataclass(frozen=True, eq=False)
class LabelledParts:
    """Labelled studies split by person, as fine-tuning takes them.

    Args:
        training: Endless samples.
        validation: Pairs of whole films.
        test: Pairs of whole films.
        studies: Of each part, with their films.
    """

    training: "LabelledFilms"
    validation: list[tuple[str, str, LabelledPair]]
    test: list[tuple[str, str, LabelledPair]]
    studies: Mapping[str, Sequence[LabelledStudy]]

    @classmethod
    def read(
        cls, labels: Labels, folder: Path, size: int, patch: int, seed: int
    ) -> "LabelledParts":
        """Split labels and read their films.

        Args:
            labels: At least three persons'.
            folder: Where the labels lie.
            size: Side of the network's input.
            patch: Side of a patch in pixels.
            seed: Of the split and of all that training draws.

        Raises:
            InputError: A film that cannot be read, or a part without what it needs.
        """
        studies = {
            name: [LabelledStudy.read(study, folder, size) for study in part]
            for name, part in split_by_person(labels, seed).items()
        }
        validation, test = (whole_pairs(studies[name], size, patch) for name in ("val", "test"))
        for name, pairs in (("validation", validation), ("test", test)):
            if not any(pair.correspondence.any() for _, _, pair in pairs):
                raise InputError(
                    f"No one of the {name} persons has a place labelled in two films;"
                    " label more, or choose another --seed."
                )
        training = LabelledFilms(studies["train"], size, patch, seed)
        if not training.pairs:
            raise InputError(
                "No one of the training persons has two films; label more, or choose another --seed."
            )
        return cls(training, validation, test, studies)

    def __str__(self) -> str:
        counts = ", ".join(f"{len(part)} of {name}" for name, part in self.studies.items())
        return f"Studies: {counts}, split by person."


class LabelledFilms(Dataset[dict[str, Tensor]]):
    """Endless training samples: each pair of a study's views in turn, in windows, looks and mirrors drawn anew.

    Sample i depends on i and the seed alone. Each film's window is independent of the other's (see
    `crossray.data.windows`); windows in which no label is left are drawn again, a few times.

    Args:
        studies: With their films.
        size: Side of the network's input.
        patch: Side of a patch in pixels.
        seed: Of everything drawn.
    """

    def __init__(
        self, studies: Sequence[LabelledStudy], size: int, patch: int, seed: int = 0
    ) -> None:
        self.pairs = [
            (each, views) for each in studies for views in combinations(each.study.films, 2)
        ]
        self.size, self.patch, self.seed = size, patch, seed

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Sample `index`: `images`, `correspondence` and `known`."""
        number, rng = turn(index, len(self.pairs), self.seed)
        labelled, views = self.pairs[number]
        pair = self._cut(labelled, views, rng)
        for _ in range(3):
            if not pair.known.any():
                pair = self._cut(labelled, views, rng)
        return varied(pair, rng, self.size // self.patch)

    def _cut(
        self, labelled: LabelledStudy, views: Sequence[str], rng: np.random.Generator
    ) -> LabelledPair:
        windows = [draw_window(rng, labelled.films[view]) for view in views]
        return labelled_pair(labelled, views, windows, self.size, self.patch)


def turn(index: int, count: int, seed: int) -> tuple[int, np.random.Generator]:
    """Whose turn sample `index` is where `count` take turns, each round in another order, and its randomness."""
    visit, place = divmod(index, count)
    order = np.random.default_rng([seed, visit]).permutation(count)
    return int(order[place]), np.random.default_rng([seed, visit, place])


def whole_pairs(
    studies: Sequence[LabelledStudy], size: int, patch: int
) -> list[tuple[str, str, LabelledPair]]:
    """Person, study and every pair of whole films that labels tell something of: the test."""
    found = []
    for each in studies:
        for views in combinations(each.study.films, 2):
            windows = [whole_window(each.films[view]) for view in views]
            pair = labelled_pair(each, views, windows, size, patch)
            if pair.known.any():
                found.append((each.study.person, each.study.study, pair))
    return found


def labelled_pair(
    labelled: LabelledStudy, views: Sequence[str], windows: Sequence[Window], size: int, patch: int
) -> LabelledPair:
    """What windows, not turned, on films of a study show, and what its labels say of their patches."""
    boxes = torch.stack([window.patches(size // patch) for window in windows])
    truth, known = labelled_truth(labelled.study, views, boxes)
    images = cut_all(windows, [labelled.films[view] for view in views], size)
    return LabelledPair(images, truth, known)


def varied(pair: LabelledPair, rng: np.random.Generator, side: int) -> dict[str, Tensor]:
    """A training sample: each film of a pair mirrored by chance, its brightness and contrast drawn anew."""
    images, orders = [], []
    for image in pair.images:
        order = torch.arange(side * side).view(side, side)
        if rng.random() < 0.5:
            image, order = image.flip(1), order.flip(1)
        images.append(image ** float(np.exp(rng.normal(0.0, 0.25))))
        orders.append(order.flatten())
    matrices = {"correspondence": pair.correspondence, "known": pair.known}
    chosen = {name: chosen_patches(matrix, orders) for name, matrix in matrices.items()}
    return {"images": torch.stack(images), **chosen}
