"""Matchers side by side: the interval of a difference, the table, its figure and its JSON."""

import json
from math import isnan

import pytest
import torch

from crossray.evaluation.comparison import ComparedRow, Comparison
from crossray.evaluation.metrics import MatchingMetrics, bootstrap_difference
from crossray.evaluation.run import Tally
from crossray.evaluation.slope import slope


class Labelled:
    """Two views of noise with a random truth."""

    def __init__(self, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.images = torch.rand(2, 8, 8, generator=draw)
        self.correspondence = torch.rand(2, 2, 4, 4, generator=draw) ** 3


def person(share_right: float, seed: int) -> MatchingMetrics:
    """A matcher that finds a share of the matches, on one person."""
    draw = torch.Generator().manual_seed(seed)
    truth = (torch.rand(2, 2, 30, 30, generator=draw) < 0.1).float()
    told = torch.rand(truth.shape, generator=draw) < share_right
    metrics = MatchingMetrics()
    metrics.update(torch.where(told, truth, torch.rand(truth.shape, generator=draw)), truth)
    return metrics


def row(title: str, noise: float, reference: bool) -> ComparedRow:
    def predict(images):
        truth = torch.stack([Labelled(seed).correspondence for seed in range(len(images))])
        return (truth + noise * torch.rand(truth.shape)).clamp(0, 1)

    samples = [(f"person {seed}", f"ct {seed}", Labelled(seed)) for seed in range(3)]
    report = Tally.of(predict, samples).report(slope(predict, ()), {})
    return ComparedRow(
        title, report, report, None if reference else (0.01, 0.02), {"ap": 0.5} if reference else {}, 1_250_000, 90.0,
        0.0123, None if reference else (-0.03, 0.04),
    )  # fmt: skip


@pytest.fixture
def comparison() -> Comparison:
    rows = {"plain": row("plain one", 1.0, True), "better": row("better one", 0.1, False)}
    return Comparison("table9", rows, "plain", {"seed": 0})


def test_a_matcher_differs_from_itself_by_nothing():
    persons = [person(0.5, seed) for seed in range(4)]
    assert bootstrap_difference(persons, persons) == (0.0, 0.0)


def test_the_interval_lies_where_the_difference_does():
    better, worse = ([person(share, seed) for seed in range(6)] for share in (0.8, 0.3))
    low, high = bootstrap_difference(better, worse)
    assert 0.1 < low < high < 0.9
    turned = bootstrap_difference(worse, better)
    assert turned == pytest.approx((-high, -low))


def test_one_person_leaves_the_difference_open():
    low, high = bootstrap_difference([person(0.5, 0)], [person(0.4, 0)])
    assert isnan(low)
    assert isnan(high)


def test_the_table_says_it_all(comparison):
    header, _, plain, better, prior, chance, _, said = comparison.to_markdown().splitlines()
    assert "less plain one (95 %)" in header
    assert "| plain one |" in plain
    assert "| 0.500 | 1.25 M | 2 min | 12 ms |" in plain
    assert "| +0.010 to +0.020 |" in better
    assert "| -0.030 to +0.040 |" in better
    assert header.count("less plain one") == 2
    assert prior.startswith("| position prior | - |")
    prevalence = f"{comparison.rows['plain'].exact.prevalence:.3f}"
    assert chance.startswith(f"| chance | {prevalence} |")
    assert said == "3 pairs of 3 people never trained on. seed: 0."
    assert len({line.count("|") for line in (header, plain, better, prior, chance)}) == 1


def test_three_files_are_written(comparison, tmp_path):
    paths = comparison.save(tmp_path / "results")
    assert [path.name for path in paths] == ["table9.json", "table9.md", "table9.png"]
    content = json.loads(paths[0].read_text())
    assert content["rows"]["better"]["difference"] == [0.01, 0.02]
    assert content["rows"]["plain"]["exact"]["slope"] is None
    assert paths[2].read_bytes().startswith(b"\x89PNG")
