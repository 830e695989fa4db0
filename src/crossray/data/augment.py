"""New looks for a rendered pose: appearance and mirrors, with the truth carried along."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.data.sample import enlarge
from crossray.projection.appearance import sample_appearance


def augment(
    lines: Float[Tensor, "view row column"],
    correspondence: Float[Tensor, "view view patch patch"],
    rng: np.random.Generator,
    thin: int = 1,
) -> dict[str, Tensor]:
    """A training sample: each view mirrored left to right by chance, all turned upside down by chance, new appearances.

    A mirrored view is what the opposite direction would show, and a limb upside down is another way to hang the film.

    Args:
        lines: Line integrals; the patch grid is taken to be square.
        correspondence: Their truth.
        rng: Source of randomness.
        thin: How many times fewer rays than pixels the line integrals have along a side.

    Returns:
        `images` (view, row, column) in [0, 1] and `correspondence`, as the network is fed.
    """
    views, grid = len(lines), math.isqrt(correspondence.shape[-1])
    upside_down = rng.random() < 0.25
    flips = [
        ([0] if upside_down else []) + ([1] if rng.random() < 0.5 else []) for _ in range(views)
    ]
    images = torch.stack(
        [sample_appearance(rng)(view.flip(axes)) for view, axes in zip(lines, flips, strict=True)]
    )
    order = torch.arange(grid * grid).reshape(grid, grid)
    orders = [order.flip(axes).flatten() for axes in flips]
    matrix = torch.empty_like(correspondence)
    for k in range(views):
        for m in range(views):
            matrix[k, m] = correspondence[k, m][orders[k]][:, orders[m]]
    return {"images": enlarge(images, thin), "correspondence": matrix}
