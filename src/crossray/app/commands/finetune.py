"""`crossray finetune matcher`: from a few labels on real films, or none, to weights that know such films."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import combinations, zip_longest
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import print as show
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from crossray.app.commands.evaluate import benches, position_prior, sample_config
from crossray.app.commands.films import square_matcher
from crossray.data.annotations import read_labels
from crossray.data.consensus import SelfTaught, consensus
from crossray.data.labelled import LabelledParts, LabelledStudy
from crossray.errors import InputError
from crossray.evaluation.hits import BEST, HitReport, band_hits
from crossray.evaluation.metrics import PositionPrior, bootstrap_difference
from crossray.evaluation.run import LabelledSample, MatcherReport, Tally, null_for_nan
from crossray.evaluation.slope import slope
from crossray.evaluation.tables import score, with_interval
from crossray.files import sha256, written_whole
from crossray.matching import Matcher
from crossray.matching.matcher import weights_path
from crossray.recipes import finetune_recipe, self_taught_recipe
from crossray.training.fit import fit_matcher

MOMENTS = ("before", "after")


def finetune_matcher(labels: Path, init: str, out: Path, ct: Path | None, words: list[str]) -> None:
    """Fine-tune, or go on fine-tuning, and report on persons it never saw what it brought."""
    before = square_matcher(init)
    form = before.network.config
    rows, known = form.image_size[0], read_labels(labels)
    data = {"labels": str(labels), "sha256": sha256(labels)}
    config = finetune_recipe(form, str(weights_path(init)), data).changed(words)
    parts = LabelledParts.read(known, labels.parent, rows, form.patch, config.seed)
    print(parts, flush=True)
    report = fit_matcher(
        config, parts.training, out, lambda network: labelled_ap(network, parts.validation)
    )
    print(report)
    if report.outcome == "interrupted":
        return
    after = Matcher.load(report.weights)
    _, training = benches(ct, sample_config(before.network))
    prior = position_prior(training, config.seed)
    _compare(before, after, parts, prior, out / "report.json")


def teach_itself(unlabelled: Path, init: str, out: Path, words: list[str]) -> None:
    """Train a matcher, or go on training it, on its own mean answers about films without labels."""
    teacher = square_matcher(init)
    form = teacher.network.config
    size = form.image_size[0]
    studies = read_labels(unlabelled).studies
    data = {"unlabelled": str(unlabelled), "sha256": sha256(unlabelled)}
    config = self_taught_recipe(form, str(weights_path(init)), data).changed(words)
    read = [LabelledStudy.read(study, unlabelled.parent, size).films for study in studies]
    pairs = [pair for films in read for pair in combinations(films.values(), 2)]
    if not pairs:
        raise InputError(f"{unlabelled} names no study of two films; name some.")
    agreed = [
        consensus(teacher.network, pair, size, np.random.default_rng([config.seed, number]))
        for number, pair in enumerate(track(pairs, "mean answers", console=Console(stderr=True)))
    ]
    print(fit_matcher(config, SelfTaught(agreed, size, form.patch, config.seed), out))


def labelled_ap(network: nn.Module, pairs: Sequence[LabelledSample]) -> float:
    """Average precision over the labelled pairs of patches of whole films, wherever the network is."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        return Tally.of(lambda images: network(images.to(device)), pairs).pooled.scores.compute().ap


def _compare(
    before: Matcher, after: Matcher, parts: LabelledParts, prior: PositionPrior, path: Path
) -> None:
    """Score both on the test persons, write report.json and print the table."""
    size = before.network.config.image_size[0]
    films = [(each.study, each.films) for each in parts.studies["test"]]
    tallies, hits = [], []
    for matcher in (before, after):
        with torch.inference_mode():
            tallies.append(Tally.of(matcher.network, parts.test, prior))
        with suppress(InputError):  # labels that are boxes name no point to ask for
            hits.append(band_hits(matcher.network, films, prior, size=size))
    reports = [tally.report(slope(prior, []), {}) for tally in tallies]
    persons = [tally.persons() for tally in tallies]
    low, high = bootstrap_difference(list(persons[1].values()), list(persons[0].values()))
    gain = reports[1].ap - reports[0].ap
    content: dict[str, Any] = {
        name: {"matching": asdict(report), "band_hits": asdict(hit) if hit else None}
        for name, report, hit in zip_longest(MOMENTS, reports, hits)
    }
    content["gain"] = {"ap": gain, "low": low, "high": high}
    with written_whole(path) as partial:
        partial.write_text(dumps(null_for_nan(content), indent=1) + "\n")
    show(_table(reports, hits))
    print(f"AP gained: {with_interval(gain, low, high)}. Scores: {path}")


def _table(reports: Sequence[MatcherReport], hits: Sequence[HitReport]) -> Table:
    persons, pairs = reports[0].persons, reports[0].pairs
    table = Table(title=f"{pairs} pairs of films of {persons} persons never seen")
    for title in ("", "AP of labelled pairs (95 %)", "precision", "recall", "band hit rate (95 %)"):
        table.add_column(title, justify="right" if title else "left")
    for name, report, hit in zip_longest(MOMENTS, reports, hits):
        table.add_row(
            name,
            with_interval(report.ap, report.ap_low, report.ap_high),
            score(report.precision),
            score(report.recall),
            with_interval(hit.matcher, hit.low, hit.high) if hit else "",
        )
    first = reports[0]
    others = (
        (score(hits[0].prior), score(hits[0].same_height), score(BEST)) if hits else ("", "", "")
    )
    table.add_row("position prior", score(first.prior_ap), "", "", others[0], style="dim")
    table.add_row("same height", "", "", "", others[1], style="dim")
    table.add_row("chance", score(first.prevalence), "", "", others[2], style="dim")
    return table
