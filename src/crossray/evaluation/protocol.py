"""The fixed tests: which samples, which slope pairs and which position prior belong to a set of volumes.

Everything is drawn from a seed, so that scores compare across versions and machines.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.correspondence import correspondence, patch_grid
from crossray.data.sample import Sample, SampleConfig, Source, make_sample, prepare
from crossray.data.synthetic import LIMBS, SyntheticConfig, clean_ct, training_files
from crossray.errors import InputError
from crossray.evaluation.slope import SlopePair
from crossray.geometry import Cameras, sample_cameras
from crossray.projection import project
from crossray.projection.appearance import sample_appearance
from crossray.volumes.io import list_cts
from crossray.volumes.phantom import phantom
from crossray.volumes.volume import Volume

UNSEEN = 1_000_000
"""Phantoms for tests have seeds from here on; training takes them from 0."""

_SPAN = 6  # patches the window of a slope pair slides over
_STEPS = 5
_THIN = 8  # rays per pixel hardly matter where only the truth is wanted


@dataclass(frozen=True)
class BenchVolume:
    """A volume to test on.

    Args:
        person: Whose it is.
        name: What to call it.
        load: Reads or makes it.
    """

    person: str
    name: str
    load: Callable[[], Volume]


def ct_volumes(folder: Path, split: str) -> list[BenchVolume]:
    """The CTs of a folder's split; all of them where the folder proposes no splits.

    Raises:
        InputError: No CT is left.
    """
    files = training_files(SyntheticConfig(ct=str(folder), split=split))
    if not files:
        splits = sorted({file.split for file in list_cts(folder) if file.split})
        raise InputError(f"{folder} has no CT of split {split!r}; its index.csv names {splits}.")
    return [
        BenchVolume(file.person, file.path.name, partial(clean_ct, file.path)) for file in files
    ]


def phantom_volumes(
    count: int, first: int = UNSEEN, limbs: Sequence[str] = LIMBS
) -> list[BenchVolume]:
    """Phantoms of all limbs in turn, each an imagined person of its own."""
    chosen = [(limbs[i % len(limbs)], first + i // len(limbs)) for i in range(count)]
    return [
        BenchVolume(f"{limb} {seed}", f"phantom {limb} {seed}", partial(phantom, limb, seed))
        for limb, seed in chosen
    ]


class Bench:
    """Volumes made ready for tests; each is loaded when first needed.

    Args:
        volumes: What to test on.
        config: What a sample is: protocol, definition, size.
    """

    def __init__(self, volumes: Sequence[BenchVolume], config: SampleConfig) -> None:
        self.volumes = list(volumes)
        self.config = config
        self._source = lru_cache(maxsize=16)(self._prepare)

    def samples(self, pairs: int, seed: int) -> Iterator[tuple[str, str, Sample]]:
        """Samples spread evenly over the volumes; sample i depends on seed, i and its volume alone."""
        for place, i in self._turns(pairs):
            volume = self.volumes[place]
            drawn = np.random.default_rng([seed, 0, i]).integers(2**62)
            yield (
                volume.person,
                volume.name,
                make_sample(self._source(place), int(drawn), self.config),
            )

    def truths(self, samples: int, seed: int) -> Iterator[Float[Tensor, "view view patch patch"]]:
        """True matrices alone, for a position prior: other samples than `samples` draws, in a fraction of the time."""
        config = replace(self.config, thin=_THIN)
        for place, i in self._turns(samples):
            drawn = np.random.default_rng([seed, 1, i]).integers(2**62)
            yield make_sample(self._source(place), int(drawn), config).correspondence

    def slope_pairs(self, pairs: int, seed: int) -> Iterator[SlopePair]:
        """Pairs whose second window slides along the limb by six patches, over pixels rendered for it."""
        for place, i in self._turns(pairs):
            rng = np.random.default_rng([seed, 2, i])
            volume = self.volumes[place]
            yield slope_pair(
                self._source(place), rng, self.config, volume.person, f"{volume.name}, {i}"
            )

    def _turns(self, count: int) -> Iterator[tuple[int, int]]:
        """(volume, number) for every number below `count`, one volume after the other."""
        for place in range(len(self.volumes)):
            for i in range(place, count, len(self.volumes)):
                yield place, i

    def _prepare(self, place: int) -> Source:
        return prepare(self.volumes[place].load(), self.config)


def slope_pair(
    source: Source, rng: np.random.Generator, config: SampleConfig, person: str, name: str
) -> SlopePair:
    """A fixed view and a taller second view of the same limb, with the truth of every window.

    The windows keep within the limb's cut ends where the limb is long enough for that.
    """
    size, span = config.views.size, _SPAN * config.patch
    low, high = source.reach_mm
    spare = (high - low) / 2 * (1 - size[0] / (size[0] + span))
    isocenter = torch.from_numpy(source.anchors[rng.integers(len(source.anchors))])
    cameras = sample_cameras(rng, isocenter, config.views, (low + spare, high - spare))[[0, 1]]
    tall = cameras[1].crop(-span / 2, 0, (size[0] + span, size[1]))
    offsets = tuple(round(span * step / (_STEPS - 1)) for step in range(_STEPS))

    @cache  # several matchers are asked about the same windows
    def truth_at(start: int) -> Float[Tensor, "2 2 patch patch"]:
        window = tall.crop(start, 0, size)
        both = Cameras.stack([cameras[0], window])
        return correspondence(source.truth, both, config.patch, config.definition, itself=False)

    fixed, wide = (
        sample_appearance(rng)(project(source.attenuation, camera)[0])
        for camera in (cameras[0], tall)
    )
    grid = patch_grid(size, config.patch)
    return SlopePair(person, fixed, wide, offsets, truth_at, name, grid)
