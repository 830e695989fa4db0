"""New looks for a rendered pose: windows, appearance and mirrors, with the truth carried along."""

import math

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from crossray.data.sample import SampleConfig, enlarge
from crossray.projection.appearance import Look, sample_appearance


def cut_windows(
    lines: Float[Tensor, "view film_row film_column"],
    correspondence: Shaped[Tensor, "view view film_patch film_patch"],
    config: SampleConfig,
    rng: np.random.Generator,
) -> tuple[Float[Tensor, "view row column"], Shaped[Tensor, "view view patch patch"]]:
    """A window of each film, independent of the others' and whole patches off the film's corner.

    Args:
        lines: Line integrals of the films.
        correspondence: Their truth.
        config: Of the sample, for the sizes of window and patch.
        rng: Source of randomness.
    """
    patch = config.patch // config.thin
    films = (lines.shape[1] // patch, lines.shape[2] // patch)
    window = (config.views.size[0] // config.patch, config.views.size[1] // config.patch)
    numbers = torch.arange(films[0] * films[1]).view(films)
    shown, kept = [], []
    for view in lines:
        row, column = (int(rng.integers(a - b + 1)) for a, b in zip(films, window, strict=True))
        rows, columns = slice(row, row + window[0]), slice(column, column + window[1])
        kept.append(numbers[rows, columns].flatten())
        cells = view.unflatten(1, (films[1], patch)).unflatten(0, (films[0], patch))
        shown.append(cells[rows, :, columns].flatten(2, 3).flatten(0, 1))
    return torch.stack(shown), chosen_patches(correspondence, kept)


def augment(
    lines: Float[Tensor, "view row column"],
    correspondence: Shaped[Tensor, "view view patch patch"],
    rng: np.random.Generator,
    thin: int = 1,
    look: Look = "plain",
) -> dict[str, Tensor]:
    """A training sample: each view mirrored left to right by chance, all turned upside down by chance, new appearances.

    A mirrored view is what the opposite direction would show, and a limb upside down is another way to hang the film.

    Args:
        lines: Line integrals; the patch grid is taken to be square.
        correspondence: Their truth.
        rng: Source of randomness.
        thin: How many times fewer rays than pixels the line integrals have along a side.
        look: Of the new appearances.

    Returns:
        `images` (view, row, column) in [0, 1] and `correspondence`, as the network is fed.
    """
    views, grid = len(lines), math.isqrt(correspondence.shape[-1])
    upside_down = rng.random() < 0.1
    flips = [
        ([0] if upside_down else []) + ([1] if rng.random() < 0.5 else []) for _ in range(views)
    ]
    images = torch.stack(
        [
            sample_appearance(rng, look=look)(view.flip(axes))
            for view, axes in zip(lines, flips, strict=True)
        ]
    )
    order = torch.arange(grid * grid).reshape(grid, grid)
    orders = [order.flip(axes).flatten() for axes in flips]
    return {
        "images": enlarge(images, thin),
        "correspondence": chosen_patches(correspondence, orders),
    }


def chosen_patches(matrix: Tensor, patches: list[Tensor]) -> Tensor:
    """The matrix of each view's chosen patches, in their order."""
    rows = [
        torch.stack(
            [
                block.index_select(0, own).index_select(1, other)
                for block, other in zip(blocks, patches, strict=True)
            ]
        )
        for blocks, own in zip(matrix, patches, strict=True)
    ]
    return torch.stack(rows)
