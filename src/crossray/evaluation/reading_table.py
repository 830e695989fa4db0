"""Several classifiers on the same studies, side by side: a table, its figure, and the numbers as JSON.

Every row was trained from several seeds, and each seed read every study once. A score is the mean over the seeds; its
interval comes of drawing patients and seeds with replacement, that of a difference of drawing the same for both rows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from crossray.errors import InputError
from crossray.evaluation.metrics import percentile_interval
from crossray.evaluation.readings import DRAWS, SCORES, Readings
from crossray.evaluation.run import null_for_nan
from crossray.evaluation.tables import markdown, with_interval
from crossray.files import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOLD = ("accuracy", "kappa", "auc")
"""Scores of the table; the JSON has all."""

Interval = tuple[float, float, float]
"""A value with the ends of its 95 % interval."""


@dataclass(frozen=True, eq=False)
class RowReadings:
    """What a row's classifiers said.

    Args:
        title: What to call the row.
        readings: By seed; of the same studies in the same order for every row.
        published: What its source reports on other data; may be empty.
        parameters: Number of weights.
        training_seconds: Wall clock of all its trainings.
    """

    title: str
    readings: Sequence[Readings]
    published: Mapping[str, float]
    parameters: int
    training_seconds: float

    def of_each_seed(self, score: str) -> list[float]:
        """A score by seed."""
        once = np.ones((1, len(self.readings[0].labels)))
        return [float(SCORES[score](readings, once)[0]) for readings in self.readings]


@dataclass(frozen=True, eq=False)
class ReadingTable:
    """Rows on one set of studies.

    Args:
        rows: By short names, in the order of the table.
        claims: Pairs of rows whose difference is told, the first less the second; pairs of absent rows are left out.

    Raises:
        InputError: Rows that did not read the same studies from as many seeds.
    """

    rows: Mapping[str, RowReadings]
    claims: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        every = [readings for row in self.rows.values() for readings in row.readings]
        if len({len(row.readings) for row in self.rows.values()}) != 1 or any(
            list(one.patients) != list(every[0].patients) or (one.labels != every[0].labels).any()
            for one in every
        ):
            raise InputError(
                "The rows of a table must have read the same studies from as many seeds."
            )

    @cached_property
    def drawn(self) -> dict[str, dict[str, Float[np.ndarray, " draw"]]]:
        """By row and score, the mean over seeds: of all of them first, then of each draw of patients and seeds."""
        first = next(iter(self.rows.values())).readings
        weights = np.concatenate([np.ones((1, len(first[0].labels))), first[0].drawn()])
        seeds = np.random.default_rng(1).integers(len(first), size=(DRAWS, len(first)))
        picked = np.concatenate([np.arange(len(first))[None], seeds]).T
        return {
            name: {
                score: np.take_along_axis(
                    np.stack([of(readings, weights) for readings in row.readings]), picked, 0
                ).mean(0)
                for score, of in SCORES.items()
            }
            for name, row in self.rows.items()
        }

    def score(self, row: str, score: str) -> Interval:
        """A row's score."""
        return _interval(self.drawn[row][score])

    def difference(self, row: str, other: str, score: str) -> Interval:
        """How much greater a row's score is than another's."""
        return _interval(self.drawn[row][score] - self.drawn[other][score])

    def content(self) -> dict[str, Any]:
        """Everything as plain values; an interval is [value, low, high]."""
        first = next(iter(self.rows.values())).readings[0]
        return {
            "studies": len(first.labels),
            "patients": len(set(first.patients)),
            "prevalence": float(first.labels.mean()),
            "rows": {
                name: {
                    "title": row.title,
                    **{score: list(self.score(name, score)) for score in SCORES},
                    "published": dict(row.published),
                    "parameters": row.parameters,
                    "training_seconds": row.training_seconds,
                    "auc_of_each_seed": row.of_each_seed("auc"),
                }
                for name, row in self.rows.items()
            },
            "differences": [
                {
                    "row": row,
                    "less": other,
                    **{score: list(self.difference(row, other, score)) for score in SCORES},
                }
                for row, other in self._told
            ],
        }

    @property
    def _told(self) -> list[tuple[str, str]]:
        return [pair for pair in self.claims if set(pair) <= set(self.rows)]

    def to_markdown(self) -> str:
        """The rows, and their differences below."""
        rows = [
            (
                row.title,
                *(with_interval(*self.score(name, score)) for score in TOLD),
                " / ".join(f"{value:g}" for value in row.published.values()),
                f"{row.parameters / 1e6:.2f} M",
                f"{row.training_seconds / 60:.0f} min",
            )
            for name, row in self.rows.items()
        ]
        header = (
            "",
            *(f"{score} (95 %)" for score in TOLD),
            "published accuracy / kappa",
            "weights",
            "training",
        )
        differences = [
            (
                f"{self.rows[row].title}, less {self.rows[other].title}",
                *(_signed(*self.difference(row, other, score)) for score in TOLD),
            )
            for row, other in self._told
        ]
        text = markdown(header, rows)
        return (
            text + "\n" + markdown(("difference", *header[1:4]), differences)
            if differences
            else text
        )


