"""Pairs of places that certainly do not match, drawn for a reader who said which do.

A point of one film lies in another on a line, most often within its level; so what lies at quite another level
cannot hold it, whoever looks. The reader is spared to say so a hundred times.
"""

import math
from collections.abc import Mapping
from itertools import permutations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.data.annotations import Label, Place

APART = 0.25
"""Share of a film's length across levels that a place has to be away to be no match."""
COUNT = 100
"""Pairs of patches drawn for every label, as many as the paper's readers told for a pair of films."""
DRAWN = "drawn"
"""Remark of labels nobody made."""


def draw_negatives(
    label: Label,
    boxes: Mapping[str, Float[Tensor, "patch 4"]],
    level_deg: Mapping[str, float],
    rng: np.random.Generator,
) -> tuple[Label, ...]:
    """Labels `different` for what a label `same` rules out; none for other verdicts.

    Args:
        label: What a reader said.
        boxes: By view, what each patch covers (first row, first column, end row, end column); edges, clipped to
            the film.
        level_deg: By view, the angle from the row axis (downwards) to the direction across levels, towards the columns.
        rng: Draws the patches.

    Returns:
        One for every ordered pair of views: the place in the first, patches far from its level in the second.
    """
    if label.verdict != "same":
        return ()
    pairs = list(permutations(label.places, 2))
    drawn = []
    for view, other in pairs:
        far = _far(label.places[other], boxes[other], level_deg[other])
        if len(far):
            chosen = rng.permutation(far)[: COUNT // len(pairs)]
            places = {
                view: label.places[view],
                other: Place(boxes=tuple(map(_box, boxes[other][chosen]))),
            }
            drawn.append(
                Label(
                    verdict="different", places=places, name=label.name, reader=label.reader,
                    date=label.date, remarks=(DRAWN,),
                )
            )  # fmt: skip
    return tuple(drawn)


def _far(place: Place, boxes: Float[Tensor, "patch 4"], level_deg: float) -> np.ndarray:
    """Numbers of the patches with area whose level is far from a place's."""
    turn = math.radians(level_deg)
    across = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(1) > 0
    levels = (boxes[:, :2] + boxes[:, 2:]).double() / 2 @ across
    length = levels[whole].max() - levels[whole].min()
    own = (
        [_middle(place) @ across]
        if place.point
        else [_middle_of(box) @ across for box in place.boxes]
    )
    away = torch.stack([(levels - level).abs() for level in own]).amin(0)
    return ((away > APART * length) & whole).nonzero()[:, 0].numpy()


def _middle(place: Place) -> Float[Tensor, " 2"]:
    return torch.tensor(place.point, dtype=torch.float64) + 0.5


def _middle_of(box: tuple[float, float, float, float]) -> Float[Tensor, " 2"]:
    corners = torch.tensor(box, dtype=torch.float64)
    return (corners[:2] + corners[2:] + 1) / 2


def _box(edges: Float[Tensor, " 4"]) -> tuple[float, float, float, float]:
    """A patch as a label's box: pixel centres, first and last."""
    top, left, bottom, right = (round(edge, 1) for edge in edges.tolist())
    return top, left, max(top, bottom - 1), max(left, right - 1)
