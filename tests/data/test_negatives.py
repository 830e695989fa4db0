"""Drawn negatives: far from the level of what matches, in both directions, as many as asked."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.data.annotations import Label, Place, patches_of
from crossray.data.negatives import APART, COUNT, DRAWN, draw_negatives

SIDE, CELLS = 160, 16


def grid(side=SIDE, cells=CELLS):
    """Boxes of a square film's patches."""
    edge = torch.arange(cells) * side / cells
    top, left = torch.meshgrid(edge, edge, indexing="ij")
    step = side / cells
    return torch.stack([top, left, top + step, left + step], -1).flatten(0, 1).float()


def said(a, b, verdict="same", **more):
    return Label(verdict=verdict, places={"A": Place(point=a), "B": Place(point=b)}, **more)


BOXES = {"A": grid(), "B": grid()}


@given(
    point=st.tuples(st.floats(0, SIDE - 1), st.floats(0, SIDE - 1)),
    level=st.floats(-60, 60),
    seed=st.integers(0, 99),
)
def test_every_drawn_patch_lies_far_across_the_levels(point, level, seed):
    drawn = draw_negatives(
        said((80, 80), point), BOXES, {"A": 0.0, "B": level}, np.random.default_rng(seed)
    )
    (in_b,) = [label for label in drawn if label.places["A"].point == (80, 80)]
    across = (math.cos(math.radians(level)), math.sin(math.radians(level)))
    middles = [((r0 + r1) / 2, (c0 + c1) / 2) for r0, c0, r1, c1 in in_b.places["B"].boxes]
    own = point[0] * across[0] + point[1] * across[1]
    length = (SIDE - SIDE / CELLS) * (abs(across[0]) + abs(across[1]))
    away = [abs(row * across[0] + column * across[1] - own) for row, column in middles]
    assert min(away) > APART * length - 0.2
    assert 0 < len(middles) <= COUNT // 2
    assert len(set(middles)) == len(middles)


def test_a_place_in_the_middle_draws_a_hundred_pairs_each_a_patch():
    label = said((80, 80), (80, 80), name="tip", reader="A", date="2026-11-28")
    drawn = draw_negatives(label, BOXES, {"A": 0.0, "B": 0.0}, np.random.default_rng(0))
    assert sum(len(p.boxes) for each in drawn for p in each.places.values()) == COUNT
    for each in drawn:
        assert (each.verdict, each.name, each.reader, each.date) == (
            "different",
            "tip",
            "A",
            "2026-11-28",
        )
        assert each.remarks == (DRAWN,)
        ((view, place),) = [(v, p) for v, p in each.places.items() if p.boxes]
        assert len(patches_of(place, BOXES[view])) == len(place.boxes)


def test_brushed_places_keep_clear_of_every_box():
    label = Label(
        verdict="same",
        places={"A": Place(point=(80, 80)), "B": Place(boxes=((0, 0, 9, 9), (150, 0, 159, 9)))},
    )
    drawn = draw_negatives(label, BOXES, {"A": 0.0, "B": 0.0}, np.random.default_rng(0))
    (in_b,) = [each for each in drawn if each.places["A"].point]
    rows = [(box[0] + box[2]) / 2 for box in in_b.places["B"].boxes]
    assert min(rows) > 4.5 + APART * 150
    assert max(rows) < 154.5 - APART * 150


@pytest.mark.parametrize("verdict", ["different", "unsure"])
def test_other_verdicts_rule_nothing_out(verdict):
    rng = np.random.default_rng(0)
    assert draw_negatives(said((1, 1), (1, 1), verdict), BOXES, {"A": 0.0, "B": 0.0}, rng) == ()


def test_patches_beside_the_film_are_not_drawn():
    boxes = grid().clone()
    boxes[: 8 * CELLS, 2] = boxes[: 8 * CELLS, 0]  # the upper half has no area
    label = said((150, 80), (150, 80))
    drawn = draw_negatives(
        label, {"A": boxes, "B": boxes}, {"A": 0.0, "B": 0.0}, np.random.default_rng(0)
    )
    assert all(box[0] >= 80 for each in drawn for p in each.places.values() for box in p.boxes)
