"""Labels across views: what readers saw to be the same place in two or more films of one limb, as a JSON file.

The format, crossray-labels 1, stands with an example in docs/labels.md.

Positions are rows and columns in the film's own pixels, whole numbers at pixel centres; a box is first row, first
column, last row, last column. What is unsure or doubtful is kept and counts nowhere.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from crossray.data.checked import read_checked
from crossray.errors import InputError
from crossray.files import sha256, written_whole

Verdict = Literal["same", "different", "hidden", "unsure"]
Position = Annotated[float, Field(allow_inf_nan=False)]
Box = tuple[Position, Position, Position, Position]


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Film(_Checked):
    """A film of a study.

    Args:
        file: Its path, relative to the labels' own folder.
        sha256: Of the file, so that labels never move to another picture; None where unknown.
        size: Rows and columns; None where unknown.
    """

    file: str
    sha256: str | None = None
    size: tuple[int, int] | None = None


class Place(_Checked):
    """Where something lies in one film: a point, or boxes that cover it.

    Args:
        point: Row and column.
        sigma: Standard deviation of the point's row and column, in pixels.
        boxes: First row, first column, last row, last column of each.
    """

    point: tuple[Position, Position] | None = None
    sigma: tuple[Position, Position] | None = None
    boxes: tuple[Box, ...] = ()

    @model_validator(mode="after")
    def _says_where(self) -> "Place":
        if (self.point is None) == (not self.boxes):
            raise ValueError("a place has either a point or boxes")
        if any(box[0] > box[2] or box[1] > box[3] for box in self.boxes):
            raise ValueError("a box has its first row and column before its last")
        return self

    def corners(self) -> Sequence[tuple[float, float]]:
        """Row and column of the point, or of the first and the last corner of each box."""
        if self.point is not None:
            return [self.point]
        return [corner for box in self.boxes for corner in (box[:2], box[2:])]

    def scaled(self, down: float, across: float) -> "Place":
        """The same place in a film of `down` times as many rows and `across` times as many columns."""
        boxes = []
        for top, left, bottom, right in self.boxes:
            first = down * top, across * left
            last = down * (bottom + 1) - 1, across * (right + 1) - 1
            boxes.append((*first, max(first[0], last[0]), max(first[1], last[1])))
        return Place(
            point=self.point
            and (down * (self.point[0] + 0.5) - 0.5, across * (self.point[1] + 0.5) - 0.5),
            sigma=self.sigma and (down * self.sigma[0], across * self.sigma[1]),
            boxes=tuple(boxes),
        )


class Label(_Checked):
    """What one reader says of one thing.

    Args:
        verdict: `same`: all places show it. `different`: the two places show different things. `hidden`: it is in its
            places and not to be seen in the views `hidden`. `unsure`: counts nowhere.
        places: By view.
        hidden: Views that do not show it.
        name: Of the landmark.
        reader: Who.
        date: When, ISO 8601.
        remarks: Words for people and filters, such as `level_only`; what is `doubtful` counts nowhere.
    """

    verdict: Verdict
    places: dict[str, Place]
    hidden: tuple[str, ...] = ()
    name: str = ""
    reader: str = ""
    date: str = ""
    remarks: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _enough(self) -> "Label":
        if self.verdict == "hidden":
            if not self.places or not self.hidden or set(self.places) & set(self.hidden):
                raise ValueError("hidden needs places in some views and names others")
        elif (
            self.hidden
            or len(self.places) < 2
            or (self.verdict == "different" and len(self.places) > 2)
        ):
            raise ValueError(f"{self.verdict} needs places in two views")
        return self

    @property
    def counts(self) -> bool:
        """Whether tests ask for it and training learns it."""
        return self.verdict != "unsure" and "doubtful" not in self.remarks


class Study(_Checked):
    """Films of one limb and what was said of them.

    Args:
        study: Its name, unique.
        person: Whose; sets are split by person.
        films: By view.
        labels: In the order they were made.
    """

    study: str
    person: str
    films: dict[str, Film]
    labels: tuple[Label, ...] = ()

    @model_validator(mode="after")
    def _known_views(self) -> "Study":
        for label in self.labels:
            for view in (*label.places, *label.hidden):
                if view not in self.films:
                    raise ValueError(f"study {self.study} has a label in {view} and no such film")
        self.check_places({view: film.size for view, film in self.films.items() if film.size})
        return self

    def check_places(self, sizes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse a place that lies beside its film.

        Args:
            sizes: By view, the film's rows and columns, as far as known.

        Raises:
            ValueError: It does.
        """
        for view, place in (each for label in self.labels for each in label.places.items()):
            rows, columns = sizes.get(view, (float("inf"), float("inf")))
            for row, column in place.corners():
                if not (-0.5 <= row <= rows - 0.5 and -0.5 <= column <= columns - 0.5):
                    raise ValueError(
                        f"study {self.study} has a place ({row:g}, {column:g}) beside the film"
                        f" {self.films[view].file}"
                    )

    def scaled(self, scales: Mapping[str, tuple[float, float]]) -> "Study":
        """The same labels on films, by view, of so many times as many rows and columns."""
        labels = [
            label.model_copy(
                update={"places": {v: at.scaled(*scales[v]) for v, at in label.places.items()}}
            )
            for label in self.labels
        ]
        films = {v: film.model_copy(update={"size": None}) for v, film in self.films.items()}
        return self.model_copy(update={"labels": tuple(labels), "films": films})


