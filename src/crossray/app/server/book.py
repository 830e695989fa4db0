"""The readers' labels of a server's studies, on the disk whole after every change."""

import os
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from crossray.app.server.limits import Limits
from crossray.app.server.session import OpenStudy
from crossray.data.annotations import Film, Label, Labels, Study, read_labels, write_labels
from crossray.data.negatives import DRAWN
from crossray.errors import InputError


class LabelBook:
    """A file of labels (docs/labels.md) that is written with every label and taken up again at the next start.

    Args:
        path: The file; made with the first label.
        limits: How many labels a study may have.
    """

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self.path = path
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        known = read_labels(path, check_films=False).studies if path.exists() else ()
        self._studies = {study.study: study for study in known}
        self._written = self._stamp()

    @property
    def labels(self) -> Labels:
        """All that was said."""
        return Labels(studies=tuple(self._studies.values()))

    def study(self, opened: OpenStudy) -> Study:
        """What was said of a study, in its own names of views; a study nobody labelled has no labels."""
        known = self._known(opened)
        if known is None:
            return self._new(opened)
        names = {ours: theirs for theirs, ours in self._names(opened, known).items()}
        return Study(
            study=known.study,
            person=known.person,
            films={names[view]: film for view, film in known.films.items()},
            labels=tuple(_renamed(label, names) for label in known.labels),
        )

    def count(self, study: OpenStudy, reader: str) -> int:
        """How many labels a reader made of a study; of one that was not opened yet, as its name tells."""
        known = self._known(study) if study.films else self._studies.get(study.name)
        return len(_made(known, reader))

    def missing(self, study: Study) -> list[str]:
        """Films of a study that are not where the file of labels says, such as uploaded ones."""
        files = (film.file for film in study.films.values())
        return [file for file in files if not os.path.isfile(self.path.parent / file)]

    def add(self, opened: OpenStudy, label: Label, drawn: Sequence[Label] = ()) -> Study:
        """Keep a label, and what was drawn with it; the date is set here.

        Raises:
            InputError: Views or points that the study does not have, more labels than it may have, or a file that
                cannot be written.
        """
        with self._lock:
            known = self._known(opened) or self._new(opened)
            names = self._names(opened, known)
            date = datetime.now(UTC).isoformat(timespec="milliseconds")
            said = [
                _renamed(each, names).model_copy(update={"date": date}) for each in (label, *drawn)
            ]
            if len(known.labels) + len(said) > self._limits.labels:
                raise InputError(
                    f"{known.study} has {len(known.labels)} labels, as many as are kept; export them first."
                )
            self._keep(known, labels=(*known.labels, *said))
        return self.study(opened)

    def undo(self, opened: OpenStudy, reader: str) -> Study:
        """Take back the last label a reader made, and what was drawn with it."""
        with self._lock:
            known = self._known(opened)
            made = _made(known, reader)
            if known is None or not made:
                raise InputError(f"{reader or 'Nobody'} has no label here to take back.")
            last = made[-1]
            kept = [
                each
                for each in known.labels
                if each is not last
                and (
                    DRAWN not in each.remarks
                    or (each.reader, each.date) != (reader, last.date or None)
                )
            ]
            self._keep(known, labels=tuple(kept))
        return self.study(opened)

    def name_person(self, opened: OpenStudy, person: str) -> Study:
        """Say whose limb a study shows."""
        with self._lock:
            self._keep(self._known(opened) or self._new(opened), person=person)
        return self.study(opened)

    def _keep(self, study: Study, **changes: object) -> None:
        """Check a changed study and write everything."""
        try:
            changed = Study.model_validate({**dict(study), **changes})
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise InputError(f"This is no label: {reason}.") from None
        studies = {**self._studies, changed.study: changed}
        try:
            if self._stamp() != self._written:
                raise InputError(
                    f"{self.path} was changed by another program; start again to go on from there."
                )
            write_labels(Labels(studies=tuple(studies.values())), self.path)
            self._studies, self._written = studies, self._stamp()
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written ({error.strerror}), and nothing was kept; make room for it there, or "
                "start again with another --labels."
            ) from None

    def _stamp(self) -> tuple[int, int] | None:
        if not self.path.exists():
            return None
        stat = self.path.stat()
        return stat.st_mtime_ns, stat.st_size

    def _known(self, opened: OpenStudy) -> Study | None:
        """The study of the same films."""
        films = Counter(film.sha256 for film in opened.films)
        for study in self._studies.values():
            if Counter(film.sha256 for film in study.films.values()) == films:
                return study
        named = self._studies.get(opened.name)
        if named is None or set(named.films) != {film.view for film in opened.films}:
            return None
        return named if all(film.sha256 is None for film in named.films.values()) else None

    def _new(self, opened: OpenStudy) -> Study:
        name, number = opened.name, 2
        while name in self._studies:
            name, number = f"{opened.name} ({number})", number + 1
        films = {
            film.view: Film(
                file=self._relative(opened, film.view, name),
                sha256=film.sha256,
                size=film.size,
            )
            for film in opened.films
        }
        return Study(study=name, person=opened.given.person or name, films=films)

    def _relative(self, opened: OpenStudy, view: str, study: str) -> str:
        """A film's path from the labels' folder; of an uploaded one where it is to be put, in a folder of its study."""
        if opened.uploaded:
            names = list(opened.files.values())
            name = opened.files[view]
            name = name if names.count(name) == 1 else f"{view}{Path(name).suffix}"
            return f"{_as_file(study)}/{_as_file(name)}"
        path = opened.given.films[view].resolve()
        return Path(os.path.relpath(path, self.path.resolve().parent)).as_posix()

    @staticmethod
    def _names(opened: OpenStudy, known: Study) -> dict[str, str]:
        """From the session's names of views to the book's; films that are the same to the byte in their order."""
        views = defaultdict(list)
        for view, film in known.films.items():
            views[film.sha256 or view].append(view)
        return {film.view: (views[film.sha256] or views[film.view]).pop(0) for film in opened.films}


def _made(study: Study | None, reader: str) -> list[Label]:
    """The labels a reader made, without what was drawn."""
    said = study.labels if study else ()
    return [label for label in said if label.reader == reader and DRAWN not in label.remarks]


def _as_file(name: str) -> str:
    """A name that came from outside, as every system takes it for a file or folder."""
    return re.sub(r'[<>:"|?*/\\]', "_", name).rstrip(". ") or "film"


def _renamed(label: Label, names: dict[str, str]) -> Label:
    """The same label in other names of views; names that are unknown stay, to be refused as such."""
    places = {names.get(view, view): place for view, place in label.places.items()}
    hidden = tuple(names.get(view, view) for view in label.hidden)
    return label.model_copy(update={"places": places, "hidden": hidden})
