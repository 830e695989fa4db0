"""Several matchers on the same samples, side by side: a table, its figure, and the numbers as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossray.evaluation.run import MatcherReport, null_for_nan
from crossray.evaluation.tables import markdown, score, with_interval
from crossray.files import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class ComparedRow:
    """A matcher among others.

    Args:
        title: What to call it.
        exact: Its scores against exact truth.
        paper: Its scores against the truth as the paper defines it, on the same images.
        difference: 95 % interval, by person, of the reference row's exact AP taken off its own; None for the reference.
        published: What its source reports on other data; may be empty.
        parameters: Number of weights.
        training_seconds: Wall clock of its training.
        matching_seconds: Median wall clock of one match of two views.
        paper_difference: As `difference`, under the paper's truth; None too in tables made before it was kept.
    """

    title: str
    exact: MatcherReport
    paper: MatcherReport
    difference: tuple[float, float] | None
    published: dict[str, float]
    parameters: int
    training_seconds: float
    matching_seconds: float
    paper_difference: tuple[float, float] | None = None


@dataclass(frozen=True)
class Comparison:
    """Rows scored on the same samples.

    Args:
        name: Of the files it is saved to.
        rows: By short names, in the order of the table.
        reference: Short name of the row the others are compared with.
        settings: How everything was made: data, budget, seed, machine, versions.
    """

    name: str
    rows: Mapping[str, ComparedRow]
    reference: str
    settings: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> list[Path]:
        """Write NAME.json, NAME.md and NAME.png."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{self.name}{suffix}" for suffix in (".json", ".md", ".png")]
        content = {**asdict(self), "rows": {name: asdict(row) for name, row in self.rows.items()}}
        with written_whole(paths[0]) as partial:
            partial.write_text(json.dumps(null_for_nan(content), indent=2, allow_nan=False) + "\n")
        with written_whole(paths[1]) as partial:
            partial.write_text(self.to_markdown())
        with written_whole(paths[2]) as partial:
            self._draw(partial)
        return paths

    def to_markdown(self) -> str:
        """The table, with chance, the position prior and what its source reports beside every score."""
        less = f"less {self.rows[self.reference].title} (95 %)"
        header = (
            "", "AP, exact truth (95 %)", less, "AP, paper's truth (95 %)", less,
            "precision", "recall", "MSE", "slope (95 %)", "published AP", "weights", "training", "a match",
        )  # fmt: skip
        first = next(iter(self.rows.values()))
        rows = [_cells(row) for row in self.rows.values()]
        for title, name in (("position prior", "prior_ap"), ("chance", "prevalence")):
            exact, paper = getattr(first.exact, name), getattr(first.paper, name)
            rows.append((title, score(exact), "", score(paper), *[""] * 9))
        people = f"{first.exact.pairs} pairs of {first.exact.persons} people never trained on."
        said = [f"{name}: {value}" for name, value in self.settings.items()]
        return f"{markdown(header, rows)}\n{people} {'; '.join(said)}.\n"

    def _draw(self, path: Path) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 1.4 + 0.5 * len(self.rows)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _draw_rows(axes, list(self.rows.values()))
        figure.savefig(path, format="png", dpi=120)


def _cells(row: ComparedRow) -> tuple[str, ...]:
    exact, paper = row.exact, row.paper
    less, paper_less = (
        "" if each is None else f"{each[0]:+.3f} to {each[1]:+.3f}"
        for each in (row.difference, row.paper_difference)
    )
    return (
        row.title,
        with_interval(exact.ap, exact.ap_low, exact.ap_high),
        less,
        with_interval(paper.ap, paper.ap_low, paper.ap_high),
        paper_less,
        score(exact.precision),
        score(exact.recall),
        f"{exact.mse:.2e}",
        with_interval(exact.slope, exact.slope_low, exact.slope_high, digits=2),
        score(row.published["ap"]) if "ap" in row.published else "",
        f"{row.parameters / 1e6:.2f} M",
        f"{row.training_seconds / 60:.0f} min",
        f"{1000 * row.matching_seconds:.0f} ms",
    )


def _draw_rows(axes: "Axes", rows: list[ComparedRow]) -> None:
    """APs with their intervals, one line a row, above chance and the position prior."""
    for place, row in enumerate(rows):
        for report, shift, colour in ((row.exact, -0.12, "#0b5fff"), (row.paper, 0.12, "#e07a00")):
            label = None if place else ("exact truth" if shift < 0 else "the paper's truth")
            axes.plot([report.ap_low, report.ap_high], [place + shift] * 2, color=colour)
            axes.plot(report.ap, place + shift, "o", color=colour, label=label)
        if "ap" in row.published:
            label = None if place else "published, other data"
            axes.plot(row.published["ap"], place, "D", mfc="none", color="#777777", label=label)
    axes.axvline(rows[0].exact.prior_ap, color="#999999", ls="--", label="position prior, exact")
    axes.axvline(rows[0].exact.prevalence, color="#999999", ls=":", label="chance, exact")
    axes.set_yticks(range(len(rows)), [row.title for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("average precision on people never trained on, 95 % interval")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
