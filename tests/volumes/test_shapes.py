"""Signed distances against shapes whose distance is known, and what must hold for all of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.volumes.shapes import (
    Capsule,
    Cut,
    Ellipsoid,
    Frame,
    Loft,
    Placed,
    Union,
    smooth_max,
    smooth_min,
    triple,
    turn,
)
from crossray.volumes.tissue import Grid, curve

TUBE = Loft(((-40.0, -6.0, 6.0, -6.0, 6.0), (40.0, -6.0, 6.0, -6.0, 6.0)), round_mm=1.0)
SHAPES = [
    Ellipsoid((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    Ellipsoid((0.0, 0.0, 0.0), (4.0, 5.0, 6.0), 3),
    Capsule((0.0, 0.0, 0.0), (5.0, 3.0, 9.0), 3.0, 2.0),
    TUBE,
    Placed(TUBE, Frame.at((1.0, 2.0, 3.0), turn("x", 30) @ turn("y", 50))),
    Union(
        (
            Ellipsoid((0.0, 0.0, 0.0), (4.0, 4.0, 4.0)),
            Capsule((0.0, 0.0, 0.0), (9.0, 0.0, 0.0), 2.0, 2.0),
        ),
        1.0,
    ),
    Cut(
        Ellipsoid((0.0, 0.0, 0.0), (9.0, 9.0, 9.0)), (Ellipsoid((9.0, 0.0, 0.0), (4.0, 4.0, 4.0)),)
    ),
]


def points(*rows: tuple[float, float, float]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, y, z = torch.tensor(rows, dtype=torch.float32).T
    return x.clone(), y.clone(), z.clone()


@pytest.mark.parametrize("power", [2, 3])
def test_ellipsoid_on_its_axes(power: int):
    ball = Ellipsoid((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), power)
    where = points((8.0, 2.0, 3.0), (1.0, -3.0, 3.0), (1.0, 2.0, 8.0))
    assert ball.distance(where).tolist() == pytest.approx([3.0, 0.0, -1.0], abs=1e-3)


def test_sphere_is_exact_everywhere():
    ball = Ellipsoid((0.0, 0.0, 0.0), (5.0, 5.0, 5.0))
    assert ball.distance(points((3.0, 4.0, 12.0), (0.0, 3.0, 0.0))).tolist() == pytest.approx(
        [8.0, -2.0], abs=1e-4
    )


def test_capsule_by_hand():
    rod = Capsule((0.0, 0.0, 0.0), (0.0, 0.0, 10.0), 2.0, 4.0)
    where = points((5.0, 0.0, 0.0), (0.0, 7.0, 5.0), (0.0, 0.0, 16.0))
    assert rod.distance(where).tolist() == pytest.approx([3.0, 4.0, 2.0], abs=1e-5)


def test_loft_is_a_tube_with_flat_ends():
    where = points((8.0, 0.0, 0.0), (0.0, 5.0, 10.0), (0.0, 0.0, 43.0), (0.0, 0.0, -43.0))
    assert TUBE.distance(where).tolist() == pytest.approx([2.0, -1.0, 3.0, 3.0], abs=1e-3)


def test_loft_with_tilted_end_is_higher_on_one_side():
    tilted = Loft(TUBE.outline, round_mm=0.0, upper=(1.0, 0.0))
    inside = tilted.distance(points((4.0, 0.0, 42.0), (-4.0, 0.0, 42.0))) < 0
    assert inside.tolist() == [True, False]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_leaves_its_bounds(shape):
    low, high = shape.bounds()
    axis = torch.linspace(-60, 60, 41)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    filled = torch.stack([x, y, z], -1)[shape.distance((x, y, z)) < 0].numpy()
    assert len(filled) > 0
    assert (filled >= low - 1e-3).all()
    assert (filled <= high + 1e-3).all()


@settings(deadline=None)
@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0, 10))
def test_smooth_minimum_is_at_most_the_minimum_and_close_to_it(a: float, b: float, blend: float):
    x, y = torch.tensor([a]), torch.tensor([b])
    low, high = float(smooth_min(x, y, blend)), float(smooth_max(x, y, blend))
    assert min(a, b) - blend / 4 - 1e-4 <= low <= min(a, b) + 1e-4
    assert high == pytest.approx(-float(smooth_min(-x, -y, blend)))


@settings(deadline=None)
@given(st.floats(-180, 180), st.sampled_from("xyz"))
def test_turning_moves_a_shape_rigidly(degrees: float, axis: str):
    frame = Frame.at((3.0, -2.0, 5.0), turn(axis, degrees))
    moved = Placed(SHAPES[2], frame)
    local = (4.0, 1.0, 7.0)
    world = triple(frame.point(local))
    assert float(moved.distance(points(world))) == pytest.approx(
        float(SHAPES[2].distance(points(local))), abs=1e-3
    )


def test_turns_are_right_handed():
    assert turn("z", 90) @ (1.0, 0.0, 0.0) == pytest.approx([0, 1, 0])
    assert turn("x", 90) @ (0.0, 1.0, 0.0) == pytest.approx([0, 0, 1])
    assert turn("y", 90) @ (0.0, 0.0, 1.0) == pytest.approx([1, 0, 0])


def test_curve_is_linear_between_knots_and_flat_beyond():
    values = curve(((0.0, 1.0), (10.0, 3.0), (20.0, 0.0)), torch.tensor([-5.0, 5.0, 15.0, 99.0]))
    assert values.tolist() == pytest.approx([1.0, 2.0, 1.5, 0.0])


def test_noise_is_the_same_wherever_it_is_read_and_near_unit_deviation():
    low, high = np.full(3, -30.0), np.full(3, 30.0)
    axis = torch.arange(-30.0, 30.0, 1.0)
    grid = Grid((axis, axis, axis), 1.0, low, high, seed=4)
    whole = grid.noise("a", (3.0, 3.0, 6.0), grid.whole)
    box = (slice(5, 9), slice(10, 20), slice(30, 60))
    assert torch.equal(whole[box], grid.noise("a", (3.0, 3.0, 6.0), box))
    assert not torch.equal(whole, grid.noise("b", (3.0, 3.0, 6.0), grid.whole))
    assert 0.6 < float(whole.std()) < 1.4
