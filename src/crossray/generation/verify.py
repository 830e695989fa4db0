"""Prove a finished set: every shard there, unchanged, and every sample whole."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm.auto import tqdm

from crossray.data.shards import members_of, read_manifest, read_sample
from crossray.data.store import Store
from crossray.errors import InputError
from crossray.files import sha256
from crossray.generation.plan import SHARDS
from crossray.generation.work import Record


def verify(url: str | Path, *, progress: bool = False) -> list[str]:
    """What is wrong with a set, a sentence each; nothing where it is as it was made.

    Every shard's size and SHA-256 are compared with the manifest, and every sample is decoded.

    Raises:
        InputError: No finished set there, or it cannot be reached.
    """
    try:
        return _all_problems(Store(url), progress)
    except OSError as error:
        raise InputError(
            f"{url} cannot be read ({error}); give the folder or URL of a set."
        ) from error


def _all_problems(store: Store, progress: bool) -> list[str]:
    records = read_manifest(store)["shards"]
    problems = []
    for record in tqdm(records, desc="verify", unit="shard", disable=not progress):
        problems += _problems(record, store)
    known = {Path(record["name"]).name for record in records}
    found = {name for name in store.sizes(SHARDS) if name.endswith(".tar")}
    problems += [f"{SHARDS}/{name} is in no manifest." for name in sorted(found - known)]
    people: dict[str, str | None] = {}
    for record in records:
        if people.setdefault(record["person"], record["split"]) != record["split"]:
            problems.append(f"{record['person']} is in two splits.")
    return problems


def _problems(record: Record, store: Store) -> Iterator[str]:
    name = record["name"]
    with tempfile.TemporaryDirectory() as scratch:
        try:
            path = store.fetched(name, Path(scratch))
            size = path.stat().st_size
        except OSError as error:
            yield f"{name} cannot be read ({error})."
            return
        if size != record["bytes"]:
            yield f"{name} has {size} bytes instead of {record['bytes']}."
            return
        if sha256(path) != record["sha256"]:
            yield f"{name} was changed: its SHA-256 is not the manifest's."
            return
        try:
            held = len(members_of(path))
            sound = all(_sound(read_sample(path, number)) for number in range(held))
        except ValueError as error:
            yield f"{name}: {error}."
            return
        if held != record["samples"] or not sound:
            yield f"{name} holds {held} samples instead of {record['samples']}, or values out of [0, 1]."


def _sound(sample: dict[str, torch.Tensor]) -> bool:
    return all(0 <= low <= high <= 1 for low, high in map(torch.aminmax, sample.values()))
