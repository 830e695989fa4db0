"""`crossray reproduce table1`: every row trained on equal data, steps and seed, and scored on the same samples."""

import csv
import os
import platform
import time
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from crossray.app.commands.evaluate import PRIOR_SAMPLES, SLOPE_PAIRS, benches, sample_config
from crossray.app.commands.train import resolved
from crossray.data.synthetic import SyntheticPairs, proposes_splits
from crossray.errors import InputError
from crossray.evaluation.comparison import ComparedRow, Comparison
from crossray.evaluation.metrics import PositionPrior, bootstrap_difference
from crossray.evaluation.run import LabelledSample, Tally
from crossray.evaluation.slope import SlopePair, slope
from crossray.models.matcher import MatcherNetwork
from crossray.models.storage import load_network
from crossray.recipes import BUDGETS, TABLE1, Budget
from crossray.training.config import TrainConfig
from crossray.training.fit import fit_matcher
from crossray.volumes.io import list_cts

REFERENCE = "transformer"
DEFINITIONS = ("exact", "paper")


def reproduce_table1(
    ct: Path | None, budget: str, rows: Sequence[str], seed: int, runs: Path, out: Path, words: list[str]
) -> None:  # fmt: skip
    """Train the rows that are not trained yet, score them all, write the table and print it."""
    chosen = list(dict.fromkeys([*(rows or TABLE1), REFERENCE]))
    if unknown := set(chosen) - set(TABLE1):
        raise InputError(f"Table 1 has no row {min(unknown)!r}; it has {', '.join(TABLE1)}.")
    if ct is not None and not proposes_splits(list_cts(ct)):
        raise InputError(
            f"{ct} proposes no splits, so rows would be tested on the people they learned from; give it an index.csv "
            "with columns file, person and split (train or val), as docs/data.md shows."
        )
    spent = BUDGETS[budget]
    trained: dict[str, MatcherNetwork] = {}
    for name in (name for name in TABLE1 if name in chosen):
        network = _train(name, ct, spent, seed, runs, words)
        if network is None:
            print("Stopped; the same command goes on from there.")
            return
        trained[name] = network
    settings = {
        "date": date.today().isoformat(), "budget": budget, "seed": seed, "CTs": ct.name if ct else "phantoms",
        "options": " ".join(words) or "none", "steps": _config(REFERENCE, ct, spent, seed, words)[0].steps,
        "machine": machine(), "crossray": version("crossray"), "torch": version("torch"),
    }  # fmt: skip
    table = Comparison("table1", _score(trained, ct, spent.pairs, seed, runs), REFERENCE, settings)
    paths = table.save(out)
    print(table.to_markdown())
    print("Written: " + ", ".join(str(path) for path in paths))


def _config(
    name: str, ct: Path | None, budget: Budget, seed: int, words: list[str]
) -> tuple[TrainConfig, Any]:
    """A row's configuration; data and its seed are those of every row."""
    shared = [
        f"steps={budget.steps}",
        f"seed={seed}",
        "data.seed=0",
        f"data.distinct={budget.poses}",
    ]
    config, data = resolved(ct, budget.preset, None, [*shared, *words])
    return TABLE1[name].recipe(config), data


def _train(
    name: str, ct: Path | None, budget: Budget, seed: int, runs: Path, words: list[str]
) -> MatcherNetwork | None:
    """The row's trained network; None where its training was interrupted."""
    config, data = _config(name, ct, budget, seed, words)
    print(f"{TABLE1[name].title}: {config.steps} steps of {config.batch} samples.", flush=True)
    report = fit_matcher(config, SyntheticPairs(data, cache=runs / "cache"), _run(runs, name, seed))
    return None if report.outcome == "interrupted" else load_network(report.weights)[0]


def _score(
    networks: dict[str, MatcherNetwork], ct: Path | None, pairs: int, seed: int, runs: Path
) -> dict[str, ComparedRow]:
    """Every row on the same samples under either definition of truth."""
    tallies: dict[tuple[str, str], Tally] = {}
    slopes: list[SlopePair] = []
    samples: list[LabelledSample] = []
    for definition in DEFINITIONS:
        print(f"Drawing {pairs} test pairs, {definition} truth ...", flush=True)
        config = sample_config(networks[REFERENCE], definition)
        bench, training = benches(ct, config)
        prior = PositionPrior.from_truths(training.truths(PRIOR_SAMPLES, seed))
        samples = list(bench.samples(pairs, seed))
        for name, network in networks.items():
            tallies[name, definition] = Tally.of(network, samples, prior)
        slopes = slopes or list(bench.slope_pairs(min(SLOPE_PAIRS, pairs), seed))
    rows = {}
    for name, network in networks.items():
        exact, paper = (tallies[name, definition] for definition in DEFINITIONS)
        measured = slope(network, slopes)
        rows[name] = ComparedRow(
            title=TABLE1[name].title,
            exact=exact.report(measured, {}),
            paper=paper.report(measured, {}),
            difference=_difference(exact, tallies[REFERENCE, "exact"]),
            published=TABLE1[name].published,
            parameters=sum(weight.numel() for weight in network.parameters()),
            training_seconds=training_seconds(_run(runs, name, seed)),
            matching_seconds=_matching_seconds(network, samples[0][2].images),
            paper_difference=_difference(paper, tallies[REFERENCE, "paper"]),
        )
    return rows


def _difference(row: Tally, reference: Tally) -> tuple[float, float] | None:
    """Interval by person of a row's AP less the reference's; None for the reference itself."""
    if row is reference:
        return None
    persons, others = (list(tally.persons().values()) for tally in (row, reference))
    return bootstrap_difference(persons, others)


def _run(runs: Path, name: str, seed: int) -> Path:
    return runs / f"{name}-{seed}"


def training_seconds(run: Path) -> float:
    """Wall clock of all steps of a run, however often it was interrupted."""
    with (run / "metrics.csv").open(newline="") as file:
        return sum(float(row["seconds"]) for row in csv.DictReader(file))


@torch.inference_mode()
def _matching_seconds(network: MatcherNetwork, images: torch.Tensor) -> float:
    """Median of seven matches of one pair, after one to warm up."""
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        network(images[None])
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def machine() -> str:
    """The machine in words."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} cores, {platform.machine()}, {gpu}"
