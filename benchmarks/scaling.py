"""What more steps and people buy: Table 1's transformer trained on fewer of either, scored on the same unseen people.

    python benchmarks/scaling.py --ct DIR [--runs runs/table1] [--out results] [--steps 60 ... 500] [--people 4 8 16]

Each point is a training of its own with its own schedule; those over people take the second longest of the steps. Poses
come from the cache of `crossray reproduce table1`, so a person left out is one whose poses are never shown. Trainings
resume, finished ones are kept. Writes OUT/scaling.json and .png, and prints a line of AP over the logarithm of each.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.data import Dataset

from crossray.app.commands.evaluate import benches, sample_config
from crossray.app.commands.train import resolved
from crossray.data.synthetic import SyntheticPairs, training_files
from crossray.evaluation.metrics import bootstrap_ap
from crossray.evaluation.run import Tally
from crossray.files import written_whole
from crossray.models.storage import load_network
from crossray.recipes import BUDGETS, transformer
from crossray.training.fit import fit_matcher

BUDGET = BUDGETS["cpu"]


@dataclass(frozen=True)
class Point:
    """One training: how many people it saw, and for how many steps."""

    people: int
    steps: int


class SomePeople(Dataset[dict[str, Tensor]]):
    """The samples of `pairs` whose pose shows a phantom or one of some people, again and again with new looks."""

    def __init__(self, pairs: SyntheticPairs, people: int) -> None:
        folder = Path(pairs.config.ct)
        owners = {
            file.path.relative_to(folder).as_posix(): file.person
            for file in training_files(pairs.config)
        }
        everyone = sorted(set(owners.values()))
        order = np.random.default_rng(0).permutation(len(everyone))
        self.people = {everyone[i] for i in order[:people]}
        self.pairs = pairs
        self.poses = [
            base
            for base in range(pairs.config.distinct)
            if owners.get(pairs.drawn(base)[0]) in {None, *self.people}
        ]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        visit, place = divmod(index, len(self.poses))
        return self.pairs.sample(self.poses[place], visit)


def trained(point: Point, pairs: SyntheticPairs, words: list[str], ct: Path, runs: Path) -> Path:
    """Weights of one training."""
    config, _ = resolved(ct, BUDGET.preset, None, [*words, f"steps={point.steps}"])
    folder = runs / f"scaling-{point.people}-{point.steps}"
    print(f"{point.people} people, {point.steps} steps", flush=True)
    return fit_matcher(transformer(config), SomePeople(pairs, point.people), folder).weights


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ct", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/table1"))
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--steps", type=int, nargs="+", default=[60, 125, 250, 500])
    parser.add_argument("--people", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--pairs", type=int, default=200)
    given = parser.parse_args()
    if len(given.steps) < 2:
        parser.error("give two numbers of steps or more; a line needs two points")
    words = [
        "data.seed=0",
        f"data.distinct={BUDGET.poses}",
        "data.sample.thin=1",
        "run.progress=false",
    ]
    pairs = SyntheticPairs(resolved(given.ct, BUDGET.preset, None, words)[1], given.runs / "cache")
    everyone = len(SomePeople(pairs, 10**6).people)
    steps = sorted(given.steps)
    points = [Point(everyone, each) for each in steps]
    points += [Point(each, steps[-2]) for each in given.people if each < everyone]
    networks = {
        point: load_network(trained(point, pairs, words, given.ct, given.runs))[0]
        for point in points
    }
    bench, _ = benches(given.ct, sample_config(next(iter(networks.values()))))
    samples = list(bench.samples(given.pairs, 0))
    rows = []
    for point, network in networks.items():
        tally = Tally.of(network, samples)
        low, high = bootstrap_ap(list(tally.persons().values()))
        ap = tally.pooled.scores.compute().ap
        rows.append(
            {"people": point.people, "steps": point.steps, "ap": ap, "low": low, "high": high}
        )
        print(rows[-1], flush=True)
    save(rows, everyone, steps[-2], given.out)


def save(rows: list[dict[str, float]], everyone: int, steps: int, out: Path) -> None:
    """Numbers, figure, and the slope over a decade of either."""
    out.mkdir(parents=True, exist_ok=True)
    series = {
        "steps": [row for row in rows if row["people"] == everyone],
        "people": sorted(
            (row for row in rows if row["steps"] == steps), key=lambda row: row["people"]
        ),
    }
    decade = {
        name: float(np.polyfit(np.log10([r[name] for r in part]), [r["ap"] for r in part], 1)[0])
        for name, part in series.items()
    }
    with written_whole(out / "scaling.json") as partial:
        partial.write_text(json.dumps({"rows": rows, "ap_per_decade": decade}, indent=2) + "\n")
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (name, part) in enumerate(series.items()):
        axes = figure.add_subplot(1, 2, place + 1)
        values = np.array([[row[key] for key in (name, "ap", "low", "high")] for row in part])
        axes.fill_between(values[:, 0], values[:, 2], values[:, 3], alpha=0.2)
        axes.plot(values[:, 0], values[:, 1], "o-")
        axes.set_xscale("log")
        axes.set_xlabel(name)
        axes.set_ylabel("AP on eight unseen people")
        axes.set_title(f"{decade[name]:+.3f} a decade", fontsize=9)
    with written_whole(out / "scaling.png") as partial:
        figure.savefig(partial, format="png", dpi=120)
    print("AP per decade:", decade)


if __name__ == "__main__":
    main()
