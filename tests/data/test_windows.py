"""Windows on films: what they show and where."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.data.windows import Window, draw_window, whole_window

ROWS, COLUMNS = 300, 200
FILM = torch.zeros(ROWS, COLUMNS)


@given(st.integers(0, 1000))
def test_a_window_shows_what_it_says(seed: int):
    """A bright spot appears where `place` puts it."""
    rng = np.random.default_rng(seed)
    window = draw_window(rng, FILM, 15.0)
    point = (float(rng.integers(20, ROWS - 20)), float(rng.integers(20, COLUMNS - 20)))
    row, column = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
    spot = torch.exp(-((row - point[0]).square() + (column - point[1]).square()) / 50)
    place = window.place(point)
    if not all(0.1 < part < 0.9 for part in place):
        return
    seen = window.cut(spot, 96)
    found = divmod(int(seen.argmax()), 96)
    assert found == pytest.approx([part * 96 - 0.5 for part in place], abs=1.5)


def test_a_window_by_hand():
    window = Window(row=49.5, column=49.5, side=100, turn_deg=0)
    assert window.place((-0.5, -0.5)) == (0, 0)
    assert window.place((99.5, 49.5)) == (1, 0.5)
    turned = Window(row=0, column=0, side=100, turn_deg=90)
    assert turned.place((0, 25)) == pytest.approx((0.75, 0.5))


@given(st.integers(0, 1000))
def test_patches_are_where_points_fall(seed: int):
    rng = np.random.default_rng(seed)
    window = draw_window(rng, FILM)
    point = (float(rng.uniform(0, ROWS)), float(rng.uniform(0, COLUMNS)))
    row, column = (int(np.floor(8 * part)) for part in window.place(point))
    top, left, bottom, right = window.patches(8).unbind(1)
    at = torch.tensor(point) + 0.5
    held = (top <= at[0]) & (at[0] < bottom) & (left <= at[1]) & (at[1] < right)
    inside = 0 <= row < 8 and 0 <= column < 8
    assert held.nonzero().flatten().tolist() == ([8 * row + column] if inside else [])


def test_a_whole_film_fills_its_window():
    film = torch.arange(4.0)[:, None].expand(4, 4)
    window = whole_window(film)
    assert torch.allclose(window.cut(film, 4), film)
    assert window.patches(2)[1].tolist() == [0, 2, 2, 4]
    assert whole_window(torch.zeros(4, 8)).patches(1)[0].tolist() == [-2, 0, 6, 8]
