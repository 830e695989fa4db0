"""The server put together, and run until it is told to stop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from crossray import __version__
from crossray.app.server.api import study_routes
from crossray.app.server.security import Address, Guard
from crossray.app.server.session import Missing, Session
from crossray.errors import InputError

STATIC = Path(str(resources.files("crossray.app") / "static"))


def create_app(session: Session) -> FastAPI:
    """The page and its API over one session, which ends with the server.

    Args:
        session: The studies.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
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
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def serve(app: FastAPI, address: Address, session: Session) -> None:
    """Listen until interrupted or terminated."""
    config = uvicorn.Config(
        Guard(app, address, session.limits.upload_bytes),
        host=address.host,
        port=address.port,
        access_log=False,  # it would keep names of files and studies
        log_level="error",
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run()
