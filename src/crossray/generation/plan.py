"""What a set will hold, settled before its first sample: which CTs are sound, and whose samples each shard takes.

A shard holds one volume's samples, so a worker holds one volume, no person's samples lie in two splits, and a killed
shard costs nobody else's work.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from crossray.data.sample import SampleConfig, lateral_cut
from crossray.data.synthetic import clean_ct, kept_volume, named_phantom, phantom_names
from crossray.errors import InputError
from crossray.files import sha256
from crossray.volumes.io import CtFile, list_cts
from crossray.volumes.volume import Volume

PLAN, SHARDS = "plan.json", "shards"


@dataclass(frozen=True)
class GenerationConfig:
    """What is asked for; with the CTs and the version of crossray it decides every byte of the set.

    Args:
        ct: Folder or index of CTs; empty for phantoms.
        phantoms: How many phantoms, where there are no CTs.
        samples: Number of samples.
        seed: Of everything drawn.
        shard: Samples per shard; the last one of a volume may hold fewer.
        sample: What a sample is.
    """

    ct: str = ""
    phantoms: int = 12
    samples: int = 1000
    seed: int = 0
    shard: int = 250
    sample: SampleConfig = field(default_factory=SampleConfig)


@dataclass(frozen=True)
class PlannedVolume:
    """A volume of the set.

    Args:
        name: Its file below the folder of CTs, or the phantom's name.
        person: Whose it is.
        split: Of the person, where the collection proposes one.
        terms: Its licence, in words.
        sha256: Of its file or files; of a phantom's name.
        weight: How often it is drawn; whole limbs more often than pieces of trunk cut on all sides.
    """

    name: str
    person: str
    split: str | None
    terms: str | None
    sha256: str
    weight: float


@dataclass(frozen=True)
class PlannedShard:
    """A shard of the set: samples `first` to `first + samples - 1`, all of volume number `volume`."""

    name: str
    volume: int
    first: int
    samples: int


@dataclass(frozen=True)
class Plan:
    """The whole set, before it is made.

    Args:
        config: What was asked for.
        volumes: The sound volumes.
        refused: The others by name, and why.
        code: Version of crossray.
    """

    config: GenerationConfig
    volumes: tuple[PlannedVolume, ...]
    refused: dict[str, str]
    code: str = version("crossray")

    def shards(self) -> Iterator[PlannedShard]:
        """All shards, volume by volume."""
        number, first = 0, 0
        for volume, count in enumerate(_shared_out(self.config.samples, self.volumes)):
            for start in range(0, count, self.config.shard):
                samples = min(self.config.shard, count - start)
                yield PlannedShard(f"{SHARDS}/{number:06d}.tar", volume, first, samples)
                number, first = number + 1, first + samples

    def seed(self, sample: int) -> int:
        """What `make_sample` draws a sample from."""
        return int(np.random.default_rng([self.config.seed, sample]).integers(2**62))

    def to_json(self) -> str:
        """The plan as JSON; it does not say where the CTs lie, which changes nothing."""
        config = {**asdict(self.config), "ct": Path(self.config.ct).name}
        return json.dumps({**asdict(self), "config": config}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def resumed(cls, text: str, config: GenerationConfig, where: str) -> "Plan":
        """The plan of a set that was begun.

        Args:
            text: What `to_json` wrote.
            config: What is asked for now.
            where: The set, for the message.

        Raises:
            InputError: Another set was begun there, or by another version.
        """
        try:
            tree = json.loads(text)
            volumes = tuple(PlannedVolume(**each) for each in tree["volumes"])
            plan = cls(config, volumes, tree["refused"])
            old, new = _leaves(tree), _leaves(json.loads(plan.to_json()))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{where}/{PLAN} is no plan of a set; generate into another folder."
            ) from error
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                raise InputError(
                    f"{where} holds another set ({name}: {old.get(name)}, now {new.get(name)}); "
                    "give the command it was begun with, or another folder."
                )
        return plan


def planned(
    config: GenerationConfig, survey: Sequence[tuple[PlannedVolume, str | None]], where: str
) -> Plan:
    """The plan of a set.

    Args:
        config: What is asked for.
        survey: Every volume, and why it is refused where it is.
        where: The CTs, for the message.

    Raises:
        InputError: Fewer than one sample, one a shard or two views, one CT under two people, no sound CT.
    """
    if min(config.samples, config.shard) < 1:
        raise InputError(
            f"{config.samples} samples in shards of {config.shard}; ask for one or more of each."
        )
    if config.sample.views.views < 2:
        raise InputError("A sample needs two views or more; one matches nothing.")
    refused = {volume.name: reason for volume, reason in survey if reason}
    sound = tuple(volume for volume, reason in survey if not reason)
    owners: dict[str, PlannedVolume] = {}
    for volume in sound:
        twin = owners.setdefault(volume.sha256, volume)
        if twin.person != volume.person or twin.split != volume.split:
            raise InputError(
                f"{twin.name} and {volume.name} of {where} are one CT under two people or splits; "
                "a person tested on must not be trained on, so unlist one of them."
            )
    if not sound:
        raise InputError(
            f"{where} holds no sound CT ({next(iter(refused.values()), 'it is empty')})."
        )
    if not any(volume.weight for volume in sound):  # cut on all sides, all of them
        sound = tuple(replace(volume, weight=1.0) for volume in sound)
    return Plan(config, sound, refused)


def candidates(config: GenerationConfig) -> list[CtFile]:
    """The CTs to look at; where there are none, the phantoms, as files that do not exist."""
    if config.ct:
        return list_cts(config.ct)
    names = phantom_names(config.phantoms)
    return [CtFile(Path(name), name, terms="Apache-2.0") for name in names]


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, one thread: workers share the cores, and bytes must not depend on how many threads one has."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


@one_thread()
def surveyed(
    file: CtFile, config: GenerationConfig, cache: Path
) -> tuple[PlannedVolume, str | None]:
    """A candidate looked at: its place in the plan, and why it is refused where it is."""
    name = Path(os.path.relpath(file.path, _base(config))).as_posix()
    volume = PlannedVolume(name, file.person, file.split, file.terms, "", 0.0)
    try:
        volume = replace(volume, sha256=_checksum(volume, config))
        return replace(volume, weight=(1 - lateral_cut(load(volume, config, cache))) ** 2), None
    except (InputError, PermissionError) as error:
        return volume, str(error)


def load(volume: PlannedVolume, config: GenerationConfig, cache: Path) -> Volume:
    """A planned volume without couch, cut to the body; kept in `cache` by its checksum.

    Raises:
        InputError: A CT that cannot be read, or is another than when the set was begun.
    """

    def make() -> Volume:
        if not config.ct:
            return named_phantom(volume.name)
        if _checksum(volume, config) != volume.sha256:
            raise InputError(
                f"{volume.name} is another file than when the set was begun; put the former one back."
            )
        return clean_ct(_base(config) / volume.name)

    return kept_volume(cache / version("crossray") / f"{volume.sha256}.npz", volume.name, make)


@lru_cache(maxsize=4)
def _base(config: GenerationConfig) -> Path:
    """What the names of CTs are relative to."""
    ct = Path(config.ct)
    alone = bool(config.ct) and (ct.suffix == ".csv" or list_cts(ct)[0].path == ct)
    return ct.parent if alone else ct


def _checksum(volume: PlannedVolume, config: GenerationConfig) -> str:
    """SHA-256 of a file, of the files of a folder in order, or of a phantom's name."""
    if not config.ct:
        return hashlib.sha256(volume.name.encode()).hexdigest()
    path = _base(config) / volume.name
    if path.is_file():
        return sha256(path)
    parts = sorted(file for file in path.iterdir() if file.is_file())
    return hashlib.sha256("".join(map(sha256, parts)).encode()).hexdigest()


def _shared_out(samples: int, volumes: Sequence[PlannedVolume]) -> list[int]:
    """Samples of each volume in proportion to its weight, by largest remainder."""
    weights = np.array([volume.weight for volume in volumes])
    exact = samples * weights / weights.sum()
    counts = np.floor(exact).astype(int)
    short = samples - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:short]] += 1
    return counts.tolist()


def _leaves(tree: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {name: tree}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _leaves(value, f"{name}.{key}" if name else key)
    return found
