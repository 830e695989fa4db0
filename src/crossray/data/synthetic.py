"""Endless training pairs from CTs and phantoms: sample i depends on i alone, whoever makes it."""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from crossray.data.augment import augment, cut_windows
from crossray.data.sample import SampleConfig, Source, lateral_cut, make_sample, prepare
from crossray.errors import InputError
from crossray.files import written_whole
from crossray.volumes.io import CtFile, list_cts, read_ct
from crossray.volumes.limbs import split_limbs
from crossray.volumes.phantom import phantom
from crossray.volumes.resample import crop
from crossray.volumes.table import body_box, remove_table
from crossray.volumes.volume import Volume

LIMBS = ("hand", "knee", "ankle")


@dataclass(frozen=True)
class SyntheticConfig:
    """Where training pairs come from.

    Args:
        ct: Folder of CTs; empty for phantoms alone. Where it proposes splits, only `split` is used.
        split: Which people of the folder.
        phantoms: How many phantoms join them.
        phantom_share: Share of samples drawn from phantoms, where there are CTs too.
        uniform_share: Share of samples with directions uniform on the sphere instead of clinical ones.
        inside_share: Share of samples whose field shrinks to keep a short volume's cut ends, which no film shows, out
            of view.
        distinct: Number of different poses; they come back with new appearance and flips. 0 draws endlessly.
        films: Render every view once on a film that holds all windows its offset allows, and cut a new window,
            whole patches apart, each time it is shown: many pairs a rendering, and none framed like another.
        shown: How many of a pose's views a sample shows, in any order; more views a pose make more pairs a rendering.
        strangers: Share of samples in which one view shows another volume and matches nothing, so that a matcher learns
            to say so; the poses that were kept serve any share, so it is no part of the repr.
        shards: Set made by `crossray generate` to train on; samples of its `split`, where it has splits.
        shards_share: Share of the samples taken from it; the others are made on the fly.
        split_limbs: Every limb of a CT is a volume of its own, and the edge of a neighbouring one is left out. Tests
            (`evaluation.protocol`) always show CTs whole, so that their scores compare.
        seed: Of everything drawn.
        sample: What a sample is.

    Raises:
        InputError: A negative seed.
    """

    ct: str = ""
    split: str = "train"
    phantoms: int = 12
    phantom_share: float = 0.3
    uniform_share: float = 0.0
    inside_share: float = 0.0
    distinct: int = 0
    films: bool = False
    shown: int = 2
    strangers: float = field(default=0.0, repr=False)
    shards: str = field(default="", repr=False)
    shards_share: float = field(default=1.0, repr=False)
    split_limbs: bool = False
    seed: int = 0
    sample: SampleConfig = field(default_factory=SampleConfig)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"data.seed={self.seed}: a seed is 0 or more.")


