"""The slope of a matcher on real pairs of films, which needs no labels: 1 follows the anatomy, 0 stays in place.

    .venv/bin/python benchmarks/real_slope.py RADIOGRAPHS [--landmarks A.json] [--weights small] [--json FILE]

RADIOGRAPHS holds `commons/` and `graz_wrist/` as described in docs/data.md. Landmarks give the level at which the films
of commons are laid beside each other; the wrists are cut at the same height already.
"""

import argparse
import csv
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch

from crossray.data.radiographs import read_radiograph
from crossray.evaluation.slope import SlopePair, real_slope_pairs, slope
from crossray.matching import Matcher
from crossray.matching.preprocess import normalise


def film(path: Path) -> torch.Tensor:
    """A film with the contrast the matcher expects."""
    return normalise(read_radiograph(path).pixels, path.name)


def commons_pairs(radiographs: Path, landmarks: Path) -> Iterator[tuple[str, SlopePair]]:
    """Every two views of each annotated study of commons, laid at the mean row of the landmarks both show."""
    for study in json.loads(landmarks.read_text())["studies"]:
        files = {
            view: name for view, name in study["images"].items() if name.startswith("commons/")
        }
        for one, other in itertools.combinations(files, 2):
            points = [
                m["points"]
                for m in study["landmarks"]
                if {one, other} <= set(m["points"]) and not m.get("doubtful")
            ]
            rows = tuple(sum(p[view][0] for p in points) / len(points) for view in (one, other))
            films = [film(radiographs / files[view]) for view in (one, other)]
            name = study["study_id"].removeprefix("haggstrom-")
            for pair in real_slope_pairs(
                *films, person=name, name=f"{name} {one}-{other}", level=rows
            ):
                yield name, pair


def wrist_pairs(folder: Path) -> Iterator[tuple[str, SlopePair]]:
    """AP and LAT of every study of wrists."""
    with open(folder / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["view"] == "AP" and row["pair_file"]]
    for row in rows:
        films = [film(folder / row[key]) for key in ("file", "pair_file")]
        for pair in real_slope_pairs(*films, person=row["patient_id"], name=row["study_id"]):
            yield "wrists", pair


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("radiographs", type=Path)
    parser.add_argument("--landmarks", type=Path)
    parser.add_argument("--weights", default="small")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    predict = Matcher.load(options.weights).network
    pairs = itertools.chain(
        commons_pairs(options.radiographs, options.landmarks) if options.landmarks else (),
        wrist_pairs(options.radiographs / "graz_wrist"),
    )
    groups = defaultdict(list)
    for group, pair in pairs:
        groups[group].append(pair)
    results = {}
    for group, members in groups.items():
        with torch.inference_mode():
            found = slope(predict, members)
        results[group] = {
            "slope": found.slope,
            "low": found.low,
            "high": found.high,
            "pairs": len(members),
            "edge_share": found.edge_share,
        }
        print(
            f"{group:8s} slope {found.slope:.2f} ({found.low:.2f} to {found.high:.2f}), {len(members)} slides"
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
