"""Where the time of one match goes: reading two films, fitting them, the network, and the four files.

    python benchmarks/match.py [--weights small] [--json FILE]

Two rendered films of 1500 x 1200 pixels, 16-bit PNG; medians of eleven matches after one to warm up. Asked of `small`
on two cores: 0.15 s for a match after start-up.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

import crossray
from crossray.matching.preprocess import fit_film
from crossray.volumes.phantom import phantom

SIZE = (1500, 1200)


def films(folder: Path) -> list[Path]:
    """AP and lateral of a phantom knee, as files."""
    knee = phantom("knee", 0, 2.0)
    cameras = crossray.Cameras.from_angles(
        [0, 90],
        [0, 0],
        [0, 0],
        sod_mm=1000,
        sdd_mm=1100,
        size=SIZE,
        pixel_mm=0.16,
        isocenter=knee.center,
    )
    paths = [folder / name for name in ("ap.png", "lateral.png")]
    for path, image in zip(paths, crossray.render(knee, cameras), strict=True):
        Image.fromarray((image.numpy() * 65535).astype(np.uint16)).save(path)
    return paths


def timed(work) -> float:
    """Median seconds of eleven calls, after one to warm up."""
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", default="small")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    matcher = crossray.Matcher.load(given.weights)
    size = matcher.network.config.image_size
    with tempfile.TemporaryDirectory() as scratch:
        paths = films(Path(scratch))
        read = [crossray.read_radiograph(path) for path in paths]
        fitted = torch.stack([fit_film(film.pixels, size)[0] for film in read])[None]
        matches = matcher.match(read)
        with torch.inference_mode():
            rows = {
                "read two films": timed(lambda: [crossray.read_radiograph(path) for path in paths]),
                "fit them to the network": timed(
                    lambda: [fit_film(film.pixels, size) for film in read]
                ),
                "network": timed(lambda: matcher.network(fitted)),
                "a match of films that were read": timed(lambda: matcher.match(read)),
                "a match of files": timed(lambda: matcher.match(paths)),
                "the four files written": timed(lambda: matches.save(Path(scratch) / "out")),
            }
    for name, seconds in rows.items():
        print(f"{name:34s} {1000 * seconds:7.1f} ms")
    if given.json:
        about = {
            "date": date.today().isoformat(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        }
        given.json.write_text(json.dumps({**about, "seconds": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