class SyntheticPairs(Dataset[dict[str, Tensor]]):
    """Samples on the fly, as `images` (view, row, column) and `correspondence` (view, view, patch, patch).

    Args:
        config: Where they come from.
        cache: Folder that keeps the volumes made ready and, with `distinct`, the poses rendered; None keeps nothing.

    Raises:
        InputError: A CT that cannot be read, no CT of the split and no phantom.
    """

    def __init__(self, config: SyntheticConfig, cache: Path | None = None) -> None:
        self.config = config
        self.cache = cache
        self._poses = (
            cache / f"poses-{_digest(config)}" if cache is not None and config.distinct else None
        )
        self._ready: dict[str, Source] = {}
        self._cts: dict[str, Callable[[], Volume]] = {}
        for file in training_files(config):
            name = _name(file.path, Path(config.ct))
            if not config.split_limbs:
                self._cts[name] = partial(clean_ct, file.path)
                continue
            for limb in range(len(clean_limbs(file.path))):
                self._cts[f"{name} limb {limb + 1}"] = partial(_clean_limb, file.path, limb)
        self._phantoms = phantom_names(config.phantoms)
        self.names = [*self._cts, *self._phantoms]
        if not self.names:
            raise InputError(
                f"{config.ct or 'The data'} gives no CT of split {config.split!r} and phantoms=0; "
                "give one or the other."
            )
        self.weights = self._weigh()

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        base, visit = index, 0
        if self.config.distinct:
            visit, place = divmod(index, self.config.distinct)
            base = place if visit == 0 else int(_order(self.config, visit)[place])
        return self.sample(base, visit)

    def sample(self, base: int, visit: int = 0) -> dict[str, Tensor]:
        """A pose as it is shown the first time (visit 0) or when it comes back."""
        lines, matrix = self.pose(base)
        rng = np.random.default_rng([self.config.seed, 2, base, visit])
        shown = torch.from_numpy(rng.permutation(len(lines))[: self.config.shown])
        lines, matrix = lines[shown], matrix.index_select(0, shown).index_select(1, shown)
        if self.config.strangers and rng.random() < self.config.strangers:
            lines[-1] = self.pose(self._stranger(base, rng))[0][0]
            matrix[-1], matrix[:, -1] = 0, 0
        if self.config.films:
            lines, matrix = cut_windows(lines, matrix, self.config.sample, rng)
        sample = augment(lines, matrix, rng, self.config.sample.thin, self.config.sample.look)
        sample["correspondence"] = sample["correspondence"].float() / 255
        return sample

    def pose(self, base: int) -> tuple[Tensor, Tensor]:
        """Line integrals (view, row, column) and truth of one drawn pose, to half precision and in 255ths."""
        kept = self._poses / f"{base:07d}.npz" if self._poses else None
        if kept is not None and kept.exists():
            with np.load(kept) as data:
                return torch.from_numpy(data["lines"]).float(), torch.from_numpy(data["matrix"])
        name, rng = self.drawn(base)
        sample = make_sample(self.source(name), int(rng.integers(2**62)), self._sample_config(rng))
        lines, matrix = sample.lines.half(), (sample.correspondence * 255).round().byte()
        if kept is not None:
            write_arrays(kept, lines=lines.numpy(), matrix=matrix.numpy())
        return lines.float(), matrix

    def drawn(self, base: int) -> tuple[str, np.random.Generator]:
        """The volume of a pose, and the source of the rest of its randomness."""
        rng = np.random.default_rng([self.config.seed, 0, base])
        return self.names[rng.choice(len(self.names), p=self.weights)], rng

    def _stranger(self, base: int, rng: np.random.Generator) -> int:
        """A pose of another volume; of the same one where a hundred draws find no other."""
        name, other = self.drawn(base)[0], base
        for _ in range(100):
            other = int(rng.integers(self.config.distinct or 2**31))
            if self.drawn(other)[0] != name:
                break
        return other

    def source(self, name: str) -> Source:
        """A CT or phantom made ready for sampling."""
        if name not in self._ready:
            self._ready[name] = prepare(self._volume(name), self.config.sample)
        return self._ready[name]

    def _sample_config(self, rng: np.random.Generator) -> SampleConfig:
        views, patch = self.config.sample.views, self.config.sample.patch
        drawn = rng.random()
        if drawn < self.config.uniform_share:
            views = replace(views, protocol="uniform")
        elif drawn < self.config.uniform_share + self.config.inside_share:
            views = replace(views, protocol="inside")
        if self.config.films:
            views = views.film(patch)
        return replace(self.config.sample, views=views)

    def _volume(self, name: str) -> Volume:
        make = self._cts.get(name, partial(named_phantom, name))
        kept = self.cache / "volumes" / f"{re.sub('[ /]', '_', name)}.npz" if self.cache else None
        return kept_volume(kept, name, make)

    def _weigh(self) -> np.ndarray:
        """Chance of each source: whole limbs count more than pieces of trunk cut on all sides."""
        cts = np.array([(1 - lateral_cut(self._volume(name))) ** 2 for name in self._cts])
        if not cts.any():  # cut on all sides, all of them
            cts = np.ones(len(cts))
        phantoms = np.ones(len(self._phantoms))
        share = self.config.phantom_share if len(cts) and len(phantoms) else float(len(cts) == 0)
        scaled = [
            part / part.sum() * s for part, s in ((cts, 1 - share), (phantoms, share)) if len(part)
        ]
        return np.concatenate(scaled)


