"""SIMULATED labels, a stand-in for real ones at scale: pairs of rendered films, of each of which 3 matches and 100
non-matches are told, as in the paper's real set.

    .venv/bin/python benchmarks/simulated_labels.py --ct DIR --pairs 100 --out DIR

The films are of people never trained on and look as picture archives make them, under the fixed protocol (windows
independent of each other). The truth is exact; truth.npz keeps the whole matrices, for scores alone.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from crossray.correspondence.patches import POSITIVE_ABOVE
from crossray.data.annotations import Film, Label, Labels, Place, Study, write_labels
from crossray.data.sample import Sample, SampleConfig
from crossray.evaluation.protocol import Bench, ct_volumes
from crossray.files import sha256

VIEWS, MATCHES, OTHERS = ("A", "B"), 3, 100


def study(name: str, person: str, sample: Sample, rng: np.random.Generator, out: Path) -> Study:
    """Write the films of a sample, and tell a few of its pairs of patches."""
    films = {}
    for view, image in zip(VIEWS, sample.images, strict=True):
        file = out / f"{name}-{view}.png"
        Image.fromarray((image * 65535).round().numpy().astype(np.uint16)).save(file)
        rows, columns = image.shape
        films[view] = Film(file=file.name, sha256=sha256(file), size=(rows, columns))
    matrix, side = sample.correspondence[0, 1], round(sample.correspondence.shape[-1] ** 0.5)
    patch = sample.images.shape[1] // side
    labels = []
    for verdict, holds, count in (
        ("same", matrix > POSITIVE_ABOVE, MATCHES),
        ("different", matrix <= POSITIVE_ABOVE, OTHERS),
    ):
        pairs = holds.nonzero().numpy()
        for pair in rng.permutation(pairs)[:count]:
            points = [tuple((np.array(divmod(int(n), side)) + 0.5) * patch - 0.5) for n in pair]
            places = {v: Place(point=at) for v, at in zip(VIEWS, points, strict=True)}
            labels.append(Label(verdict=verdict, places=places, reader="simulated"))
    return Study(study=name, person=person, films=films, labels=tuple(labels))


def main() -> None:
    """Render and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ct", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(ct_volumes(given.ct, "val"), SampleConfig(look="pacs"))
    studies, truths = [], {}
    with torch.inference_mode():
        for i, (person, _, sample) in enumerate(
            tqdm(bench.samples(given.pairs, given.seed), total=given.pairs, desc="films")
        ):
            rng = np.random.default_rng([given.seed, i])
            name = f"simulated-{i:03}"
            studies.append(study(name, person, sample, rng, given.out))
            truths[name] = sample.correspondence.half().numpy()
    write_labels(Labels(studies=tuple(studies)), given.out / "labels.json")
    np.savez_compressed(given.out / "truth.npz", **truths)
    print(f"{len(studies)} simulated pairs of films: {given.out / 'labels.json'}")


if __name__ == "__main__":
    main()
