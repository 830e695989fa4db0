"""The commands and their options. What a command does stands in `crossray.app.commands` and is imported when it runs.

Help must come at once, so nothing here imports torch, numpy or matplotlib.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from crossray.app.cli_lesions import lesions
from crossray.app.cli_view import view
from crossray.app.options import (
    Budget,
    CtFolder,
    Definition,
    EngineName,
    Limb,
    Look,
    Out,
    Preset,
    Protocol,
    Seed,
    SeriesName,
    Side,
    Weights,
)
from crossray.app.running import run_program
from crossray.errors import InputError

_SETTINGS = {
    "add_completion": False,
    "no_args_is_help": True,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}

app = typer.Typer(
    name="crossray",
    help="Finds what matches what between two or more radiographs of the same limb.",
    context_settings={"help_option_names": ["-h", "--help"]},
    **_SETTINGS,
)
train = typer.Typer(name="train", help="Train a network on views rendered from CT.", **_SETTINGS)
finetune = typer.Typer(name="finetune", help="Fit weights to real films with labels.", **_SETTINGS)
evaluate = typer.Typer(name="evaluate", help="Score weights on unseen volumes.", **_SETTINGS)
reproduce = typer.Typer(name="reproduce", help="Make a table of the paper again.", **_SETTINGS)
for group in (train, finetune, reproduce, evaluate, lesions):
    app.add_typer(group)
app.command("view")(view)


def _version(asked: bool) -> bool:
    if asked:
        from crossray import __version__

        print(f"crossray {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def crossray(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Finds what matches what between two or more radiographs of the same limb."""


@app.command("demo")
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


@app.command("match")
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


