"""`crossray view` and its options; as `crossray.app.cli`, which has no room for it, it imports nothing heavy."""

from pathlib import Path
from typing import Annotated

import typer


def view(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Films of one limb, a folder of studies, a rendering, or labels."),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="Bundled name or file; repeat to compare: small.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="File of labels; crossray-labels.json beside the films.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address; any but loopback needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8737,
    browser: Annotated[bool, typer.Option(help="Open the page.")] = True,
) -> None:
    """Look at films side by side in a browser, point, and label across views."""
    from crossray.app.commands.view import view

    view(paths or [], weights or ["small"], labels, host, port, browser)
