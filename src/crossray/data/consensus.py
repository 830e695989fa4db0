"""What a matcher says of two unlabelled films once places tell it nothing: its mean answer over windows cut anew.

A matcher that half follows the anatomy and half answers "at the same height" agrees with itself about the anatomy in
all windows, and about the height in none, since each film's is cut independently of the other's. Its mean over many
windows is therefore a better label than any of its answers, and a network trained on that mean, in windows of its own,
learns to follow the anatomy on films like these.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from crossray.data.labelled import LabelledPair, varied
from crossray.data.windows import Window, draw_window, whole_window
from crossray.projection.appearance import stretch

CELLS = 32
"""Places along a side of the square about a whole film."""
LEAST = 3
"""Windows that must have shown two places together before anything is said of them."""

Film = Float[Tensor, "row column"]


@dataclass(frozen=True, eq=False)
class Consensus:
    """Two films and what a matcher says of them on average.

    Args:
        films: Values of any scale, bone bright.
        mean: Mean answer about CELLS x CELLS places, row by row, of the square about either film.
        known: Where windows showed both places often enough.
    """

    films: tuple[Film, Film]
    mean: Float[Tensor, "cell other_cell"]
    known: Bool[Tensor, "cell other_cell"]


def consensus(
    predict: Callable[[Tensor], Tensor],
    films: tuple[Film, Film],
    size: int,
    rng: np.random.Generator,
    draws: int = 12,
) -> Consensus:
    """Ask a matcher about two films in windows drawn anew.

    Args:
        predict: The matcher.
        films: Values of any scale, bone bright.
        size: Side of the matcher's input.
        rng: Source of the windows.
        draws: Windows of each film.
    """
    total, count = torch.zeros(2, CELLS**2, CELLS**2)
    places = [_centres(whole_window(_shape(film)), CELLS) for film in films]
    for _ in range(draws):
        windows = [draw_window(rng, _shape(film)) for film in films]
        with torch.inference_mode():
            answer = predict(_cut(films, windows, size)[None])[0, 0, 1].float().cpu()
        side = round(len(answer) ** 0.5)
        patches = [w.number(each, side) for w, each in zip(windows, places, strict=True)]
        own, other = ((numbers >= 0).nonzero()[:, 0] for numbers in patches)
        total[own[:, None], other] += answer[patches[0][own][:, None], patches[1][other]]
        count[own[:, None], other] += 1
    return Consensus(films, total / count.clamp(min=1), count >= LEAST)


class SelfTaught(Dataset[dict[str, Tensor]]):
    """Endless training samples of films and what was agreed of them; sample i depends on i and the seed alone.

    Args:
        agreed: Of each pair of films.
        size: Side of the network's input.
        patch: Side of a patch in pixels.
        seed: Of windows and looks.
    """

    def __init__(self, agreed: Sequence[Consensus], size: int, patch: int, seed: int = 0) -> None:
        self.agreed, self.size, self.side, self.seed = list(agreed), size, size // patch, seed

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Sample `index`: `images`, `correspondence` and `known`."""
        visit, place = divmod(index, len(self.agreed))
        order = np.random.default_rng([self.seed, visit]).permutation(len(self.agreed))
        agreed = self.agreed[order[place]]
        rng = np.random.default_rng([self.seed, visit, place])
        windows = [draw_window(rng, _shape(film)) for film in agreed.films]
        cells = [
            whole_window(_shape(film)).number(_centres(window, self.side), CELLS)
            for film, window in zip(agreed.films, windows, strict=True)
        ]
        own, other = cells[0][:, None], cells[1]
        known = agreed.known[own, other] & (own >= 0) & (other >= 0)
        truth = agreed.mean[own, other].where(known, 0.0)
        pair = LabelledPair(_cut(agreed.films, windows, self.size), _both(truth), _both(known))
        return varied(pair, rng, self.side)


def _both(matrix: Tensor) -> Tensor:
    """The matrix between two views as one of both with both."""
    nothing = torch.zeros_like(matrix)
    return torch.stack([torch.stack([nothing, matrix]), torch.stack([matrix.T, nothing])])


def _cut(films: Sequence[Film], windows: Sequence[Window], size: int) -> Tensor:
    cuts = (window.cut(film.float(), size) for window, film in zip(windows, films, strict=True))
    return torch.stack([stretch(cut) for cut in cuts])


def _centres(window: Window, side: int) -> Float[Tensor, "patch 2"]:
    """Row and column of the middles of side x side patches."""
    first, end = window.patches(side).split(2, 1)
    return (first + end) / 2 - 0.5


def _shape(film: Film) -> tuple[int, int]:
    return film.shape[0], film.shape[1]