@app.command("render")
def render(  # noqa: PLR0913  a camera has as many numbers as it has
    out: Out,
    ct: Annotated[
        Path | None, typer.Argument(help="CT: NIfTI, NRRD, MHA file or DICOM folder.")
    ] = None,
    limb: Annotated[Limb | None, typer.Option(help="A phantom instead of a CT.")] = None,
    series: SeriesName = None,
    primary: Annotated[
        list[float] | None, typer.Option(help="Primary angle in degrees, LAO +; once a view.")
    ] = None,
    secondary: Annotated[
        list[float] | None, typer.Option(help="Secondary angle in degrees, cranial +.")
    ] = None,
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


@app.command("inspect")
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


@train.command("matcher")
def train_matcher(  # noqa: PLR0913  a run has as many sides as it has
    out: Annotated[Path, typer.Option(help="Folder of the run; a killed run resumes there.")],
    ct: Annotated[
        Path | None, typer.Option(help="Folder of CT volumes, with index.csv or without.")
    ] = None,
    shards: Annotated[
        str | None, typer.Option(help="Set of crossray generate; data.shards_share of the samples.")
    ] = None,
    preset: Annotated[Preset, typer.Option(help="Size of the network.")] = Preset.small,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the optimizer.")] = None,
    seed: Seed = 0,
    phantoms: Annotated[
        int | None, typer.Option(min=0, help="Phantoms among the volumes; the preset's number.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Argument(help="section.option=value, as in the run's config.yaml.")
    ] = None,
) -> None:
    """Train a matcher on views rendered from CT volumes and phantoms, on the fly or before."""
    from crossray.app.commands.train import train_matcher

    chosen = {"steps": steps, "data.shards": shards and f'"{shards}"', "seed": seed}
    words = [f"{name}={value}" for name, value in chosen.items() if value is not None]
    words += options or []
    train_matcher(out, ct, preset.value, phantoms, words)


@finetune.command("matcher")
def finetune_matcher(  # noqa: PLR0913  it learns from labels or without
    out: Annotated[Path, typer.Option(help="Folder of the run; a killed run resumes there.")],
    labels: Annotated[
        Path | None, typer.Option(help="File of labels across views: docs/labels.md.")
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(help="Such a file that only names films: the matcher teaches itself."),
    ] = None,
    init: Weights = "small",
    ct: CtFolder = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps at most.")] = None,
    seed: Seed = 0,
    options: Annotated[
        list[str] | None, typer.Argument(help="section.option=value, as in the run's config.yaml.")
    ] = None,
) -> None:
    """Fine-tune a matcher on real films: on labels, scored on people it never saw, or on its own mean answers."""
    from crossray.app.commands.finetune import finetune_matcher, teach_itself

    chosen = {"steps": steps, "seed": seed}
    words = [f"{name}={value}" for name, value in chosen.items() if value is not None]
    words += options or []
    if labels is not None and unlabelled is None:
        finetune_matcher(labels, init, out, ct, words)
    elif unlabelled is not None and labels is None:
        teach_itself(unlabelled, init, out, words)
    else:
        raise InputError("Give either --labels or --unlabelled; one run learns from one of them.")


@evaluate.command("matcher")
def evaluate_matcher(
    weights: Weights = "small",
    ct: CtFolder = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of views to score.")] = 200,
    seed: Seed = 0,
    definition: Annotated[Definition, typer.Option(help="The true matrix.")] = Definition.exact,
    protocol: Annotated[Protocol, typer.Option(help="The test views.")] = Protocol.clinical,
    json: Annotated[Path | None, typer.Option(help="File for the scores.")] = None,
) -> None:
    """Score a matcher beside chance and the position prior."""
    from crossray.app.commands.evaluate import evaluate_matcher

    evaluate_matcher(weights, ct, pairs, seed, definition.value, protocol.value, json)


@evaluate.command("films")
def evaluate_films(
    labels: Annotated[Path, typer.Option(help="File of labels across views: docs/labels.md.")],
    weights: Weights = "small",
    ct: CtFolder = None,
    draws: Annotated[int, typer.Option(min=1, help="Windows cut of every film.")] = 20,
    seed: Seed = 0,
    json: Annotated[Path | None, typer.Option(help="File for the scores.")] = None,
) -> None:
    """Score a matcher on real films with labels, beside chance, the same height and the position prior."""
    from crossray.app.commands.films import evaluate_films

    evaluate_films(weights, labels, ct, draws, seed, json)


@app.command("calibrate")
def calibrate(
    out: Annotated[Path, typer.Option(help="File for the weights with their calibration.")],
    weights: Weights = "small",
    ct: CtFolder = None,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of views to measure on.")] = 400,
    seed: Seed = 0,
    protocol: Annotated[Protocol, typer.Option(help="The views.")] = Protocol.clinical,
    json: Annotated[Path | None, typer.Option(help="File for the scores.")] = None,
) -> None:
    """Measure what a matcher's values are worth on people it never saw, and keep it with the weights."""
    from crossray.app.commands.calibrate import calibrate

    calibrate(weights, ct, pairs, seed, protocol.value, out, json)


@reproduce.command("table1")
def reproduce_table1(
    ct: CtFolder = None,
    budget: Annotated[
        Budget, typer.Option(help="Two cores: minutes, two hours, a day; paper: GPUs.")
    ] = Budget.cpu,
    row: Annotated[
        list[str] | None, typer.Option(help="Only this row, beside the transformer; repeatable.")
    ] = None,
    seed: Seed = 0,
    runs: Annotated[
        Path, typer.Option(help="Folder of the trainings; killed ones resume there.")
    ] = Path("runs/table1"),
    out: Out = Path("results"),
    options: Annotated[
        list[str] | None, typer.Argument(help="section.option=value for every row's training.")
    ] = None,
) -> None:
    """Train the five context modules of Table 1 and crossray's own on equal data, and score them on unseen people."""
    from crossray.app.commands.reproduce import reproduce_table1

    reproduce_table1(ct, budget.value, row or [], seed, runs, out, options or [])


@reproduce.command("table2")
def reproduce_table2(  # noqa: PLR0913  every network has weights of its own
    labels: Annotated[Path, typer.Option(help="File of labels across views: docs/labels.md.")],
    landmarks: Annotated[
        Path | None, typer.Option(help="Labels of others, of which none learns.")
    ] = None,
    ct: CtFolder = None,
    init: Weights = "small",
    loftr: Annotated[str, typer.Option(help="Published weights of kornia's LoFTR.")] = "outdoor",
    dinov2: Annotated[
        str, typer.Option(help="Published weights of DINOv2: a name of the hub, or a folder.")
    ] = "facebook/dinov2-giant",
    draws: Annotated[int, typer.Option(min=1, help="Windows cut of every film.")] = 20,
    runs: Annotated[
        Path, typer.Option(help="Folder of our fine-tuning; a killed one resumes there.")
    ] = Path("runs/table2"),
    out: Out = Path("results"),
    options: Annotated[
        list[str] | None, typer.Argument(help="section.option=value of the fine-tuning.")
    ] = None,
) -> None:
    """Score LoFTR, DINOv2 and crossray on labelled films, before and after fine-tuning on some of the persons."""
    from crossray.app.commands.table2 import reproduce_table2

    films, peers, folders = (labels, landmarks), (loftr, dinov2), (runs, out)
    reproduce_table2(films, draws, ct, init, peers, folders, options or [])


@app.command("generate")
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


@app.command("verify")
def verify(url: Annotated[str, typer.Argument(help="Folder or URL of a set.")]) -> None:
    """Prove that a generated set is whole and as it was made."""
    from crossray.app.commands.generate import prove_set

    prove_set(url)


@app.command("doctor")
def doctor() -> None:
    """Say whether everything crossray needs is there and works."""
    from crossray.app.commands.doctor import doctor

    raise typer.Exit(doctor())


def main() -> None:
    """The program `crossray`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; see `crossray.app.running`."""
    return run_program(app, arguments)


if __name__ == "__main__":
    main()
