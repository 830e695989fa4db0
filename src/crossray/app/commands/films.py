"""`crossray evaluate films`: does a matcher find, on real films, what readers labelled in them?"""

from dataclasses import asdict
from json import dumps
from pathlib import Path

from rich import print as show
from rich.console import Console
from rich.progress import track
from rich.table import Table

from crossray.app.commands.evaluate import benches, position_prior, sample_config
from crossray.data.annotations import read_labels
from crossray.data.labelled import LabelledStudy
from crossray.errors import InputError
from crossray.evaluation.hits import BEST, HitReport, band_hits
from crossray.evaluation.run import null_for_nan
from crossray.evaluation.tables import score, with_interval
from crossray.files import written_whole
from crossray.matching import Matcher


def evaluate_films(
    weights: str, labels: Path, ct: Path | None, draws: int, seed: int, json: Path | None
) -> None:
    """Cut the labelled films anew, ask for every label in every other view, and print the table."""
    if json is not None and json.is_dir():
        raise InputError(f"{json} is a folder; name the file for the scores.")
    matcher, known = square_matcher(weights), read_labels(labels)
    size = matcher.network.config.image_size[0]
    read = [LabelledStudy.read(study, labels.parent, size) for study in known.studies]
    _, training = benches(ct, sample_config(matcher.network))
    prior = position_prior(training, seed)
    studies = [(each.study, each.films) for each in read]
    report = band_hits(
        matcher.network,
        track(studies, "films", console=Console(stderr=True)),
        prior,
        draws=draws,
        seed=seed,
        size=size,
    )
    if json is not None:
        settings = {"weights": matcher.name, "labels": labels.name, "draws": draws, "seed": seed}
        content = null_for_nan({**asdict(report), "settings": settings})
        with written_whole(json) as partial:
            partial.write_text(dumps(content, indent=1) + "\n")
    show(_table(report, matcher.name, draws))


def square_matcher(weights: str) -> Matcher:
    """Weights whose field is square, as windows on films are.

    Raises:
        InputError: It is not, or there are no such weights.
    """
    matcher = Matcher.load(weights)
    rows, columns = matcher.network.config.image_size
    if rows != columns:
        raise InputError(f"{weights} takes {rows} x {columns} pixels; the windows are square.")
    return matcher


def _table(report: HitReport, name: str, draws: int) -> Table:
    table = Table(title=f"{name}: band hit rate on real films, {draws} draws a study")
    for title in (
        "study",
        "places asked",
        "matcher (95 %)",
        "same height",
        "position prior",
        "unasked",
        "chance",
    ):
        table.add_column(title, justify="left" if title == "study" else "right")
    for row in report.studies:
        values = map(score, (row.matcher, row.same_height, row.prior, row.unasked, BEST))
        table.add_row(row.study, str(row.trials), *values, style="dim")
    table.add_row(
        "all", str(sum(row.trials for row in report.studies)),
        with_interval(report.matcher, report.low, report.high),
        *map(score, (report.same_height, report.prior, report.unasked, report.chance)),
    )  # fmt: skip
    return table
