"""Commands on films: match, look, read, link."""

from pathlib import Path
from typing import Annotated

import typer

from crossray.app.options import Out, ReadingWeights, Weights


def match(
    films: Annotated[
        list[Path], typer.Argument(help="Two to six views of one limb: PNG, JPEG, TIFF or DICOM.")
    ],
    out: Out,
    weights: Weights = "small",
    grid: Annotated[
        str | None, typer.Option(help="Rows x columns of patches, as 16x8; the trained grid.")
    ] = None,
) -> None:
    """Find what matches what between radiographs of one limb."""
    from crossray.app.commands.match import match

    match(films, out, weights, grid)


def view(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Films of one limb, a folder of studies, a rendering, or labels."),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="Bundled name or file; repeat to compare: small.")
    ] = None,
    classifier: Annotated[
        str, typer.Option(help="Reads fractures for the API: bundled name, file or run; none.")
    ] = "",
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

    view(paths or [], weights or ["small"], classifier, labels, host, port, browser)


def classify(
    films: Annotated[
        list[Path], typer.Argument(help="One to six views of one limb: PNG, JPEG, TIFF or DICOM.")
    ],
    weights: ReadingWeights = "graz",
    out: Out = Path("out/classify"),
) -> None:
    """Give the probability of a fracture in films of one limb, and what it rests on; for research only."""
    from crossray.app.commands.classifier import classify

    classify(films, weights, out)


def link(
    boxes: Annotated[
        Path,
        typer.Argument(help="JSON of films and a detector's boxes: docs/fractures-simulated.md."),
    ],
    out: Annotated[Path, typer.Option(help="JSON file for the links.")],
    weights: Weights = "small",
) -> None:
    """Say which boxes of a detector, in two to six views, show the same lesion, and how surely."""
    from crossray.app.commands.link import link

    link(boxes, weights, out)
