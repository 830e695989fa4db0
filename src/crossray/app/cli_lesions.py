"""Commands about lesions: simulated ones, and which boxes of a detector show the same one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from crossray.app.options import Limb, Out, Seed, SeriesName, Weights

lesions = typer.Typer()


@lesions.command("fracture")
def fracture(  # noqa: PLR0913  a camera has as many numbers as it has
    out: Out,
    ct: Annotated[
        Path | None, typer.Argument(help="CT: NIfTI, NRRD, MHA file or DICOM folder.")
    ] = None,
    limb: Annotated[Limb | None, typer.Option(help="A phantom instead of a CT.")] = None,
    series: SeriesName = None,
    kind: Annotated[
        str | None, typer.Option(help="Sort of fracture, as spiral or buckle; any.")
    ] = None,
    primary: Annotated[
        list[float] | None, typer.Option(help="Primary angle in degrees, LAO +; once a view.")
    ] = None,
    secondary: Annotated[
        list[float] | None, typer.Option(help="Secondary angle in degrees, cranial +.")
    ] = None,
    size: Annotated[int, typer.Option(min=32, help="Pixels along a side.")] = 512,
    field_mm: Annotated[float, typer.Option(help="Side of the field at the fracture, mm.")] = 160.0,
    pacs: Annotated[bool, typer.Option("--pacs", help="As a picture archive shows it.")] = False,
    seed: Seed = 0,
) -> None:
    """Break a bone of a CT or a phantom, and render it broken and intact with one truth for all views.

    Writes view-N.png, intact-N.png, sheet.png; fracture.json: what was done, and its box and visibility in each view;
    boxes.json for crossray link; lesion.npz: the lesion's depth along each pixel's ray, and its correspondence.
    """
    from crossray.app.commands.fracture import Shots, fracture
    from crossray.app.commands.render import load

    angles = {"primary": primary, "secondary": secondary}
    given: dict[str, Any] = {name: tuple(some) for name, some in angles.items() if some}
    shots = Shots(**given, size=size, field_mm=field_mm, look="pacs" if pacs else "plain")
    fracture(load(ct, limb.value if limb else None, seed, series), seed, kind, shots, out)


@lesions.command("link")
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
