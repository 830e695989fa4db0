"""Studies over HTTP: put in, looked at, matched, asked."""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from crossray import __version__
from crossray.app.server.answers import COVERAGE, Band
from crossray.app.server.limits import Limits
from crossray.app.server.session import OpenStudy, Session
from crossray.matching.files import write_arrays

FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["films"],
                    "properties": {
                        "films": {
                            "type": "array",
                            "minItems": 2,
                            "maxItems": Limits().films,
                            "items": {"type": "string", "format": "binary"},
                        },
                        "name": {"type": "string", "maxLength": 80},
                    },
                }
            }
        },
    }
}
"""The form of an upload for the schema; the body is parsed by hand, under the session's limits."""


class FilmFacts(BaseModel):
    """A film of a study."""

    view: str = Field(description="Its name within the study.")
    file: str = Field(description="The name of its file.")
    size: tuple[int, int] = Field(description="Rows and columns.")
    pixel_mm: tuple[float, float] | None = Field(description="Distance of rows and of columns.")
    pixel_mm_kind: str = Field(description="Where it holds: detector, corrected or unknown.")
    projection: str | None = Field(description="The view as the file names it.")
    laterality: str | None


class StudyFacts(BaseModel):
    """A study whose films were read."""

    id: str
    name: str
    uploaded: bool
    films: list[FilmFacts]
    layers: list[str] = Field(description="Who can be asked: weights by name, and truth.")


class StudyEntry(BaseModel):
    """A line of the list."""

    id: str
    name: str
    films: int


class Finding(BaseModel):
    """What a classifier says of a study. For research only; not a medical device."""

    probability: float = Field(description="Of a fracture.")
    calibrated: bool = Field(description="Whether the probability was measured to hold.")
    weights: str


class Health(BaseModel):
    """Whether the server is well, and what it takes."""

    status: str
    version: str
    weights: list[str]
    limits: Limits


class Points(BaseModel):
    """Several points at once."""

    view: int = Field(ge=0)
    points: list[tuple[float, float]] = Field(
        max_length=Limits().points, description="Row and column in the view's own pixels."
    )
    coverage: float = Field(COVERAGE, ge=0.5, le=0.95)
    weights: str | None = None


def study_routes(session: Session) -> APIRouter:
    """The routes of studies and bands."""
    routes = APIRouter(prefix="/api")

    @routes.get("/health")
    async def health() -> Health:
        """Whether the server is well, and what it takes."""
        return Health(
            status="ok",
            version=__version__,
            weights=list(session.matchers),
            limits=session.limits,
        )

    @routes.get("/studies")
    async def studies() -> list[StudyEntry]:
        """All studies, in the order they came."""
        return [
            StudyEntry(id=study.id, name=study.name, films=len(study.given.films))
            for study in session.studies()
        ]

    @routes.post("/studies", status_code=201, openapi_extra=FORM)
    async def upload(request: Request) -> StudyFacts:
        """Put in the films of one limb; each is decoded within the server's limits, or refused in a sentence."""
        with tempfile.TemporaryDirectory(dir=session.folder) as folder:
            name, films = await _received(request, Path(folder), session.limits)
            study = await run_in_threadpool(session.upload, name, films)
        return _facts(session, study)

    @routes.get("/studies/{study}")
    def study(study: str) -> StudyFacts:
        """A study; its films are read now if they were not before."""
        return _facts(session, session.get(study))

    @routes.delete("/studies/{study}", status_code=204)
    def remove(study: str) -> None:
        """Forget a study; what was uploaded is deleted."""
        session.remove(study)

    @routes.get("/studies/{study}/films/{film}", response_class=FileResponse)
    def pixels(study: str, film: int) -> FileResponse:
        """Grey values, 16 bits little-endian, row-major, bone bright; the headers say rows and columns."""
        films = session.get(study).films
        if not 0 <= film < len(films):
            raise HTTPException(404, f"The study has {len(films)} films, numbered from 0.")
        rows, columns = films[film].size
        headers = {"X-Rows": str(rows), "X-Columns": str(columns)}
        return FileResponse(films[film].pixels, 200, headers, "application/octet-stream")

    _match_routes(routes, session)
    return routes


