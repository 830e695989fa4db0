"""Commands on CT and phantoms: look into them, render them, break bones, make sets."""

from pathlib import Path
from typing import Annotated, Any

import typer

from crossray.app.options import (
    CtFile,
    Definition,
    EngineName,
    Limb,
    Look,
    Out,
    Phantom,
    Primary,
    Protocol,
    Secondary,
    Seed,
    SeriesName,
    Side,
    Weights,
)
from crossray.errors import InputError


def demo(
    out: Out = Path("out/demo"),
    limb: Annotated[Limb, typer.Option(help="Phantom to show.")] = Limb.hand,
    weights: Weights = "small",
    pairs: Annotated[int, typer.Option(min=1, help="Phantom pairs to score.")] = 24,
    seed: Seed = 0,
) -> None:
    """Render two radiographs of a phantom limb, match them, and show the truth beside the answer."""
    from crossray.app.commands.demo import demo

    demo(out, limb.value, weights, pairs, seed)


def inspect(
    ct: Annotated[Path, typer.Argument(help="CT: NIfTI, NRRD, MHA file or DICOM folder.")],
    series: SeriesName = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for inspect.png and inspect.json.")
    ] = None,
) -> None:
    """Say what a CT shows, what was repaired in it, and what will be done with it."""
    from crossray.app.commands.inspect import inspect

    inspect(ct, series, out)


def render(  # noqa: PLR0913  a camera has as many numbers as it has
    out: Out,
    ct: CtFile = None,
    limb: Phantom = None,
    series: SeriesName = None,
    primary: Primary = None,
    secondary: Secondary = None,
    roll: Annotated[list[float] | None, typer.Option(help="Roll about the beam, degrees.")] = None,
    sod_mm: Annotated[float | None, typer.Option(help="Source to isocentre, mm: 1000.")] = None,
    sdd_mm: Annotated[float | None, typer.Option(help="Source to detector, mm: 1100.")] = None,
    projection: Annotated[
        list[str] | None,
        typer.Option(help="Instead of angles: a projection's name, as knee:ap; once a view."),
    ] = None,
    side: Annotated[
        Side | None, typer.Option(help="The limb's side, for --projection; a phantom knows it.")
    ] = None,
    raised: Annotated[
        bool, typer.Option("--raised", help="The CT's arm lies above the head, fingers up.")
    ] = False,
    size: Annotated[int, typer.Option(min=32, help="Pixels along a side.")] = 512,
    field_mm: Annotated[
        float, typer.Option(help="Side of the field at the isocentre, mm; 0: the whole limb.")
    ] = 0.0,
    look: Annotated[
        Look, typer.Option(help="plain; as an archive shows it; or with a tube's physics too.")
    ] = Look.plain,
    seed: Seed = 0,
) -> None:
    """Render radiographs of a CT or a phantom, with their cameras and the true correspondence.

    Angles default to AP and lateral (--primary 0 --primary 90); one value serves all views. A projection by name is
    hung as its film would be: --projection knee:ap --projection knee:lateral. Beside the matrix, correspondence.npz
    holds what becomes of each patch in each other view: 0 seen, 1 outside of it, 2 air.
    """
    from crossray.app.commands.render import Geometry, NamedGeometry, load, render

    asked = {"primary": primary, "secondary": secondary, "roll": roll}
    given: dict[str, Any] = {name: tuple(angles) for name, angles in asked.items() if angles}
    distances = {"sod_mm": sod_mm, "sdd_mm": sdd_mm}
    given |= {name: mm for name, mm in distances.items() if mm is not None}
    if projection and given:
        raise InputError(
            "A --projection brings its own angles and distances; leave out --primary, --secondary, --roll, --sod-mm "
            "and --sdd-mm."
        )
    if projection:
        geometry = NamedGeometry(
            projections=tuple(projection), side=side.value if side else None, raised=raised,
            size=size, field_mm=field_mm,
        )  # fmt: skip
        geometry = geometry.of_phantom(limb.value, seed) if limb else geometry
    else:
        geometry = Geometry(size=size, field_mm=field_mm, **given)
    volume = load(ct, limb.value if limb else None, seed, series)
    render(volume, geometry, seed, out, look.value)


def fracture(  # noqa: PLR0913  a camera has as many numbers as it has
    out: Out,
    ct: CtFile = None,
    limb: Phantom = None,
    series: SeriesName = None,
    kind: Annotated[
        str | None, typer.Option(help="Sort of fracture, as spiral or buckle; any.")
    ] = None,
    primary: Primary = None,
    secondary: Secondary = None,
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


def generate(  # noqa: PLR0913  a set has as many sides as it has
    out: Annotated[str, typer.Option(help="Folder of the set, or a URL as s3://bucket/folder.")],
    ct: Annotated[
        Path | None, typer.Option(help="Folder or index.csv of CTs; without it, phantoms.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Samples to make.")] = 1000,
    views: Annotated[int, typer.Option(min=2, max=16, help="Views a sample.")] = 2,
    seed: Seed = 0,
    protocol: Annotated[Protocol, typer.Option(help="Which views.")] = Protocol.clinical,
    definition: Annotated[Definition, typer.Option(help="The true matrix.")] = Definition.exact,
    shard_size: Annotated[int, typer.Option(min=1, help="Samples a shard.")] = 250,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; one a core unless told otherwise.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for cleaned CTs; ~/.cache/crossray/volumes.")
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="Who makes the shards.")] = EngineName.local,
    ray_address: Annotated[
        str | None,
        typer.Option(help="A running cluster's, for --engine ray; else Ray starts here."),
    ] = None,
) -> None:
    """Make a set of samples in shards; a killed run goes on with the same command."""
    from crossray.app.commands.generate import engine_of, make_set, set_config

    config = set_config(ct, pairs, views, seed, protocol.value, definition.value, shard_size)
    make_set(config, out, cache, engine_of(engine.value, workers, ray_address))


def verify(url: Annotated[str, typer.Argument(help="Folder or URL of a set.")]) -> None:
    """Prove that a generated set is whole and as it was made."""
    from crossray.app.commands.generate import prove_set

    prove_set(url)
