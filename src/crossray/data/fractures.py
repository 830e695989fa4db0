"""Endless studies with and without a simulated fracture: study i depends on i alone, whoever makes it.

Studies come in twins. Both of a pair show the same place of the same bone, from the same cameras and in the same looks;
only in the second it is broken. Nothing but the fracture tells them apart.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from crossray.data.lesions import broken_lines, lesion_views
from crossray.data.sample import SampleConfig, enlarge, prepare, project_thin
from crossray.data.synthetic import (
    SyntheticConfig,
    clean_ct,
    kept_volume,
    named_phantom,
    phantom_names,
    training_files,
    write_arrays,
)
from crossray.errors import InputError
from crossray.geometry import sample_cameras
from crossray.projection.appearance import sample_appearance
from crossray.volumes.fracture import (
    Bones,
    FractureConfig,
    Site,
    apply_fracture,
    draw_fracture,
    find_bones,
    on_grids,
)
from crossray.volumes.volume import Volume

_OTHERS = 100  # volumes drawn at most until one has a long bone


@dataclass(frozen=True)
class FractureSampling:
    """Where studies come from.

    Args:
        ct: Folder of CTs; empty for phantoms alone. Where it proposes splits, only `split` is used.
        split: Which people of the folder.
        persons: Only these of them; empty for all. A phantom is a person of its own.
        phantoms: How many phantoms join them.
        first_phantom: Seed of the first; tests and trainings take other ones.
        phantom_share: Share of studies of phantoms, where there are CTs too.
        distinct: Number of different twins; they come back with new appearances. 0 draws endlessly.
        seed: Of everything drawn.
        fracture: Which fractures.
        sample: Views, energy, fading of cut ends, rays per pixel and look of the images; it has no truth of patches.
    """

    ct: str = ""
    split: str = "train"
    persons: tuple[str, ...] = ()
    phantoms: int = 12
    first_phantom: int = 0
    phantom_share: float = 0.3
    distinct: int = 0
    seed: int = 0
    fracture: FractureConfig = field(default_factory=FractureConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)


@dataclass(frozen=True, eq=False)
class Twin:
    """One twin before it is given a look.

    Args:
        lines: Line integrals, (view, row / thin, column / thin).
        boxes: Of the fracture, as in `LesionViews`, in pixels; no area where there is none.
        visibility: How well each view shows it; 0 where there is none.
        person: Whose bone it is.
    """

    lines: Float[Tensor, "view row column"]
    boxes: Float[Tensor, "view 4"]
    visibility: Float[Tensor, " view"]
    person: str


class FracturePairs(Dataset[dict[str, Any]]):
    """Studies on the fly: 2k shows an intact bone, 2k + 1 the same with a fracture.

    Each is a dictionary: `images` (view, row, column) in [0, 1]; `label`, 0 or 1; `boxes` (view, 4) and `visibility`
    (view,) of the fracture, as in `LesionViews`; `person`.

    Args:
        config: Where they come from.
        cache: Folder that keeps volumes, their bones and, with `distinct`, the line integrals; None keeps nothing.

    Raises:
        InputError: A CT that cannot be read, or nobody left.
    """

    def __init__(self, config: FractureSampling, cache: Path | None = None) -> None:
        self.config, self.cache = config, cache
        self._makers: dict[str, Callable[[], Volume]] = {}
        self.persons: dict[str, str] = {}
        chosen = SyntheticConfig(ct=config.ct, split=config.split)
        for file in training_files(chosen):
            self._add(file.path.name, file.person, partial(clean_ct, file.path))
        self._cts = len(self.persons)
        for name in phantom_names(config.phantoms, config.first_phantom):
            self._add(name, name, partial(named_phantom, name))
        if not self.persons:
            raise InputError(
                f"{config.ct or 'The data'} gives no CT of split {config.split!r} and these persons, and there is no "
                "phantom; name others, or set phantoms."
            )
        self._bones: dict[str, Bones | None] = {}
        self._before = -1, torch.empty(0)  # the last draw and its intact lines, for the second twin
        kept = replace(config, distinct=0)
        digest = hashlib.sha256(repr(kept).encode()).hexdigest()[:8]
        self._kept = cache / f"fractures-{digest}" if cache and config.distinct else None

    def __len__(self) -> int:
        """Studies until they come back; without `distinct` there is no end, and a sampler must say when."""
        return 2 * self.config.distinct or 2**31

    def __getitem__(self, index: int) -> dict[str, Any]:
        draw, label = divmod(index, 2)
        visit, place = divmod(draw, self.config.distinct) if self.config.distinct else (0, draw)
        study = self.study(place, broken=bool(label))
        rng = np.random.default_rng([self.config.seed, 5, place, visit])
        looks = [sample_appearance(rng, look=self.config.sample.look) for _ in study.lines]
        images = [look(view) for look, view in zip(looks, study.lines, strict=True)]
        return {
            "images": enlarge(torch.stack(images), self.config.sample.thin),
            "label": label,
            "boxes": study.boxes,
            "visibility": study.visibility,
            "person": study.person,
        }

    def study(self, draw: int, *, broken: bool) -> Twin:
        """One of the twins of a draw."""
        kept = self._kept / f"{draw:07d}-{int(broken)}.npz" if self._kept else None
        if kept is not None and kept.exists():
            with np.load(kept) as data:
                lines, boxes, visibility = (torch.from_numpy(data[n]) for n in _ARRAYS)
                return Twin(lines.float(), boxes, visibility, str(data["person"]))
        study = self._made(draw, broken)
        lines = study.lines.half()  # kept or not, the same
        if kept is not None:
            arrays = (lines, study.boxes, study.visibility)
            named = {n: array.numpy() for n, array in zip(_ARRAYS, arrays, strict=True)}
            write_arrays(kept, **named, person=np.array(study.person))
        return replace(study, lines=lines.float())

    def _made(self, draw: int, broken: bool) -> Twin:
        name, bones, rng = self.drawn(draw)
        sample, person = self.config.sample, self.persons[name]
        fracture = draw_fracture(rng, bones, self.config.fracture)
        cameras = sample_cameras(rng, torch.tensor(fracture.center).double(), sample.views)
        if self._before[0] != draw:
            attenuation = bones.volume.attenuation(sample.kev)
            self._before = draw, project_thin(attenuation, cameras, sample.thin)
        before, views = self._before[1], len(cameras)
        if not broken:
            return Twin(before, torch.zeros(views, 4), torch.zeros(views), person)
        found = apply_fracture(bones, fracture)
        coarse = cameras.regrid((before.shape[1], before.shape[2]))
        after = broken_lines(found, before, coarse, sample.kev)
        lesion = lesion_views(found, before, after, coarse)
        return Twin(after, lesion.boxes * sample.thin, lesion.visibility, person)

    def drawn(self, draw: int) -> tuple[str, Bones, np.random.Generator]:
        """The volume of a draw, its bones, and the source of the rest of its randomness.

        Raises:
            InputError: No volume has a long bone.
        """
        rng = np.random.default_rng([self.config.seed, 4, draw])
        names = list(self.persons)
        parts = names[: self._cts], names[self._cts :]
        for _ in range(_OTHERS):
            phantoms = not parts[0] or (parts[1] and rng.random() < self.config.phantom_share)
            some = parts[1] if phantoms else parts[0]
            name = some[rng.integers(len(some))]
            bones = self.bones(name)
            if bones is not None:
                return name, bones, rng
        raise InputError(
            f"None of {len(names)} volumes holds a long bone that could break; add CTs of limbs, or phantoms."
        )

    def bones(self, name: str) -> Bones | None:
        """A volume made ready for breaking; None where it has no long bone."""
        if name not in self._bones:
            self._bones[name] = self._found(name)
        return self._bones[name]

    def _found(self, name: str) -> Bones | None:
        spacing, safe = self.config.fracture.spacing_mm, name.replace(" ", "_")
        folder = self.cache / "volumes" if self.cache else None
        volume = kept_volume(folder and folder / f"{safe}.npz", name, self._makers[name])
        volume = prepare(volume, self.config.sample).volume
        kept = folder and folder / f"{safe}-bones-{spacing:g}-{self.config.sample.fade_mm:g}.npz"
        if kept is not None and kept.exists():
            with np.load(kept) as data:
                sites = tuple(Site.from_row(row) for row in data["sites"])
                labels = torch.from_numpy(data["labels"])
            return Bones(*on_grids(volume, spacing), labels, sites) if sites else None
        try:
            bones = find_bones(volume, spacing)
        except InputError:
            bones = None
        if kept is not None:
            sites = [] if bones is None else [site.row for site in bones.sites]
            labels = np.zeros((0, 0, 0), np.int16) if bones is None else bones.labels.numpy()
            write_arrays(kept, labels=labels, sites=np.array(sites))
        return bones

    def _add(self, name: str, person: str, make: Callable[[], Volume]) -> None:
        if not self.config.persons or person in self.config.persons:
            self.persons[name], self._makers[name] = person, make


_ARRAYS = ("lines", "boxes", "visibility")
