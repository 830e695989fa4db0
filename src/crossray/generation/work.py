"""A worker's part: one shard, from its volume to a committed file."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from crossray.correspondence.patches import POSITIVE_ABOVE
from crossray.data.sample import Sample, Source, make_sample, prepare
from crossray.data.shards import encode, write_shard
from crossray.data.store import Store
from crossray.errors import InputError
from crossray.generation.plan import (
    GenerationConfig,
    Plan,
    PlannedShard,
    PlannedVolume,
    load,
    one_thread,
)

Record = dict[str, Any]
"""What the manifest says of a shard."""


@one_thread()
def make_shard(plan: Plan, shard: PlannedShard, url: str, cache: Path) -> Record:
    """Make a shard and commit it: first the file, which appears whole, then its record, which means that it is done.

    Args:
        plan: The set.
        shard: Which of its shards.
        url: Where the set goes.
        cache: Folder for cleaned volumes.

    Returns:
        Its record: name, volume, person, split, samples, bytes, sha256, and means over its samples.

    Raises:
        InputError: A CT that is another than when the set was begun, or cannot be read; another version of crossray.
        OSError: The set's folder is full or lost.
    """
    if version("crossray") != plan.code:
        raise InputError(
            f"A worker has crossray {version('crossray')} and the set {plan.code}; give all one version."
        )
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

    try:
        with store.written(shard.name, once=True) as partial:
            checksum, size = write_shard(partial, samples()), partial.stat().st_size
    except FileExistsError:  # another worker's came first
        content = store.read(shard.name) or b""
        checksum, size = hashlib.sha256(content).hexdigest(), len(content)
    record = {
        "name": shard.name, "volume": volume.name, "person": volume.person, "split": volume.split,
        "first": shard.first, "samples": shard.samples, "bytes": size, "sha256": checksum,
        **{name: round(total / shard.samples, 6) for name, total in totals.items()},
    }  # fmt: skip
    store.write(_record_name(shard.name), json.dumps(record, sort_keys=True).encode())
    return record


def read_record(shard: str, store: Store) -> Record:
    """The record of a shard by its name; empty where there is none, or half of one."""
    try:
        return json.loads(store.read(_record_name(shard)) or b"{}")
    except ValueError:
        return {}


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
