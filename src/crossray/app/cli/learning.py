"""Commands that train networks, or score and calibrate them."""

from pathlib import Path
from typing import Annotated

import typer

from crossray.app.options import (
    ClassifierPreset,
    CtFolder,
    Definition,
    Fusion,
    Labels,
    Options,
    Preset,
    Protocol,
    ReadingWeights,
    Scores,
    Seed,
    StudySource,
    Weights,
)
from crossray.errors import InputError


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
    options: Options = None,
) -> None:
    """Train a matcher on views rendered from CT volumes and phantoms, on the fly or before."""
    from crossray.app.commands.train import train_matcher

    chosen = {"steps": steps, "data.shards": shards and f'"{shards}"', "seed": seed}
    words = [f"{name}={value}" for name, value in chosen.items() if value is not None]
    words += options or []
    train_matcher(out, ct, preset.value, phantoms, words)


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
    options: Options = None,
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


def evaluate_matcher(
    weights: Weights = "small",
    ct: CtFolder = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of views to score.")] = 200,
    seed: Seed = 0,
    definition: Annotated[Definition, typer.Option(help="The true matrix.")] = Definition.exact,
    protocol: Annotated[Protocol, typer.Option(help="The test views.")] = Protocol.clinical,
    json: Scores = None,
) -> None:
    """Score a matcher beside chance and the position prior."""
    from crossray.app.commands.evaluate import evaluate_matcher

    evaluate_matcher(weights, ct, pairs, seed, definition.value, protocol.value, json)


def evaluate_films(
    labels: Labels,
    weights: Weights = "small",
    ct: CtFolder = None,
    draws: Annotated[int, typer.Option(min=1, help="Windows cut of every film.")] = 20,
    seed: Seed = 0,
    json: Scores = None,
) -> None:
    """Score a matcher on real films with labels, beside chance, the same height and the position prior."""
    from crossray.app.commands.films import evaluate_films

    evaluate_films(weights, labels, ct, draws, seed, json)


def evaluate_classifier(
    data: StudySource,
    weights: ReadingWeights = "graz",
    json: Scores = None,
    options: Options = None,
) -> None:
    """Score a classifier on studies of patients it has not seen."""
    from crossray.app.commands.classifier import evaluate_classifier

    evaluate_classifier(data, weights, json, options or [])


def calibrate(
    out: Annotated[Path, typer.Option(help="File for the weights with their calibration.")],
    weights: Weights = "small",
    ct: CtFolder = None,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of views to measure on.")] = 400,
    seed: Seed = 0,
    protocol: Annotated[Protocol, typer.Option(help="The views.")] = Protocol.clinical,
    json: Scores = None,
) -> None:
    """Measure what a matcher's values are worth on people it never saw, and keep it with the weights."""
    from crossray.app.commands.calibrate import calibrate

    calibrate(weights, ct, pairs, seed, protocol.value, out, json)


TRAIN = {"matcher": train_matcher, "classifier": train_classifier}
FINETUNE = {"matcher": finetune_matcher}
EVALUATE = {"matcher": evaluate_matcher, "films": evaluate_films, "classifier": evaluate_classifier}
