"""Reports as tables for people: every score beside chance and the position prior, and with its interval."""

from math import isnan
from typing import TYPE_CHECKING

from crossray.evaluation.run import MatcherReport

if TYPE_CHECKING:
    from rich.table import Table

_HEADER = ("volume", "person", "pairs", "AP", "95 %", "chance", "position prior")


def report_table(report: MatcherReport, title: str = "matching") -> "Table":
    """The report as a table for the terminal: one line per volume, the pooled scores below.

    Args:
        report: What `evaluate_matcher` returned.
        title: Stands above the table.

    Returns:
        A rich table; print it with `rich.print`.
    """
    from rich.table import Table

    table = Table(title=title, caption=_summary(report), caption_justify="left", show_footer=True)
    pooled = _pooled_cells(report)
    for number, (header, footer) in enumerate(zip(_HEADER, pooled, strict=True)):
        table.add_column(header, footer, justify="left" if number < 2 else "right")
    for row in _volume_cells(report):
        table.add_row(*row)
    return table


def report_markdown(report: MatcherReport) -> str:
    """The report as Markdown: the table of `report_table` and the other scores below it."""
    pooled = tuple(f"**{cell}**" if cell else "" for cell in _pooled_cells(report))
    return markdown(_HEADER, [*_volume_cells(report), pooled]) + "\n" + _summary(report) + "\n"


def _volume_cells(report: MatcherReport) -> list[tuple[str, ...]]:
    return [
        (
            row["name"],
            row["person"],
            str(row["pairs"]),
            score(row["ap"]),
            "",
            score(row["prevalence"]),
            score(row["prior_ap"]),
        )
        for row in report.per_volume
    ]


def _pooled_cells(report: MatcherReport) -> tuple[str, ...]:
    return (
        "all",
        f"{report.persons} person" + "s" * (report.persons != 1),
        str(report.pairs),
        score(report.ap),
        "-" if isnan(report.ap_low) else f"{score(report.ap_low)} to {score(report.ap_high)}",
        score(report.prevalence),
        score(report.prior_ap),
    )


def _summary(report: MatcherReport) -> str:
    """The scores that exist only pooled, as two sentences."""
    precision, recall = score(report.precision), score(report.recall)
    sentence = (
        f"At C > 0.2: precision {precision}, recall {recall}; mean squared error {report.mse:.2e}. "
    )
    if isnan(report.slope):
        return sentence + "The slope was not measured."
    slope = with_interval(report.slope, report.slope_low, report.slope_high, digits=2)
    return (
        sentence
        + f"Slope {slope} over {report.slope_pairs} pairs: 1 follows the anatomy, 0 stays in place."
    )


def score(value: float | int, digits: int = 3) -> str:
    """A score as text; a dash where it is undefined."""
    return "-" if isnan(value) else f"{value:.{digits}f}"


def with_interval(value: float | int, low: float | int, high: float | int, digits: int = 3) -> str:
    """A score with its 95 % interval; the interval is left out where fewer than two persons leave it undefined."""
    text = score(value, digits)
    return (
        text
        if isnan(low) or isnan(high)
        else f"{text} ({score(low, digits)} to {score(high, digits)})"
    )


def markdown(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table of cells as Markdown."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
