"""What a matcher says of two unlabelled films once places tell it nothing: its mean answer over windows cut anew.

A matcher that half follows the anatomy and half answers "at the same height" agrees with itself about the anatomy in
all windows, and about the height in none, since each film's is cut independently of the other's. Its mean over many
windows may therefore serve as a label, for a network trained in windows of its own. So far that gains little
(docs/labels.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from crossray.data.labelled import LabelledPair, turn, varied
from crossray.data.windows import Window, cut_all, draw_window, whole_window

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
        known: Where windows showed both places often enough, and neither lies beside its film.
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
    places = [_centres(whole_window(film), CELLS) for film in films]
    shown = [
        ((at >= -0.5) & (at < torch.tensor(film.shape) - 0.5)).all(1)
        for at, film in zip(places, films, strict=True)
    ]
    for _ in range(draws):
        windows = [draw_window(rng, film) for film in films]
        with torch.inference_mode():
            answer = predict(cut_all(windows, films, size)[None])[0, 0, 1].float().cpu()
        side = round(len(answer) ** 0.5)
        patches = [w.number(each, side) for w, each in zip(windows, places, strict=True)]
        own, other = ((numbers >= 0).nonzero()[:, 0] for numbers in patches)
        total[own[:, None], other] += answer[patches[0][own][:, None], patches[1][other]]
        count[own[:, None], other] += 1
    known = (count >= LEAST) & shown[0][:, None] & shown[1]
    return Consensus(films, total / count.clamp(min=1), known)


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
        number, rng = turn(index, len(self.agreed), self.seed)
        agreed = self.agreed[number]
        windows = [draw_window(rng, film) for film in agreed.films]
        cells = [
            whole_window(film).number(_centres(window, self.side), CELLS)
            for film, window in zip(agreed.films, windows, strict=True)
        ]
        own, other = cells[0][:, None], cells[1]
        known = agreed.known[own, other] & (own >= 0) & (other >= 0)
        truth = agreed.mean[own, other].where(known, 0.0)
        pair = LabelledPair(cut_all(windows, agreed.films, self.size), _both(truth), _both(known))
        return varied(pair, rng, self.side)


def _both(matrix: Tensor) -> Tensor:
    """The matrix between two views as one of both with both."""
    nothing = torch.zeros_like(matrix)
    return torch.stack([torch.stack([nothing, matrix]), torch.stack([matrix.T, nothing])])


def _centres(window: Window, side: int) -> Float[Tensor, "patch 2"]:
    """Row and column of the middles of side x side patches."""
    first, end = window.patches(side).split(2, 1)
    return (first + end) / 2 - 0.5
