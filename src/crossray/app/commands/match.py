"""`crossray match`: real films in, bands out."""

import re
import time
from importlib import import_module
from pathlib import Path

from crossray.errors import InputError
from crossray.evaluation.calibration import DOUBTFUL, UNRELATED
from crossray.matching import Matcher


def match(films: list[Path], out: Path, weights: str, grid: str | None = None) -> None:
    """Match films, write the four files, and say how strong the matches are."""
    sides = None if grid is None else _sides(grid)
    matcher = Matcher.load(weights)
    import_module("matplotlib.backends.backend_agg")  # start-up, not part of the time of a match
    start = time.perf_counter()
    matches = matcher.match(films, sides)
    matched = time.perf_counter() - start
    files = matches.save(out)
    total = time.perf_counter() - start
    print(
        f"Matched {len(matches)} views with {matches.weights} in {matched:.2f} s, {total:.2f} s with the files:"
    )
    for pair in matches.summary()["pairs"]:
        if pair["from"] < pair["to"]:
            names = f"{matches.names[pair['from']]} - {matches.names[pair['to']]}"
            print(
                f"  {names}: strongest {pair['strongest']:.2f}, {pair['above_0.2']} pairs of patches above 0.2"
                + (f", related {pair['related']:.0%}" if "related" in pair else "")
            )
            if (related := pair.get("related", 1)) < UNRELATED:
                print("    These two most likely show different limbs: their bands mean nothing.")
            elif related < DOUBTFUL:
                print("    These two may show different limbs: believe their bands with care.")
    for file in files:
        print(f"  {file}")


def _sides(grid: str) -> tuple[int, int]:
    """Rows and columns of a grid written as 16x8."""
    found = re.fullmatch(r"(\d+)x(\d+)", grid)
    if found is None:
        raise InputError(f"--grid {grid} is no grid; write rows x columns, as 16x8.")
    return int(found[1]), int(found[2])
