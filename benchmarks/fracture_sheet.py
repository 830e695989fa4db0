"""The picture of docs/fractures-simulated.md: 56 simulated fractures, two views of each, drawn one after the other.

.venv/bin/python benchmarks/fracture_sheet.py --ct DIR docs/images/fractures.png
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate, pad
from tqdm import tqdm

from crossray.data.fractures import FracturePairs, FractureSampling
from crossray.geometry.views import ViewSampling

TILE, ACROSS, DOWN = 94, 7, 8


def main() -> None:
    """Draw, render, and set side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--ct", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seed", type=int, default=11)
    given = parser.parse_args()
    config = FractureSampling(ct=str(given.ct), split="val", phantoms=6, seed=given.seed)
    views = ViewSampling(field_mm=(70.0, 120.0), offset=0.1, roll_deg=5.0)
    config = replace(config, sample=replace(config.sample, views=views))
    pairs, tiles, spent = FracturePairs(config, given.cache), [], []
    for draw in tqdm(range(ACROSS * DOWN)):
        pairs.drawn(draw)  # its volume is read outside the time
        start = time.process_time()
        images = pairs[2 * draw + 1]["images"]
        spent.append(time.process_time() - start)
        small = interpolate(images[:, None], (TILE, TILE), mode="bilinear", antialias=True)[:, 0]
        tiles.append(pad(torch.cat(list(small), 1), (1, 1, 1, 1), value=0.5))
    rows = [torch.cat(tiles[i : i + ACROSS], 1) for i in range(0, len(tiles), ACROSS)]
    picture = (torch.cat(rows).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    Image.fromarray(picture).quantize(48).save(given.picture, optimize=True)
    low, middle, high = np.quantile(spent, [0.25, 0.5, 0.75])
    print(f"{len(spent)} broken pairs, processor time {middle:.2f} s ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
