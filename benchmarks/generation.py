"""What a sample of a set costs, from one worker to all cores, and what larger sets and clusters would take.

    python benchmarks/generation.py --ct DIR [--pairs 400] [--json results/generation.json]

Makes the same set with 1 worker and with one a core, the CTs cleaned before, and checks that the bytes agree. The table
multiplies measured constants; nothing in it was run but the first rows.
"""

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from datetime import date
from pathlib import Path

from crossray.app.commands.generate import set_config
from crossray.data.shards import read_manifest
from crossray.data.store import Store
from crossray.generation.driver import generate
from crossray.generation.engines import local

PAPER = 207_600
CLUSTERS = [(PAPER, 2), (PAPER, 64), (10**6, 64), (10**7, 512), (10**8, 4096)]


def timed(ct: Path, pairs: int, workers: int, out: Path, cache: Path) -> dict[str, float]:
    """One set: seconds of wall clock without the survey, and the largest worker."""
    config, since = set_config(ct, pairs, 2, 0, "clinical", "exact", 50), []

    def engine(work, tasks):
        since.append(time.perf_counter())
        yield from local(work, tasks, workers)

    generate(config, out, cache, engine, progress=True)
    seconds = time.perf_counter() - since[-1]
    shards = read_manifest(Store(out))["shards"]
    return {
        "workers": workers,
        "pairs": pairs,
        "seconds": seconds,
        "pairs_per_second": pairs / seconds,
        "bytes_per_pair": sum(shard["bytes"] for shard in shards) / pairs,
        "largest_worker_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ct", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch), Path(scratch) / "cache"
        timed(given.ct, 50, cores, folder / "warm-up", cache)  # cleans the CTs, compiles
        sets = {workers: folder / f"set-{workers}" for workers in sorted({1, cores})}
        rows = [timed(given.ct, given.pairs, *each, cache) for each in sets.items()]
        manifests = {(out / "manifest.json").read_bytes() for out in sets.values()}
    if len(manifests) > 1:
        raise SystemExit("The number of workers changed the bytes.")
    one, all_cores = rows[0], rows[-1]
    efficiency = all_cores["pairs_per_second"] / one["pairs_per_second"] / all_cores["workers"]
    for row in rows:
        print({name: round(value, 2) for name, value in row.items()})
    print(f"Efficiency from one to {cores} workers: {efficiency:.2f}")
    per_core = all_cores["pairs_per_second"] / all_cores["workers"]
    print("| pairs | cores | time | storage |\n|---|---|---|---|")
    for pairs, many in CLUSTERS:
        hours, size = pairs / per_core / many / 3600, pairs * one["bytes_per_pair"] / 1e9
        print(f"| {pairs:,} | {many} | {hours:.1f} h | {size:,.0f} GB |")
    if given.json:
        about = {
            "date": date.today().isoformat(),
            "machine": f"{cores} cores, {platform.machine()}",
        }
        given.json.write_text(
            json.dumps({**about, "rows": rows, "efficiency": efficiency}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
