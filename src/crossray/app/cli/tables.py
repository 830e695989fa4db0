"""Commands that make the paper's tables again."""

from pathlib import Path
from typing import Annotated

import typer

from crossray.app.options import Budget, CtFolder, Labels, Options, Out, Seed, Weights


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


def reproduce_table2(  # noqa: PLR0913  every network has weights of its own
    labels: Labels,
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
    """Train the rows of Table 3 on equal data, and score them on studies of patients they never saw."""
    from crossray.app.commands.table3 import Plan, reproduce_table3
    from crossray.recipes import READING_BUDGETS

    plan = Plan(READING_BUDGETS[budget.value], matcher, runs, options or ())
    reproduce_table3(data, plan, row or [], seeds, out, keep)


REPRODUCE = {"table1": reproduce_table1, "table2": reproduce_table2, "table3": reproduce_table3}
