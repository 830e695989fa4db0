"""Several matchers on the same labelled films, side by side: their scores, a table and its figure.

Of a pair of films few pairs of patches are labelled, and the AP over these says how well the chosen are told apart.
Where the whole truth is known (rendered films) the AP over all pairs of patches stands beside it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import nan
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.data.labelled import LabelledPair, LabelledStudy, whole_pairs
from crossray.errors import InputError
from crossray.evaluation.hits import BEST, HitReport, band_hits
from crossray.evaluation.metrics import PositionPrior
from crossray.evaluation.run import MatcherReport, Tally
from crossray.evaluation.slope import Predict, slope
from crossray.evaluation.tables import markdown, score, with_interval


@dataclass(frozen=True)
class FilmScores:
    """What a matcher did on labelled films.

    Args:
        title: What to call it.
        published: The AP its source reports, on other films; None where it reports none.
        missing: Why there are no scores, in a sentence; empty where there are.
        labelled: Over the labelled pairs of patches; None where there are no scores.
        whole: Over all pairs of patches, where the truth is known.
        hits: Band hit rates on the test films.
        landmarks: Over the labelled pairs of patches of other films, of which no one learned.
        landmark_hits: Band hit rates on these.
    """

    title: str
    published: float | None
    missing: str = ""
    labelled: MatcherReport | None = None
    whole: MatcherReport | None = None
    hits: HitReport | None = None
    landmarks: MatcherReport | None = None
    landmark_hits: HitReport | None = None


@dataclass(frozen=True)
class FilmBench:
    """What every matcher is scored on.

    Args:
        test: Pairs of whole films.
        studies: Those they are of.
        prior: The position prior.
        size: Side of the windows of the band hit rate.
        truths: The whole matrix of the one pair of films, by study, as far as known.
        landmarks: Other studies, of which no one learned.
        draws: Windows a study for the band hit rate.
    """

    test: Sequence[tuple[str, str, LabelledPair]]
    studies: Sequence[LabelledStudy]
    prior: PositionPrior
    size: int
    truths: Mapping[str, Float[Tensor, "view view patch patch"]] = field(default_factory=dict)
    landmarks: Sequence[LabelledStudy] = ()
    draws: int = 20

    def scores(self, predict: Predict, title: str, published: float | None) -> FilmScores:
        """Score one matcher; films whose labels are no points have no band hit rate."""
        patch = self.size // round(self.test[0][2].known.shape[-1] ** 0.5)
        others = whole_pairs(self.landmarks, self.size, patch)
        whole = [
            (person, name, replace(pair, correspondence=truth, known=torch.ones_like(pair.known)))
            for person, name, pair in self.test
            if (truth := self.truths.get(name)) is not None
        ]
        return FilmScores(
            title,
            published,
            labelled=self._report(predict, self.test),
            whole=self._report(predict, whole) if whole else None,
            hits=self._hits(predict, self.studies),
            landmarks=self._report(predict, others) if others else None,
            landmark_hits=self._hits(predict, self.landmarks),
        )

    def _report(
        self, predict: Predict, pairs: Sequence[tuple[str, str, LabelledPair]]
    ) -> MatcherReport:
        with torch.inference_mode():
            return Tally.of(predict, pairs, self.prior).report(slope(self.prior, []), {})

    def _hits(self, predict: Predict, studies: Sequence[LabelledStudy]) -> HitReport | None:
        films = [(each.study, each.films) for each in studies]
        with suppress(InputError):
            return band_hits(predict, films, self.prior, self.draws, size=self.size)
        return None


_HEADER = (
    "", "AP, labelled pairs (95 %)", "AP, all pairs (95 %)", "band hit rate (95 %)",
    "landmarks: AP (95 %)", "landmarks: band hit rate (95 %)", "published AP",
)  # fmt: skip


def films_markdown(rows: Sequence[FilmScores]) -> str:
    """The rows as a table, with chance, the position prior and the same height below."""
    cells = [_cells(row) for row in rows]
    first = next((row for row in rows if row.labelled is not None), FilmScores("", None))
    for title, of_matching, of_hits in (
        ("position prior", "prior_ap", "prior"),
        ("same height", "", "same_height"),
        ("chance", "prevalence", "chance"),
    ):
        names = (of_matching, of_matching, of_hits, of_matching, of_hits)
        scores = [getattr(each, name, nan) for each, name in zip(_parts(first), names, strict=True)]
        cells.append((title, *map(score, scores), ""))
    notes = [f"{row.title}: {row.missing}" for row in rows if row.missing]
    return markdown(_HEADER, cells) + "".join(f"\n{note}\n" for note in dict.fromkeys(notes))


def _parts(row: FilmScores) -> tuple[MatcherReport | HitReport | None, ...]:
    return row.labelled, row.whole, row.hits, row.landmarks, row.landmark_hits


def _cells(row: FilmScores) -> tuple[str, ...]:
    cells = [_cell(each) for each in _parts(row)]
    if row.missing:
        cells[0] = "not to be had"
    return (row.title, *cells, "" if row.published is None else score(row.published))


def _cell(report: MatcherReport | HitReport | None) -> str:
    if report is None:
        return ""
    if isinstance(report, HitReport):
        return with_interval(report.matcher, report.low, report.high)
    return with_interval(report.ap, report.ap_low, report.ap_high)


def draw_films(rows: Sequence[FilmScores], path: Path) -> None:
    """AP of the labelled pairs and band hit rates, one line a row, beside chance (dotted), as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.4 + 0.45 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    for place, row in enumerate(rows):
        if row.published is not None:
            left.plot(row.published, place, "D", mfc="none", color="#777777")
        if row.missing:
            text = {"color": "#777777", "ha": "right", "va": "center"}
            left.text(0.98, place, "weights not to be had", text)
        if row.labelled is not None:
            low, high = row.labelled.ap_low, row.labelled.ap_high
            left.plot([low, high], [place] * 2, color="#0b5fff")
            left.plot(row.labelled.ap, place, "o", color="#0b5fff")
            left.axvline(row.labelled.prevalence, color="#999999", ls=":")
        both = ((row.hits, -0.1, "#0b5fff"), (row.landmark_hits, 0.1, "#e07a00"))
        for hits, shift, colour in both:
            if hits is not None:
                right.plot([hits.low, hits.high], [place + shift] * 2, color=colour)
                right.plot(hits.matcher, place + shift, "o", color=colour)
    left.set_yticks(range(len(rows)), [row.title for row in rows])
    left.invert_yaxis()
    left.set(xlim=(0, 1), xlabel="AP of labelled pairs\ndiamonds: published, on other films")
    right.set(xlim=(0, 1), xlabel="band hit rate\nblue: test films; orange: landmarks of others")
    right.axvline(BEST, color="#999999", ls=":")
    figure.savefig(path, format="png", dpi=110)
