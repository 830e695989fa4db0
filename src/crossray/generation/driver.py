"""From a command to a finished set; the same command begins, continues and finds finished."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm.auto import tqdm

from crossray.data.shards import MANIFEST
from crossray.data.store import Store
from crossray.errors import InputError
from crossray.files import PARTIAL
from crossray.generation.engines import Engine
from crossray.generation.plan import (
    PLAN,
    SHARDS,
    GenerationConfig,
    Plan,
    PlannedShard,
    candidates,
    planned,
    surveyed,
)
from crossray.generation.summary import summarise
from crossray.generation.work import make_shard, read_record


@dataclass(frozen=True)
class GenerationReport:
    """How a generation ended.

    Args:
        url: The set.
        samples: How many it holds.
        shards: In how many shards.
        made: Shards made this time.
        refused: CTs left out, and why.
    """

    url: str
    samples: int
    shards: int
    made: int
    refused: dict[str, str]

    def __str__(self) -> str:
        new = f"{self.made} of them new" if self.made else "all there before"
        return f"{self.url} is complete: {self.samples} samples in {self.shards} shards, {new}."


def generate(
    config: GenerationConfig,
    url: str | Path,
    cache: Path,
    engine: Engine,
    *,
    progress: bool = False,
) -> GenerationReport:
    """Make a set of samples, or go on making it.

    Args:
        config: The set.
        url: Folder for it, here or in an object store.
        cache: Folder for cleaned volumes, on every machine that works.
        engine: Who does the work.
        progress: Whether to show a bar.

    Raises:
        InputError: No sound CT, another set at `url`, or a store that is full or lost; what is made stays, and the same
            call goes on.
    """
    store = Store(url)
    try:
        plan = _plan(config, store, cache, engine, progress)
        shards = list(plan.shards())
        left = _left(shards, store)
        with _bar(config.samples, "generate", "sample", progress) as bar:
            bar.update(config.samples - sum(shard.samples for shard in left))
            work = partial(make_shard, plan, url=str(store.local or store.url), cache=cache)
            for record in engine(work, left) if left else ():
                bar.update(record["samples"])
        _sweep(store)  # what a machine that died on the way left
        if left or store.read(MANIFEST) is None:
            summarise(plan, [read_record(shard.name, store) for shard in shards], store)
    except OSError as error:
        raise InputError(
            f"{url} or the CTs cannot be used ({error}); what is made stays: mend it, and give the same command again."
        ) from error
    return GenerationReport(str(url), config.samples, len(shards), len(left), plan.refused)


def _plan(
    config: GenerationConfig, store: Store, cache: Path, engine: Engine, progress: bool
) -> Plan:
    """The plan that the set was begun with, or a new one."""
    kept = store.read(PLAN)
    if kept is not None:
        return Plan.resumed(kept.decode(), config, store.url)
    if others := store.sizes(""):
        raise InputError(
            f"{store.url} holds other files, such as {min(others)}; give an empty or a new folder for the set."
        )
    files = candidates(config)
    survey = []
    with _bar(len(files), "look at CTs", "CT", progress) as bar:
        for result in engine(partial(surveyed, config=config, cache=cache), files):
            survey.append(result)
            bar.update()
    survey.sort(key=lambda looked_at: looked_at[0].name)
    plan = planned(config, survey, config.ct or "The phantoms")
    store.write(PLAN, plan.to_json().encode())
    return plan


def _sweep(store: Store) -> None:
    """Take away what was left half written; nobody may be writing."""
    if store.local is not None:
        for folder in (store.local, store.local / SHARDS):
            for half_written in folder.glob(PARTIAL):
                half_written.unlink(missing_ok=True)


def _left(shards: list[PlannedShard], store: Store) -> list[PlannedShard]:
    """The shards still to make. What killed workers left half written goes, and what is not as its record says."""
    _sweep(store)
    sizes, left = store.sizes(SHARDS), []
    for shard in shards:
        size = sizes.get(Path(shard.name).name)
        recorded = None if size is None else read_record(shard.name, store).get("bytes")
        if size is not None and recorded not in (None, size):
            store.delete(shard.name)
        if size is None or size != recorded:
            left.append(shard)
    return left


def _bar(total: int, words: str, unit: str, progress: bool) -> tqdm:
    return tqdm(total=total, desc=words, unit=unit, disable=not progress, smoothing=0.05)
