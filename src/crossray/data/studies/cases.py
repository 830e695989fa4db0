"""Studies with labels, and their split by patient: nobody is in two parts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from crossray.errors import InputError

VIEWS = ("AP", "LAT", "OBL")
"""Projections in the order in which views are shown; a film whose projection nobody names has the view ''."""
PARTS = ("train", "val", "test")
FLAGS = ("cast", "metal", "follow_up", "uncertain", "osteopenia", "several")


@dataclass(frozen=True)
class StudyFilm:
    """One film of a study.

    Args:
        file: Where it lies.
        view: Its projection, one of `VIEWS` or ''.
        label: Whether the finding is seen on it; the study's label where films have none of their own.
    """

    file: Path
    view: str
    label: bool


@dataclass(frozen=True)
class Case:
    """The films of one limb of one person on one day.

    Args:
        study: Its name, once in a set.
        patient: Whose limb.
        films: Its films, one or more.
        label: Whether any film shows the finding.
        flags: What is known besides, of `FLAGS`; `"several"`: views in one picture.
        part: Part of the body, as the set names it.
        split: Part of the set's published split, `"train"`, `"val"` or `"test"`; '' where there is none.
    """

    study: str
    patient: str
    films: tuple[StudyFilm, ...]
    label: bool
    flags: frozenset[str] = frozenset()
    part: str = ""
    split: str = ""

    def shown(self, views: int, rng: np.random.Generator | None = None) -> list[StudyFilm]:
        """Up to so many films: one of each projection first, AP before LAT before oblique, then repeated ones.

        Args:
            views: How many at most.
            rng: Draws among films of one projection; without it they come in their order.
        """
        order = range(len(self.films)) if rng is None else rng.permutation(len(self.films))
        counted: Counter[str] = Counter()
        ranked = []
        for film in (self.films[int(i)] for i in order):
            place = VIEWS.index(film.view) if film.view in VIEWS else len(VIEWS)
            ranked.append((counted[film.view], place, film))
            counted[film.view] += 1
        return [film for *_, film in sorted(ranked, key=lambda each: each[:2])[:views]]


@dataclass(frozen=True)
class Cases:
    """A set of studies.

    Args:
        cases: The studies.
        notes: What a user should know of how they were read.
    """

    cases: tuple[Case, ...]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class StudyData:
    """Which studies a classifier learns from, and how they are split and shown.

    Args:
        source: `graz:TABLE.csv`, `mura:FOLDER`, `fracatlas:FOLDER` or `csv:TABLE.csv`; see `read_cases`.
        sha256: Of the source's tables, so that a run goes on with the same studies only.
        seed: Of split and samples.
        views: Films of a study shown at once.
        missing: Share of training samples one of whose views is taken away, so that a missing view is nothing new.
        least: Studies of fewer films are left out.
        without: Studies with any of these flags (see `Case`) are left out.
        parts: Parts of the body to take; all, if empty.
        val_share: Share of the training patients held back for the calibration, where no part `val` is published.
        test_share: Share of the patients kept for the test, where the set publishes no split.
        folds: For cross-validation: into how many equal parts the patients are dealt; 0 for none.
        fold: Which of them is the test.
        simulated: Folder of CTs whose training people, with simulated fractures drawn on the fly, are learned from in
            place of the source's training studies; '' for none. The source calibrates and tests.
        twins: Different simulated studies of each kind, which come back in new looks; 0 draws endlessly.
    """

    source: str = ""
    sha256: str = ""
    seed: int = 0
    views: int = 2
    missing: float = 0.1
    least: int = 1
    without: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    val_share: float = 0.15
    test_share: float = 0.3
    folds: int = 0
    fold: int = 0
    simulated: str = ""
    twins: int = 0

    def __post_init__(self) -> None:
        if unknown := set(self.without) - set(FLAGS):
            raise InputError(
                f"data.without names {min(unknown)!r}; studies have the flags {', '.join(FLAGS)}."
            )
        if self.seed < 0:
            raise InputError(f"data.seed={self.seed}: a seed is 0 or more.")
        if not 1 <= self.views <= 6:
            raise InputError(f"data.views={self.views}: a study is shown in 1 to 6 views.")
        if not all(0 <= each < 1 for each in (self.val_share, self.test_share, self.missing)):
            raise InputError(
                "data.val_share, data.test_share and data.missing are shares, from 0 to less than 1."
            )
        if self.folds < 0 or self.folds == 1 or not 0 <= self.fold < max(1, self.folds):
            raise InputError(
                f"data.folds={self.folds} data.fold={self.fold}: give 2 folds or more and one of 0 to folds - 1."
            )


def split_cases(cases: Sequence[Case], data: StudyData) -> dict[str, list[Case]]:
    """The studies of `train`, `val` and `test`, each patient in one of them.

    A published split is kept; where it has no part `test`, its `val` is the test. Cross-validation (`data.folds`) and
    sets without a split deal the patients anew, those with a finding and those without by themselves, so that the parts
    are alike. `val` comes from the training patients; where it is published with studies of one kind alone, of those
    that no split names.

    Raises:
        InputError: A patient in two parts of a published split, or training studies all of one kind.
    """
    published = {case.split for case in cases} - {""}
    test = {"test"} if "test" in published else published & {"val"}
    free = cases if data.folds or not published else [case for case in cases if not case.split]
    fixed = [] if free is cases else [case for case in cases if case.split]
    drawn = _dealt(free, data) if free else set()
    parts: dict[str, list[Case]] = {name: [] for name in PARTS}
    for case in fixed:
        name = "test" if case.split in test else case.split
        parts[name].append(case)
    for case in free:
        parts["test" if case.patient in drawn else "train"].append(case)
    check_leakage(parts)
    if len({case.label for case in parts["val"]}) < 2 and data.val_share:
        named = bool(parts["val"])
        pool = [case for case in parts["train"] if not (named and case.split)]
        chosen = _first(pool, data.val_share, data.seed + 1)
        parts["val"] += [case for case in pool if case.patient in chosen]
        parts["train"] = [case for case in parts["train"] if case.patient not in chosen]
    if len({case.label for case in parts["train"]}) < 2:
        raise InputError(
            f"The {len(parts['train'])} training studies are all of one kind; some must have a finding and some none."
        )
    return parts


def check_leakage(parts: Mapping[str, Iterable[Case]]) -> None:
    """Refuse parts that share a patient.

    Raises:
        InputError: They do; it names the patient and the parts.
    """
    home: dict[str, str] = {}
    for name, cases in parts.items():
        for case in cases:
            first = home.setdefault(case.patient, name)
            if first != name:
                raise InputError(
                    f"Patient {case.patient} is in both {first} and {name}; put all studies of a patient into one part."
                )


def _dealt(cases: Sequence[Case], data: StudyData) -> set[str]:
    """The test patients: a fold's, or a share."""
    if not data.folds:
        return _first(cases, data.test_share, data.seed)
    patients = [order[data.fold :: data.folds] for order in _orders(cases, data.seed)]
    return {patient for group in patients for patient in group}


def _first(cases: Sequence[Case], share: float, seed: int) -> set[str]:
    """A share of the patients, drawn of those with and without a finding alike."""
    chosen = [order[: round(share * len(order))] for order in _orders(cases, seed)]
    return {patient for group in chosen for patient in group}


def _orders(cases: Sequence[Case], seed: int) -> list[list[str]]:
    """The patients with a finding and those without, each in random order."""
    found = {case.patient for case in cases if case.label}
    rng = np.random.default_rng(seed)
    groups = (sorted(found), sorted({case.patient for case in cases} - found))
    return [[group[i] for i in rng.permutation(len(group))] for group in groups]
