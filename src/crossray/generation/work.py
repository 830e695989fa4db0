"""A worker's part: one shard, from its volume to a committed file."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
import torch

from crossray.correspondence.patches import POSITIVE_ABOVE
from crossray.data.sample import Sample, Source, make_sample, prepare
from crossray.data.shards import encode, write_shard
from crossray.data.store import Store
from crossray.generation.plan import GenerationConfig, Plan, PlannedShard, PlannedVolume, load

Record = dict[str, Any]
"""What the manifest says of a shard."""


def make_shard(plan: Plan, shard: PlannedShard, url: str, cache: Path) -> Record:
    """Make a shard and commit it: first its record, then the file, which appears whole and means that it is done.

    Args:
        plan: The set.
        shard: Which of its shards.
        url: Where the set goes.
        cache: Folder for cleaned volumes.

    Returns:
        Its record: name, volume, person, split, samples, bytes, sha256, and means over its samples.

    Raises:
        InputError: A CT that is another than when the set was begun, or cannot be read.
        OSError: The set's folder is full or lost.
    """
    torch.set_num_threads(1)  # workers share the cores, and bytes must not depend on threads
    numba.set_num_threads(1)
    volume, store = plan.volumes[shard.volume], Store(url)
    source = _source(volume, plan.config, cache)
    totals = {"positive": 0.0, "grey": 0.0}

    def samples() -> Iterator[tuple[str, dict[str, bytes]]]:
        for number in range(shard.first, shard.first + shard.samples):
            sample = make_sample(source, plan.seed(number), plan.config.sample)
            totals["positive"] += _positive(sample)
            totals["grey"] += float(sample.images.mean())
            about = {
                "volume": asdict(volume), "sample": number, "seed": plan.seed(number), "code": plan.code,
                "looks": [asdict(look) for look in sample.looks],
            }  # fmt: skip
            yield f"{number:09d}", encode(sample, about)

    with store.written(shard.name, once=True) as partial:
        checksum = write_shard(partial, samples())
        record = {
            "name": shard.name, "volume": volume.name, "person": volume.person, "split": volume.split,
            "first": shard.first, "samples": shard.samples, "bytes": partial.stat().st_size, "sha256": checksum,
            **{name: round(total / shard.samples, 6) for name, total in totals.items()},
        }  # fmt: skip
        store.write(_record_name(shard.name), json.dumps(record, sort_keys=True).encode())
    return record


def read_record(shard: str, store: Store) -> Record:
    """The record of a shard by its name; empty where there is none."""
    return json.loads(store.read(_record_name(shard)) or b"{}")


def _record_name(shard: str) -> str:
    return shard.removesuffix(".tar") + ".json"


@lru_cache(maxsize=1)
def _source(volume: PlannedVolume, config: GenerationConfig, cache: Path) -> Source:
    """A planned volume made ready; one at a time, as shards come volume by volume."""
    return prepare(load(volume, config, cache), config.sample)


def _positive(sample: Sample) -> float:
    """Share of the pairs of patches of two views that match."""
    views = len(sample.correspondence)
    return float((sample.correspondence > POSITIVE_ABOVE).float().mean()) * views / (views - 1)