def _name(path: Path, folder: Path) -> str:
    """What to call a CT of a folder, which may also be the CT itself."""
    return path.name if path == folder else path.relative_to(folder).as_posix()


def _digest(config: SyntheticConfig) -> str:
    """Tells the poses of one configuration and its CTs from those of another, however many there are and are shown."""
    cts = [(str(file.path), _bytes(file.path)) for file in training_files(config)]
    told = repr((replace(config, distinct=0, shown=0), cts))
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def _bytes(ct: Path) -> int:
    """Size of a file, or of a series in its folder."""
    files = ct.iterdir() if ct.is_dir() else [ct]
    return sum(file.stat().st_size for file in files)


@lru_cache(maxsize=4)
def _order(config: SyntheticConfig, visit: int) -> np.ndarray:
    """In which order the poses come back."""
    return np.random.default_rng([config.seed, 1, visit]).permutation(config.distinct)


def training_files(config: SyntheticConfig) -> list[CtFile]:
    """The CTs of the configuration's split; all of them where the folder proposes no splits."""
    if not config.ct:
        return []
    files = list_cts(Path(config.ct))
    if proposes_splits(files):
        files = [file for file in files if file.split == config.split]
    return files


def proposes_splits(files: Iterable[CtFile]) -> bool:
    """Whether the CTs of a folder say who is trained on and who is tested."""
    return any(file.split for file in files)


def phantom_names(count: int, first: int = 0) -> list[str]:
    """Names of phantoms of all limbs in turn, as `named_phantom` knows them, seeds from `first`."""
    return [f"phantom {LIMBS[i % len(LIMBS)]} {first + i // len(LIMBS)}" for i in range(count)]


def named_phantom(name: str) -> Volume:
    """The phantom called `phantom LIMB SEED`."""
    _, limb, seed = name.split()
    return phantom(limb, int(seed))


def clean_ct(path: Path) -> Volume:
    """A CT without couch, cut to the body."""
    volume = remove_table(read_ct(path))
    return crop(volume, body_box(volume))


def clean_limbs(path: Path) -> list[Volume]:
    """The limbs of a CT without couch, each cut to itself."""
    return split_limbs(remove_table(read_ct(path)))


def kept_volume(path: Path | None, name: str, make: Callable[[], Volume]) -> Volume:
    """A volume in whole HU, from the file it was kept in, or made and kept there; None keeps nothing.

    Whole, kept or not: one bone voxel more or less would draw other poses. A damaged file is made again.
    """
    if path is not None and path.exists():
        with (
            suppress(BadZipFile, EOFError, KeyError, ValueError, zlib.error),
            path.open("rb") as file,  # numpy leaves a damaged one open
            np.load(file) as data,
        ):
            hu = torch.from_numpy(data["hu"].astype(np.float32))
            return Volume(hu, torch.from_numpy(data["affine"]), name)
    volume = make()
    hu = volume.values.round().clamp(-32768, 32767)
    if path is not None:
        write_arrays(path, hu=hu.to(torch.int16).numpy(), affine=volume.world_from_voxel.numpy())
    return Volume(hu, volume.world_from_voxel, name)


def _clean_limb(path: Path, number: int) -> Volume:
    return clean_limbs(path)[number]


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Keep arrays in one compressed file."""
    with written_whole(path) as partial:
        np.savez_compressed(partial, **arrays)  # pyright: ignore[reportArgumentType]: no array is called allow_pickle
