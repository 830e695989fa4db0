"""The slope of a matcher on real pairs of films, which needs no labels: 1 follows the anatomy, 0 stays in place.

    .venv/bin/python benchmarks/real_slope.py RADIOGRAPHS [--landmarks A.json] [--weights small] [--json FILE]

RADIOGRAPHS holds `commons/`, `graz_wrist_full/` and `graz_wrist/` (docs/data.md). Landmarks give the level
at which whole films are laid beside each other. The crops of graz_wrist are the middles of films that show different
stretches of the forearm, and where they do not overlap no band can follow anything. How much that costs is measured on
the whole wrists: cut to crops of the same size about one level (`level crops`), and about each film's own middle
(`middle crops`), as those of graz_wrist are.
"""

import argparse
import csv
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch

from crossray.data.annotations import read_labels
from crossray.data.radiographs import read_radiograph
from crossray.evaluation.slope import SlopePair, real_slope_pairs, slope
from crossray.matching import Matcher
from crossray.matching.preprocess import normalise

CROP = 256
"""Side of the crops of graz_wrist, pixels."""


def film(path: Path) -> torch.Tensor:
    """A film with the contrast the matcher expects."""
    return normalise(read_radiograph(path).pixels, path.name)


def landmark_pairs(radiographs: Path, landmarks: Path) -> Iterator[tuple[str, SlopePair]]:
    """Every two views of each annotated study, laid at the mean place of the landmarks both show."""
    for study in json.loads(landmarks.read_text())["studies"]:
        wrist = not study["study_id"].startswith("haggstrom-")
        group = "wrists, whole" if wrist else study["study_id"].removeprefix("haggstrom-")
        person = study["study_id"].split("_")[0] if wrist else "haggstrom"
        for views in itertools.combinations(study["images"], 2):
            points = [
                m["points"]
                for m in study["landmarks"]
                if set(views) <= set(m["points"]) and not m.get("doubtful")
            ]
            middles = [torch.tensor([p[view] for p in points]).double().mean(0) for view in views]
            films = [film(radiographs / study["images"][view]) for view in views]
            rows = (float(middles[0][0]), float(middles[1][0]))
            name = f"{study['study_id']} {'-'.join(views)}"
            for pair in real_slope_pairs(*films, person=person, name=name, level=rows):
                yield group, pair
            if wrist:
                own = [torch.tensor(each.shape) / 2 for each in films]
                for kind, about in (("level crops", middles), ("middle crops", own)):
                    crops = [crop(each, at) for each, at in zip(films, about, strict=True)]
                    for pair in real_slope_pairs(*crops, person=person, name=name):
                        yield f"wrists, {kind}", pair


def crop(whole: torch.Tensor, middle: torch.Tensor) -> torch.Tensor:
    """The CROP x CROP pixels of a film about a place, as far as the film goes."""
    top, left = (
        int(min(max(float(at) - CROP / 2, 0), side - CROP))
        for at, side in zip(middle, whole.shape, strict=True)
    )
    return normalise(whole[top : top + CROP, left : left + CROP])


def wrist_pairs(folder: Path, without: set[str]) -> Iterator[tuple[str, SlopePair]]:
    """AP and LAT of every study of wrists but those of some persons."""
    with open(folder / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["view"] == "AP" and row["pair_file"]]
    for row in rows:
        if row["patient_id"] in without:
            continue
        films = [film(folder / row[key]) for key in ("file", "pair_file")]
        for pair in real_slope_pairs(*films, person=row["patient_id"], name=row["study_id"]):
            yield "graz_wrist", pair


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("radiographs", type=Path)
    parser.add_argument("--landmarks", type=Path)
    parser.add_argument("--without", type=Path, help="leave out the persons of these labels")
    parser.add_argument("--weights", default="small")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    predict = Matcher.load(options.weights).network
    without = set()
    if options.without:
        without = {study.person for study in read_labels(options.without).studies}
    pairs = itertools.chain(
        landmark_pairs(options.radiographs, options.landmarks) if options.landmarks else (),
        wrist_pairs(options.radiographs / "graz_wrist", without),
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
            f"{group:20s} slope {found.slope:.2f} ({found.low:.2f} to {found.high:.2f}), {len(members)} slides, "
            f"{100 * found.edge_share:.0f} % of bands at an edge"
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
