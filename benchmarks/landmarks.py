"""The landmarks of ../shared/data/landmarks/A.json as a file of labels across views.

    .venv/bin/python benchmarks/landmarks.py A.json labels.json

The films of commons/ name no person; they count as one.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from crossray.data.annotations import Film, Label, Labels, Place, Study, write_labels
from crossray.data.radiographs import read_radiograph
from crossray.files import sha256


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
    labels = tuple(label(landmark) for landmark in content["landmarks"])
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
    print(
        f"{sum(len(each.labels) for each in studies)} labels of {len(studies)} studies: {given.out}"
    )


if __name__ == "__main__":
    main()
