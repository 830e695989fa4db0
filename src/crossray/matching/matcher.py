"""The matcher as one uses it: films in, `Matches` out."""

import time
from collections.abc import Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossray.data.radiographs import Radiograph, read_radiograph
from crossray.errors import InputError
from crossray.evaluation.calibration import Calibration
from crossray.matching.matches import Matches
from crossray.matching.preprocess import fit_film
from crossray.models.matcher import MatcherNetwork
from crossray.models.storage import load_network

BUNDLED = {"matcher": ("small",), "classifier": ("graz",)}
"""Weights that come with the package, by kind and name."""

MOST_VIEWS = 6
"""Films of one limb a study holds at most; more are most likely a mistake."""

MOST_PATCHES = 64
"""Patches along a side at most: a matrix between two views then takes 67 MB."""

Film = str | Path | Radiograph | Tensor | np.ndarray
"""A file, a radiograph that was read, or its grey values (row, column), bone bright."""


class Matcher:
    """A network together with what its films must go through.

    Args:
        network: The network, in evaluation mode.
        name: What to call its weights.
        metadata: Words kept with the weights.
    """

    def __init__(
        self, network: MatcherNetwork, name: str = "matcher", metadata: dict[str, str] | None = None
    ) -> None:
        self.network = network.eval()
        self.name = name
        self.metadata = metadata or {}

    @cached_property
    def calibration(self) -> Calibration | None:
        """What the values of these weights are worth; None where it was never measured.

        Raises:
            InputError: Words in the weights that are no calibration.
        """
        kept = self.metadata.get("calibration")
        return None if kept is None else Calibration.from_json(kept)

    @classmethod
    def load(cls, weights: str | Path = "small") -> "Matcher":
        """Load weights that come with the package, by name, or from a safetensors file.

        Raises:
            InputError: No such weights, or a file that holds no matcher. A pickle is never loaded.
        """
        path = weights_path(weights)
        try:
            network, metadata = load_network(path)
        except ValueError as error:
            raise InputError(str(error)) from error
        return cls(network, name=path.stem, metadata=metadata)

    def match(self, films: Sequence[Film], grid: tuple[int, int] | None = None) -> Matches:
        """Find what matches what between two to six films of the same limb.

        Args:
            films: Files, radiographs, or arrays (row, column) of grey values with bone bright; one a view.
            grid: Rows and columns of patches, for all views; None is what the network was trained on. A narrow grid
                wastes no time beside narrow films, a fine one cuts finer patches; other grids than the trained one
                were never scored, and their values have no calibration.

        Returns:
            The matches, in the pixels of the films given.

        Raises:
            InputError: Fewer than two or more than six films, a film that cannot be read or used, or a grid that
                does not fit the network.
        """
        if not 2 <= len(films) <= MOST_VIEWS:
            raise InputError(
                f"Matching needs 2 to {MOST_VIEWS} views of one limb and got {len(films)};"
                " give one image file a view, for example AP.png LAT.dcm."
            )
        radiographs = [as_radiograph(film, number) for number, film in enumerate(films)]
        start = time.perf_counter()
        form = self.network.config
        grid = form.patches if grid is None else self._checked(grid)
        size = (grid[0] * form.patch, grid[1] * form.patch)
        fitted = [fit_film(radiograph.pixels, size, radiograph.name) for radiograph in radiographs]
        correspondence = self._correspondence(
            torch.stack([film.image for film in fitted]),
            torch.stack([film.seen_patches(grid) for film in fitted]),
        )
        return Matches(
            correspondence=correspondence,
            grid=grid,
            fields=tuple(film.field for film in fitted),
            images=tuple(radiograph.pixels for radiograph in radiographs),
            names=distinct([radiograph.name for radiograph in radiographs]),
            weights=self.name,
            seconds=time.perf_counter() - start,
            calibration=self.calibration if grid == form.patches else None,
        )

    def _checked(self, grid: tuple[int, int]) -> tuple[int, int]:
        step = self.network.config.token_stride
        if any(not 0 < side <= MOST_PATCHES or side % step for side in grid):
            raise InputError(
                f"A grid of {grid[0]} x {grid[1]} patches does not fit {self.name}; "
                f"give multiples of {step} from {step} to {MOST_PATCHES}."
            )
        return grid

    @torch.no_grad()
    def _correspondence(
        self, images: Float[Tensor, "view row column"], seen: Bool[Tensor, "view patch"]
    ) -> Float[Tensor, "view view patch patch"]:
        """The network's answer on the CPU; patches that show nothing are not looked at."""
        device = next(self.network.parameters()).device
        matrix = self.network(images[None].to(device), seen[None].to(device))
        return matrix[0].float().cpu()


def weights_path(weights: str | Path, kind: str = "matcher") -> Path:
    """The file of weights given by name, by path or by the folder of their run.

    Raises:
        InputError: Neither a bundled name nor an existing file, or a bundled file that is missing.
    """
    if str(weights) in BUNDLED[kind]:
        path = Path(str(resources.files("crossray") / "weights" / f"{kind}-{weights}.safetensors"))
        if not path.is_file():
            raise InputError(
                f"The bundled weights {path} are missing; install crossray again, or name a .safetensors file."
            )
        return path
    path = Path(weights)
    if path.is_dir() and (path / f"{kind}.safetensors").is_file():
        return path / f"{kind}.safetensors"
    if not path.is_file():
        raise InputError(
            f"There are no weights {weights}; give {' or '.join(BUNDLED[kind])} or the path of a .safetensors file."
        )
    return path


def as_radiograph(film: Film, number: int) -> Radiograph:
    """Whatever was given, as a radiograph."""
    if isinstance(film, Radiograph):
        return film
    if isinstance(film, (str, Path)):
        return read_radiograph(film)
    pixels = torch.as_tensor(film)
    if pixels.ndim != 2:
        raise InputError(
            f"View {number} has shape {tuple(pixels.shape)}; a radiograph has rows and columns only."
        )
    return Radiograph(pixels.to(torch.float32), name=f"view {number}")


def distinct(names: list[str]) -> tuple[str, ...]:
    """Names with a number behind those that several views share."""
    return tuple(
        f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    )
