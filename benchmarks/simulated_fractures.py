"""SIMULATED fractures as a set of studies for `csv:`: two views each, of half of which a bone is broken.

    .venv/bin/python benchmarks/simulated_fractures.py --ct DIR --visible 0.45 --studies 364 --tests 168 --out DIR

Studies come in twins that nothing but the fracture tells apart. `train` are people and phantoms the bundled matcher was
trained on, `test` are others. A film's label is whether the fracture shows on it (visibility above SHOWN); twins whose
best view shows it less than `--visible` are left out.
"""

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from crossray.data.fractures import FracturePairs, FractureSampling
from crossray.data.studies import StudyData
from crossray.data.studies.simulated import SHOWN, fracture_sampling

COLUMNS = ("file", "study", "patient", "view", "label", "split", "visibility")
NEW_PHANTOM = 1000
SIZE = (256, 256)


def studies(
    sampling: FractureSampling, count: int, visible: float, split: str, out: Path, writer
) -> None:
    """Write so many studies, as twins."""
    source, written, draw = FracturePairs(sampling, out / "cache"), 0, 0
    bar = tqdm(total=count, desc=split)
    while written < count:
        twins = [source[2 * draw], source[2 * draw + 1]]
        draw += 1
        if max(twins[1]["visibility"]) <= visible:
            continue
        for twin in twins:
            study = f"{split}-{draw:04d}-{twin['label']}"
            for view, image in enumerate(twin["images"]):
                file, seen = f"{study}-{view}.png", float(twin["visibility"][view])
                grey = (image * 65535).round().numpy().astype(np.uint16)
                Image.fromarray(grey).save(out / file)
                label = int(seen > SHOWN)
                writer.writerow((file, study, twin["person"], "", label, split, round(seen, 3)))
        written += len(twins)
        bar.update(len(twins))


def main() -> None:
    """Render and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ct", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--tests", type=int, default=200)
    parser.add_argument("--visible", type=float, default=SHOWN)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    data = StudyData(seed=given.seed)
    learn, test = (
        replace(fracture_sampling(str(given.ct), split, SIZE, data), first_phantom=first)
        for split, first in (("train", 0), ("val", NEW_PHANTOM))
    )  # fmt: skip
    with open(given.out / "index.csv", "w", newline="") as file, torch.inference_mode():
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        studies(learn, given.studies, given.visible, "train", given.out, writer)
        studies(test, given.tests, given.visible, "test", given.out, writer)
    print(f"{given.studies + given.tests} studies: {given.out / 'index.csv'}")


if __name__ == "__main__":
    main()
