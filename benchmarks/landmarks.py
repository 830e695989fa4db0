"""The landmarks of ../shared/data/landmarks/A.json as a file of labels across views.

    .venv/bin/python benchmarks/landmarks.py A.json labels.json

The films of commons/ name no person; they count as one. What matches nowhere was not annotated, but follows from the
levels: a landmark of one film does not lie in another at places 15 % of the film's height above or below its own, along
whichever bone. Of such places 100 are drawn a pair of films, 50 for landmarks of either; doubtful ones have none.
"""

import argparse
import json
import os
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from crossray.data.annotations import Film, Label, Labels, Place, Study, write_labels
from crossray.data.radiographs import read_radiograph
from crossray.files import sha256

NEGATIVES, BESIDE = 100, 0.15


def study(content: dict[str, Any], root: Path, beside: Path) -> Study:
    """One study; its films' paths are written relative to a folder."""
    films = {}
    for view, name in content["images"].items():
        rows, columns = read_radiograph(root / name).pixels.shape
        films[view] = Film(
            file=os.path.relpath(root / name, beside),
            sha256=sha256(root / name),
            size=(rows, columns),
        )
    name = content["study_id"]
    person = "haggstrom" if name.startswith("haggstrom") else name.split("_")[0]
    marks = [label(landmark) for landmark in content["landmarks"]]
    labels = (*marks, *elsewhere(marks, films, content["limb_axis"]))
    return Study(study=name, person=person, films=films, labels=labels)


def label(landmark: dict[str, Any]) -> Label:
    """One landmark in all views that show it."""
    remarks = [
        name for name in ("doubtful", "level_only", "posture_sensitive") if landmark.get(name)
    ]
    places = {}
    for view, point in landmark["points"].items():
        isotropic = landmark["sigma_px"][view]
        sigma = landmark.get("sigma_rc_px", {}).get(view, (isotropic, isotropic))
        places[view] = Place(point=tuple(point), sigma=tuple(sigma))
    return Label(
        verdict="same", places=places, name=landmark["name"], reader="A", remarks=tuple(remarks)
    )


def elsewhere(marks: list[Label], films: dict[str, Film], axes: dict[str, Any]) -> list[Label]:
    """Places of one film, and places of another that show something else."""
    rng, drawn = np.random.default_rng(0), []
    for one, other in permutations(films, 2):
        shared = [mark for mark in marks if mark.counts and {one, other} <= set(mark.places)]
        along = np.array([bone["proximal_to_distal_rc"] for bone in axes[other].values()])
        rows, columns = films[other].size
        goal = len(drawn) + (NEGATIVES // 2 if shared else 0)
        while len(drawn) < goal:
            mark = shared[rng.integers(len(shared))]
            place = rng.integers([rows, columns])
            if (abs(along @ (place - mark.places[other].point)) > BESIDE * rows).all():
                places = {one: mark.places[one], other: Place(point=tuple(map(float, place)))}
                drawn.append(Label(verdict="different", places=places, name=mark.name, reader="A"))
    return drawn


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("landmarks", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    content = json.loads(given.landmarks.read_text())
    root = given.landmarks.parent / content["image_root"]
    studies = tuple(study(each, root, given.out.parent) for each in content["studies"])
    write_labels(Labels(studies=studies), given.out)
    every = [label.verdict for each in studies for label in each.labels]
    told = ", ".join(f"{every.count(verdict)} {verdict}" for verdict in ("same", "different"))
    print(f"Labels of {len(studies)} studies, {told}: {given.out}")


if __name__ == "__main__":
    main()
