"""Labels over HTTP: said, taken back, compared, exported, learned from."""

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import torch
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, StringConstraints

from crossray.app.server.answers import Answer
from crossray.app.server.book import LabelBook
from crossray.app.server.questions import Question, question
from crossray.app.server.session import OpenStudy, Session
from crossray.app.server.tuning import Run, Tuning
from crossray.data.annotations import Label, Study, labels_text
from crossray.data.negatives import DRAWN, draw_negatives
from crossray.errors import InputError
from crossray.evaluation.agreement import agreement

LOOKED_AT = 12
"""Studies read and matched to answer one request for the next question; more only where these have none."""


class Said(BaseModel):
    """A study's labels, without what was drawn."""

    study: str
    person: str
    labels: list[Label]
    drawn: int = Field(description="Pairs of patches drawn as negatives.")
    file: str = Field(description="Where they are kept.")
    missing: list[str] = Field(
        description="Films that are not where the file says, beside it, such as uploaded ones."
    )


class Person(BaseModel):
    """Whose limb."""

    person: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class Steps(BaseModel):
    """How long to train at most."""

    steps: int = Field(default=300, ge=1, le=20000)


class Next(BaseModel):
    """What to label next."""

    study: str
    view: int
    point: tuple[float, float]
    uncertainty: float


def label_routes(session: Session, book: LabelBook, tuning: Tuning) -> APIRouter:
    """The routes of labels and of what is learned from them."""
    routes = APIRouter(prefix="/api")
    _study_routes(routes, session, book)
    _tuning_routes(routes, tuning)

    @routes.get("/labels", response_class=Response)
    def export() -> Response:
        """All labels as one file, crossray-labels 1."""
        headers = {"Content-Disposition": 'attachment; filename="crossray-labels.json"'}
        return Response(labels_text(book.labels), 200, headers, "application/json")

    @routes.get("/agreement")
    def agree() -> list[dict[str, Any]]:
        """How far every two readers agree."""
        return [asdict(each) for each in agreement(book.labels.studies)]

    @routes.get("/next")
    def following(reader: str = "") -> Next:
        """The most uncertain place of the most uncertain study among those a reader has labelled least."""
        return Next(**asdict(_next(session, book, reader)))

    return routes


def _study_routes(routes: APIRouter, session: Session, book: LabelBook) -> None:
    """One study's labels."""

    @routes.get("/studies/{study}/labels")
    def labels(study: str) -> Said:
        """What readers said of a study."""
        return _said(book, book.study(session.get(study)))

    @routes.post("/studies/{study}/labels", status_code=201)
    def add(study: str, label: Label) -> Said:
        """Keep a label; of a label `same`, negatives are drawn with it. On the disk before the answer comes."""
        opened = session.get(study)
        return _said(book, book.add(opened, label, _drawn(session, opened, label)))

    @routes.delete("/studies/{study}/labels/last")
    def undo(study: str, reader: str = "") -> Said:
        """Take back a reader's last label."""
        return _said(book, book.undo(session.get(study), reader))

    @routes.put("/studies/{study}/person")
    def person(study: str, person: Person) -> Said:
        """Say whose limb a study shows; sets are split by person."""
        return _said(book, book.name_person(session.get(study), person.person))


def _tuning_routes(routes: APIRouter, tuning: Tuning) -> None:
    """The fine-tuning."""

    @routes.post("/finetune", status_code=202)
    def start(asked: Steps) -> Run:
        """Fine-tune the first weights on the labels."""
        return tuning.start(asked.steps)

    @routes.get("/finetune")
    def state() -> Run:
        """How the fine-tuning stands."""
        return tuning.state()

    @routes.delete("/finetune")
    def stop() -> Run:
        """End the fine-tuning."""
        return tuning.stop()


def _said(book: LabelBook, study: Study) -> Said:
    drawn = [label for label in study.labels if DRAWN in label.remarks]
    return Said(
        study=study.study,
        person=study.person,
        labels=[label for label in study.labels if DRAWN not in label.remarks],
        drawn=sum(len(place.boxes) for label in drawn for place in label.places.values()),
        file=str(book.path.resolve()),
        missing=book.missing(study),
    )


def _drawn(session: Session, opened: OpenStudy, label: Label) -> tuple[Label, ...]:
    """Negatives for a label, far from its level as the matches show the levels."""
    numbers = {film.view: number for number, film in enumerate(opened.films)}
    if label.verdict != "same" or not set(label.places) <= set(numbers):
        return ()  # what has other views is refused by the book
    answer = session.answer(opened, None)
    first = numbers[next(iter(label.places))]
    second = numbers[list(label.places)[1]]
    return draw_negatives(
        label,
        {view: torch.from_numpy(answer.boxes[numbers[view]]) for view in label.places},
        {
            view: answer.level_deg(second if numbers[view] == first else first, numbers[view])
            for view in label.places
        },
        np.random.default_rng(),
    )


def _next(session: Session, book: LabelBook, reader: str) -> Question:
    """Among the studies a reader has labelled least, the most uncertain."""
    asked = []
    least_first = sorted(session.studies(), key=lambda study: book.count(study, reader))
    for looked_at, entry in enumerate(least_first):
        if asked and looked_at >= LOOKED_AT:
            break
        try:
            opened = session.get(entry.id)
            answer = session.answer(opened, None)
        except InputError:  # a film that cannot be read is no reason not to ask about others
            continue
        known = [
            (number, _patch_at(answer, number, place.point))
            for label in book.study(opened).labels
            for number, film in enumerate(opened.films)
            if label.reader == reader and DRAWN not in label.remarks
            if (place := label.places.get(film.view)) and place.point
        ]
        found = question(opened, answer, known)
        if found is not None:
            asked.append((book.count(opened, reader), -found.uncertainty, found))
    if not asked:
        raise InputError("There is nothing to ask: no study has a confident match.")
    return min(asked, key=lambda each: each[:2])[2]


def _patch_at(answer: Answer, view: int, point: tuple[float, float]) -> int:
    """The patch of a label's point, which may lie on the film's very edge."""
    rows, columns = answer.matches.image_size[view]
    row, column = point
    return answer.matches.patch_at(
        view, (min(max(row, 0.0), rows - 1), min(max(column, 0.0), columns - 1))
    )
