"""How well `matches.related` tells two real films of one limb from two of different limbs, and of different studies.

    .venv/bin/python benchmarks/real_related.py ../shared/data/radiographs

Films: the normal limbs of `commons` and eight studies of `graz_wrist`. A study's own pairs stand against sixty pairs of
different parts of the body, and against twenty of one part of different studies.
"""

import argparse
import csv
import random
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm import tqdm

import crossray as cr
from crossray.data.radiographs import Radiograph

WRISTS, LIMBS, STUDIES = 8, 60, 20


def films(folder: Path) -> Iterator[tuple[str, str, Radiograph]]:
    """Study, part of the body and film."""
    for table, part in (("commons", ""), ("graz_wrist", "wrist")):
        with (folder / table / "index.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        studies = list(dict.fromkeys(row["study_id"] for row in rows))
        for row in rows:
            if not part or row["study_id"] in studies[:WRISTS]:
                film = cr.read_radiograph(folder / table / row["file"])
                yield row["study_id"], part or row["body_part"], film


def main() -> None:
    """Match the pairs and print how they are told apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="small")
    given = parser.parse_args()
    matcher = cr.Matcher.load(given.weights)
    kinds = {"one limb": [], "different limbs": [], "different studies": []}
    for first, second in combinations(films(given.folder), 2):
        alike = first[0] == second[0], first[1] == second[1]
        kind = "one limb" if alike[0] else "different studies" if alike[1] else "different limbs"
        kinds[kind].append((first[2], second[2]))
    said = {}
    for kind, pairs in kinds.items():
        random.Random(0).shuffle(pairs)
        some = pairs[: {"different limbs": LIMBS, "different studies": STUDIES}.get(kind)]
        said[kind] = np.array([matcher.match(pair).related() for pair in tqdm(some, kind)])
    own = said["one limb"]
    for kind, values in said.items():
        low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
        told = f"{kind}: {len(values)} pairs, median {middle:.2f} (10 % {low:.2f}, 90 % {high:.2f})"
        above = np.sign(own[:, None] - values[None]).mean() / 2 + 0.5
        print(told + ("" if values is own else f"; AUROC of one limb against them {above:.3f}"))


if __name__ == "__main__":
    main()