@dataclass(frozen=True, eq=False)
class ReadingComparison:
    """The same rows on several sets of studies.

    Args:
        tables: By name of the set.
        settings: How everything was made.
        extra: Kept in the JSON beside the tables.
    """

    tables: Mapping[str, ReadingTable]
    settings: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path, name: str) -> list[Path]:
        """Write NAME.json, NAME.md and NAME.png."""
        paths = [folder / f"{name}{suffix}" for suffix in (".json", ".md", ".png")]
        sets = {each: table.content() for each, table in self.tables.items()}
        content = null_for_nan({"settings": self.settings, **self.extra, "sets": sets})
        with written_whole(paths[0]) as partial:
            partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        with written_whole(paths[1]) as partial:
            partial.write_text(self.to_markdown())
        with written_whole(paths[2]) as partial:
            self._draw(partial)
        return paths

    def to_markdown(self) -> str:
        """Every set's table under its name."""
        parts = []
        for name, table in self.tables.items():
            told = table.content()
            parts.append(
                f"## {name}\n\n{told['studies']} studies of {told['patients']} patients, {told['prevalence']:.0%} "
                f"with a finding.\n\n{table.to_markdown()}"
            )
        said = "; ".join(f"{name}: {value}" for name, value in self.settings.items())
        return "\n".join(parts) + f"\n{said}.\n"

    def _draw(self, path: Path) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        rows = len(next(iter(self.tables.values())).rows)
        figure = Figure(figsize=(9, (1.2 + 0.45 * rows) * len(self.tables)), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(len(self.tables), 2, squeeze=False, sharey="row")
        for (name, table), pair in zip(self.tables.items(), panels, strict=True):
            for panel, score, chance in zip(pair, ("auc", "kappa"), (0.5, 0.0), strict=True):
                _draw_rows(panel, table, score, chance)
            pair[0].set_title(name, loc="left", fontsize=10)
        figure.savefig(path, format="png", dpi=120)


def _draw_rows(panel: "Axes", table: ReadingTable, score: str, chance: float) -> None:
    """A score of every row with its interval, beside chance and what was published."""
    for place, (name, row) in enumerate(table.rows.items()):
        value, low, high = table.score(name, score)
        panel.plot([low, high], [place, place], color="#0b5fff")
        panel.plot(value, place, "o", color="#0b5fff")
        if score in row.published:
            panel.plot(row.published[score], place, "D", mfc="none", color="#777777")
    panel.axvline(chance, color="#999999", ls=":")
    panel.set_yticks(range(len(table.rows)), [row.title for row in table.rows.values()])
    panel.set_ylim(len(table.rows) - 0.5, -0.5)
    panel.set_xlabel(score + ("; diamonds: published, MURA" if score == "kappa" else ", 95 % interval"))  # fmt: skip


def _interval(drawn: Float[np.ndarray, " draw"]) -> Interval:
    low, high = percentile_interval(drawn[1:])
    return float(drawn[0]), low, high


def _signed(value: float, low: float, high: float) -> str:
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