class Labels(_Checked):
    """Studies with what readers said of them."""

    format: Literal["crossray-labels"] = "crossray-labels"
    version: Literal[1] = 1
    studies: tuple[Study, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> "Labels":
        names = [study.study for study in self.studies]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"study {min(twice)} is there twice")
        return self


def read_labels(path: str | Path, *, check_films: bool = True) -> Labels:
    """Read labels and make sure that they belong to the films beside them.

    Args:
        path: The JSON file; films are found relative to its folder.
        check_films: Compare each film's checksum, where the labels give one.

    Raises:
        InputError: No such file, no labels of this format, a film that is missing or another than was labelled.
    """
    path = Path(path)
    labels = read_checked(path, Labels, "labels", "docs/labels.md")
    for study in labels.studies if check_films else ():
        for film in study.films.values():
            _check_film(path.parent / film.file, film, path)
    return labels


def _check_film(file: Path, film: Film, path: Path) -> None:
    if not file.is_file():
        raise InputError(f"{path} labels {file}, which does not exist; put the film there.")
    if film.sha256 is not None and sha256(file) != film.sha256:
        raise InputError(
            f"{file} is another file than the one labelled in {path}; put that one back."
        )


def write_labels(labels: Labels, path: str | Path) -> None:
    """Write labels, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(labels_text(labels), encoding="utf-8")


def labels_text(labels: Labels) -> str:
    """Labels as they stand in their file."""
    content = labels.model_dump(mode="json", exclude_defaults=True)
    content = {"format": labels.format, "version": labels.version, **content}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def merge_labels(several: Iterable[Labels]) -> Labels:
    """All studies of several files; of a study in more than one, the labels of all, each once.

    Raises:
        InputError: One study of two persons or of different films.
    """
    merged: dict[str, Study] = {}
    for study in (study for labels in several for study in labels.studies):
        known = merged.get(study.study)
        if known is not None:
            if known.person != study.person or not _same_films(known.films, study.films):
                raise InputError(
                    f"Study {study.study} has another person or other films in two files; rename one of the two."
                )
            both = dict.fromkeys([*map(_key, known.labels), *map(_key, study.labels)])
            study = known.model_copy(update={"labels": tuple(map(Label.model_validate_json, both))})
        merged[study.study] = study
    return Labels(studies=tuple(merged.values()))


def _key(label: Label) -> str:
    return label.model_dump_json()


def _same_films(one: Mapping[str, Film], other: Mapping[str, Film]) -> bool:
    """The same views, each of the same file by its checksum, or else by its name, and of no other size."""
    return set(one) == set(other) and all(
        _same_file(one[view], other[view])
        and (None in (one[view].size, other[view].size) or one[view].size == other[view].size)
        for view in one
    )


def _same_file(one: Film, other: Film) -> bool:
    if None in (one.sha256, other.sha256):
        return one.file == other.file
    return one.sha256 == other.sha256


def labelled_truth(
    study: Study, views: Sequence[str], patch_boxes: Float[Tensor, "view patch 4"]
) -> tuple[Float[Tensor, "view view patch patch"], Bool[Tensor, "view view patch patch"]]:
    """What those of a study's labels that count say of pairs of patches.

    Args:
        study: With its labels.
        views: Names of the views, in the order wanted.
        patch_boxes: What each patch covers in its film (first row, first column, end row, end column), edges counted
            from the film's top left corner, as `Matches.patch_box`.

    Returns:
        The matrix, 1 where patches show the same and 0 elsewhere, and where it is known. Readers who contradict each
        other leave an entry unknown.
    """
    count, patches, _ = patch_boxes.shape
    votes = torch.zeros(2, count, count, patches, patches, dtype=torch.bool)
    every = torch.arange(patches)
    for label in (each for each in study.labels if each.counts):
        seen = {
            k: patches_of(label.places[view], patch_boxes[k])
            for k, view in enumerate(views)
            if view in label.places
        }
        unseen = [(k, every) for k, view in enumerate(views) if view in label.hidden]
        pairs = combinations(seen.items(), 2)
        if label.verdict == "hidden":
            pairs = product(seen.items(), unseen)
        for (k, p), (m, q) in pairs:
            votes[int(label.verdict == "same"), k, m, p[:, None], q] = True
            votes[int(label.verdict == "same"), m, k, q[:, None], p] = True
    known = votes[0] ^ votes[1]
    return (votes[1] & known).float(), known


def patches_of(place: Place, boxes: Float[Tensor, "patch 4"]) -> Int[Tensor, " held"]:
    """The patches that hold a place: a point's own; a box's middle's, and all whose centres it covers."""
    top, left, bottom, right = boxes.unbind(1)

    def hold(row: float, column: float) -> Tensor:
        row, column = row + 0.5, column + 0.5
        return (top <= row) & (row < bottom) & (left <= column) & (column < right)

    if place.point is not None:
        return hold(*place.point).nonzero()[:, 0]
    row, column = (top + bottom) / 2 - 0.5, (left + right) / 2 - 0.5
    inside = torch.zeros(len(boxes), dtype=torch.bool)
    for row0, column0, row1, column1 in place.boxes:
        inside |= hold((row0 + row1) / 2, (column0 + column1) / 2)
        inside |= (
            (row0 - 0.5 <= row) & (row <= row1 + 0.5)
            & (column0 - 0.5 <= column) & (column <= column1 + 0.5)
        )  # fmt: skip
    return inside.nonzero()[:, 0]