def _match_routes(routes: APIRouter, session: Session) -> None:
    """Matches in three forms, and bands for points."""

    @routes.get("/studies/{study}/matches")
    def matches(study: str, weights: str | None = None) -> dict[str, Any]:
        """What matches in a study, in numbers: grid, fields, strengths, relatedness, calibration."""
        return session.answer(session.get(study), weights).summary()

    @routes.get("/studies/{study}/matches.npz")
    def arrays(study: str, weights: str | None = None) -> Response:
        """The whole matrix, as `crossray match` writes it."""
        answer = session.answer(session.get(study), weights)
        with tempfile.TemporaryDirectory(dir=session.folder) as folder:
            path = Path(folder) / "matches.npz"
            write_arrays(answer.matches, path)
            return Response(path.read_bytes(), media_type="application/octet-stream")

    @routes.get("/studies/{study}/matches.raw")
    def raw(study: str, weights: str | None = None) -> Response:
        """The matrix [view, other view, patch, other patch] as 16-bit little-endian shares of 65535."""
        answer = session.answer(session.get(study), weights)
        return Response(answer.raw(), media_type="application/octet-stream")

    @routes.get("/studies/{study}/bands")
    async def bands(
        study: str,
        view: Annotated[int, Query(ge=0)],
        row: float,
        column: float,
        coverage: float = Query(COVERAGE, ge=0.5, le=0.95),
        weights: str | None = None,
    ) -> list[Band]:
        """Where a point of one view lies in every other."""
        asked = Points(view=view, points=[(row, column)], coverage=coverage, weights=weights)
        return (await many(study, asked))[0]

    @routes.post("/studies/{study}/bands")
    async def many(study: str, asked: Points) -> list[list[Band]]:
        """Where each of several points of one view lies in every other."""
        opened = session.ready(study, asked.weights)
        if opened is None:  # reading and matching take time, and others are hovering
            opened = await run_in_threadpool(
                lambda: session.answer(session.get(study), asked.weights)
            )
        return [opened.bands(asked.view, point, asked.coverage) for point in asked.points]

    @routes.get("/studies/{study}/classify")
    def classify(study: str) -> Finding:
        """The probability of a fracture in a study's films; 501 where this server has no classifier."""
        if session.classifier is None:
            raise HTTPException(501, "This server has no classifier; start it with --classifier.")
        reading = session.read(session.get(study), session.classifier)
        return Finding(
            probability=reading.probability, calibrated=reading.calibrated, weights=reading.weights
        )


async def _received(
    request: Request, folder: Path, limits: Limits
) -> tuple[str, list[tuple[str, Path]]]:
    """The films of a form, on the disk, and the study's name."""
    films = []
    try:
        async with request.form(max_files=limits.films, max_fields=4) as form:
            name = form.get("name", "")
            for number, film in enumerate(form.getlist("films")):
                if not isinstance(film, UploadFile):
                    raise HTTPException(400, "Each of the films has to be a file.")
                if (film.size or 0) > limits.film_bytes:
                    most = limits.film_bytes >> 20
                    raise HTTPException(413, f"A film may have {most} MB; make it smaller first.")
                path = folder / str(number)
                with path.open("wb") as file:
                    await run_in_threadpool(shutil.copyfileobj, film.file, file)
                films.append((film.filename or "film", path))
    except ClientDisconnect:
        raise HTTPException(413, "The upload was cut off: it is larger than announced.") from None
    return name if isinstance(name, str) else "", films


def _facts(session: Session, study: OpenStudy) -> StudyFacts:
    return StudyFacts(
        id=study.id,
        name=study.name,
        uploaded=study.uploaded,
        layers=session.layers(study),
        films=[
            FilmFacts(
                view=film.view, file=film.name, size=film.size, pixel_mm=film.pixel_mm,
                pixel_mm_kind=film.pixel_mm_kind, projection=film.projection, laterality=film.laterality,
            )
            for film in study.films
        ],
    )  # fmt: skip
