"""What leaving out bare film is worth: simulated films with shutters drawn over them, matched with and without.

    .venv/bin/python benchmarks/bare_film.py SIM [--pairs 30] [--weights small]

SIM is what benchmarks/simulated_labels.py wrote. Patches behind a shutter do not count.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from crossray.data.radiographs import read_radiograph
from crossray.evaluation.metrics import MatchingMetrics
from crossray.matching import Matcher
from crossray.matching.preprocess import normalise

SIDE = 16


def shut(film: torch.Tensor, place: int, value: float | None) -> torch.Tensor:
    """Draw a shutter above and one at a side; which patches are left."""
    left = torch.ones(SIDE, SIDE, dtype=torch.bool)
    if value is not None:
        wide = 3 + place % 4
        columns = slice(0, wide) if place % 2 else slice(SIDE - wide, SIDE)
        left[:2], left[:, columns] = False, False
        film[~left.repeat_interleave(SIDE, 0).repeat_interleave(SIDE, 1)] = value
    return left.flatten()


@torch.inference_mode()
def main() -> None:
    """Match and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", type=Path)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--weights", default="small")
    given = parser.parse_args()
    matcher, truths = Matcher.load(given.weights), np.load(given.films / "truth.npz")
    for name, value in {"no shutters": None, "bright": 1.0, "dark": 0.0}.items():
        out, kept = MatchingMetrics(), MatchingMetrics()
        for number, study in enumerate(truths.files[: given.pairs]):
            files = [given.films / f"{study}-{view}.png" for view in "AB"]
            films = [read_radiograph(file).pixels for file in files]
            left = [shut(film, number + view, value) for view, film in enumerate(films)]
            truth = torch.from_numpy(truths[study]).float()
            known = torch.zeros_like(truth, dtype=torch.bool)
            known[0, 1] = left[0][:, None] & left[1]
            known[1, 0] = known[0, 1].T
            out.update(matcher.match(films).correspondence, truth, known)
            plain = torch.stack([normalise(film) for film in films])[None]
            kept.update(matcher.network(plain)[0], truth, known)
        print(f"{name}: AP {kept.compute().ap:.3f}, bare film left out {out.compute().ap:.3f}")


if __name__ == "__main__":
    main()
