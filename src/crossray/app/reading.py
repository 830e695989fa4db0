"""The commands that read fractures and their options; as in `crossray.app.cli`, nothing heavy is imported here."""

from pathlib import Path
from typing import Annotated

import typer

from crossray.app.options import (
    Budget,
    ClassifierPreset,
    Fusion,
    Options,
    Out,
    ReadingWeights,
    StudySource,
)


def add_reading(
    app: typer.Typer, train: typer.Typer, evaluate: typer.Typer, reproduce: typer.Typer
) -> None:
    """Put the commands into the program."""
    app.command("classify")(classify)
    train.command("classifier")(train_classifier)
    evaluate.command("classifier")(evaluate_classifier)
    reproduce.command("table3")(reproduce_table3)


def train_classifier(  # noqa: PLR0913  a run has as many sides as it has
    data: StudySource,
    out: Annotated[Path, typer.Option(help="Folder of the run; a killed run resumes there.")],
    fusion: Annotated[Fusion | None, typer.Option(help="Where views meet; early.")] = None,
    init: Annotated[
        str,
        typer.Option(help="Begin with a matcher (small, RUN, FILE), a ResNet FILE or imagenet."),
    ] = "",
    guidance: Annotated[
        bool, typer.Option("--guidance", help="A matcher guides attention.")
    ] = False,
    matcher: Annotated[str, typer.Option(help="Weights of the matcher that guides.")] = "small",
    preset: Annotated[
        ClassifierPreset, typer.Option(help="Size of the network.")
    ] = ClassifierPreset.small,
    options: Options = None,
) -> None:
    """Train a classifier of studies, split by patient, and calibrate it on patients held back."""
    from crossray.app.commands.classifier import train_classifier

    guide = matcher if guidance else ""
    train_classifier(data, preset.value, fusion and fusion.value, init, guide, out, options or [])


def evaluate_classifier(
    data: StudySource,
    weights: ReadingWeights = "graz",
    json: Annotated[Path | None, typer.Option(help="File for the scores.")] = None,
    options: Options = None,
) -> None:
    """Score a classifier on studies of patients it has not seen."""
    from crossray.app.commands.classifier import evaluate_classifier

    evaluate_classifier(data, weights, json, options or [])


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


def reproduce_table3(  # noqa: PLR0913  a table has as many sides as it has
    data: Annotated[
        list[str], typer.Option(help="graz:TABLE.csv, mura:FOLDER or csv:TABLE.csv; repeatable.")
    ],
    budget: Annotated[
        Budget, typer.Option(help="Two cores: minutes, a night, days; paper: GPUs.")
    ] = Budget.cpu,
    row: Annotated[list[str] | None, typer.Option(help="Only this row; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each row and fold.")] = 5,
    matcher: Annotated[str, typer.Option(help="Weights that pre-train and guide.")] = "small",
    runs: Annotated[
        Path, typer.Option(help="Folder of the trainings; killed ones resume there.")
    ] = Path("runs/table3"),
    out: Out = Path("results"),
    keep: Annotated[
        Path | None, typer.Option(help="File for the best row's weights, of all of a graz: set.")
    ] = None,
    options: Options = None,
) -> None:
    """Train the six rows of Table 3 on equal data, and score them on studies of patients they never saw."""
    from crossray.app.commands.table3 import Plan, reproduce_table3
    from crossray.recipes import READING_BUDGETS

    plan = Plan(READING_BUDGETS[budget.value], matcher, runs, options or ())
    reproduce_table3(data, plan, row or [], seeds, out, keep)
