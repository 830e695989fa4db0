"""The server put together, and run until it is told to stop."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from crossray import __version__
from crossray.app.running import TRACEBACK
from crossray.app.server.api import study_routes
from crossray.app.server.book import LabelBook
from crossray.app.server.label_api import label_routes
from crossray.app.server.security import Address, Guard
from crossray.app.server.session import Missing, Session
from crossray.app.server.tuning import Tuning
from crossray.errors import InputError

STATIC = Path(str(resources.files("crossray.app") / "static"))


def create_app(session: Session, book: LabelBook, init: str = "small") -> FastAPI:
    """The page and its API over one session, which ends with the server.

    Args:
        session: The studies.
        book: What readers say of them.
        init: The weights that labels fine-tune, by name or file.
    """
    tuning = Tuning(session, book, init)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        tuning.stop()
        session.close()

    app = FastAPI(
        title="crossray view",
        version=__version__,
        summary="What matches what between radiographs of one limb. For research; not a medical device.",
        docs_url=None,  # its page loads scripts from the network
        redoc_url=None,
        lifespan=life,
    )

    @app.exception_handler(InputError)
    async def refuse(_: Request, error: InputError) -> JSONResponse:
        code = 404 if isinstance(error, Missing) else 400
        return JSONResponse({"detail": str(error)}, code)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.include_router(study_routes(session))
    app.include_router(label_routes(session, book, tuning))
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def listener(app: FastAPI, address: Address, session: Session) -> uvicorn.Server:
    """The server, ready to run; every request passes the guard first."""
    config = uvicorn.Config(
        Guard(app, address, session.limits.upload_bytes),
        host=address.host,
        port=address.port,
        access_log=False,  # it would keep names of files and studies
        log_level="error"
        if os.environ.get(TRACEBACK) == "1"
        else "critical",  # tracebacks quote paths
        server_header=False,
        timeout_keep_alive=75,  # longer than clients keep theirs, who would else write to one just closed
        timeout_graceful_shutdown=3,
    )
    return uvicorn.Server(config)
