"""The wrists of graz_wrist/ as a file of films without labels, of some of the persons.

    .venv/bin/python benchmarks/wrists.py RADIOGRAPHS --share 0.6 wrists.json

The persons of a file are left out of real_slope.py by `--without wrists.json`.
"""

import argparse
import csv
import os
from pathlib import Path

import numpy as np

from crossray.data.annotations import Film, Labels, Study, write_labels


def main() -> None:
    """Choose and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("radiographs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.6)
    given = parser.parse_args()
    folder = given.radiographs / "graz_wrist"
    with open(folder / "index.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["view"] == "AP" and row["pair_file"]]
    persons = sorted({row["patient_id"] for row in rows})
    chosen = np.random.default_rng(0).permutation(persons)[: round(given.share * len(persons))]

    def film(name: str) -> Film:
        return Film(file=os.path.relpath(folder / name, given.out.parent))

    studies = {
        row["study_id"]: Study(
            study=row["study_id"],
            person=row["patient_id"],
            films={"AP": film(row["file"]), "LAT": film(row["pair_file"])},
        )
        for row in rows
        if row["patient_id"] in set(chosen)
    }
    write_labels(Labels(studies=tuple(studies.values())), given.out)
    print(f"{len(studies)} studies of {len(chosen)} persons: {given.out}")


if __name__ == "__main__":
    main()
