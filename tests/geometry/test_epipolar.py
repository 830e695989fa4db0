"""Epipolar geometry: a pixel's ray is a line in every other view."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.geometry import Cameras, epipolar_line, fundamental_matrix

SIZE = (20, 30)


def pair(angles, rolls=(0.0, 0.0), **changes) -> Cameras:
    primary, secondary = zip(*angles, strict=True)
    distances = {"sod_mm": 1000, "sdd_mm": [1100, 1150], "size": SIZE, "pixel_mm": [1, 2]}
    return Cameras.from_angles(primary, secondary, rolls, **(distances | changes))


@st.composite
def recipes(draw) -> Callable[[], Cameras]:
    """How to make two views whose beams lie at least 5 degrees apart (or from opposite); they are made in the test."""
    angles = [(draw(st.floats(-180, 180)), draw(st.floats(-80, 80))) for _ in range(2)]
    rolls = [draw(st.floats(-180, 180)) for _ in range(2)]
    isocenter = [draw(st.floats(-200, 200)) for _ in range(3)]
    corner = draw(st.floats(-9, 9)), draw(st.floats(-9, 9))

    def make() -> Cameras:
        cameras = pair(angles, rolls, isocenter=isocenter).crop(*corner, SIZE)
        one, other = beams(cameras)
        assume(abs(float(one @ other)) < math.cos(math.radians(5)))
        return cameras

    return make


def beams(cameras: Cameras) -> torch.Tensor:
    normals = torch.linalg.cross(cameras.row_step, cameras.column_step)
    return torch.nn.functional.normalize(normals, dim=1)


near = st.tuples(*[st.floats(-80, 80)] * 3)


def homogeneous(points: torch.Tensor) -> torch.Tensor:
    return torch.cat([points, torch.ones_like(points[..., :1])], -1)


def middle(cameras: Cameras) -> torch.Tensor:
    """The isocentre that the pair was built round."""
    return (cameras.source + 1000 * beams(cameras)).mean(0)


@given(recipes(), st.lists(near, min_size=1, max_size=6))
def test_projections_of_a_point_satisfy_the_fundamental_matrix(make, offsets):
    cameras = make()
    spots = middle(cameras) + torch.tensor(offsets, dtype=torch.float64)
    matrix = fundamental_matrix(cameras, 0, 1)
    one, other = homogeneous(cameras.project_points(spots))
    lines = one @ matrix.T
    # In pixels: the distance from each projection to the line of its partner.
    distance = (other * lines).sum(-1) / lines[:, :2].norm(dim=1)
    assert float(distance.abs().max()) < 1e-6


@given(recipes(), st.floats(-5, 25), st.floats(-5, 35))
def test_the_line_passes_through_every_point_of_the_ray(make, row, column):
    cameras = make()
    direction = (
        cameras.first_pixel[0]
        + row * cameras.row_step[0]
        + column * cameras.column_step[0]
        - cameras.source[0]
    )
    depths = torch.linspace(0.7, 1.1, 9, dtype=torch.float64)[:, None]
    seen = homogeneous(cameras.project_points(cameras.source[0] + depths * direction)[1])
    line = epipolar_line(cameras, 0, (row, column), 1)
    assert float(line[:2].norm()) == pytest.approx(1)
    assert float((seen @ line).abs().max()) < 1e-6


def test_the_central_row_of_ap_is_the_central_row_of_lateral():
    cameras = pair([(0, 0), (90, 0)])
    for column in (0.0, 14.5, 29.0):
        line = epipolar_line(cameras, 0, (9.5, column), 1)
        torch.testing.assert_close(line / line[0], torch.tensor([1, 0, -9.5]).double())


def test_a_line_by_hand():
    # The ray from (0, 1000, 0) to (0, -100, 11) in AP crosses y = 0 at z = 10. In LAO 90 (source (-1000, 0, 0),
    # detector at x = 150) x = 0 magnifies 1.15: z = 11.5 mm above the middle at y = 0, and at y = 100, where z = 9,
    # 10.35 mm above it and 115 mm to the right. Pixels of 2 mm; the middle is (9.5, 14.5).
    cameras = pair([(0, 0), (90, 0)])
    a, b, c = epipolar_line(cameras, 0, (9.5 - 11, 14.5), 1).tolist()
    for row, column in ((9.5 - 5.75, 14.5), (9.5 - 5.175, 14.5 + 57.5)):
        assert a * row + b * column + c == pytest.approx(0, abs=1e-9)


def test_a_view_has_no_line_in_itself():
    cameras = pair([(0, 0), (90, 0)])
    turned = Cameras.stack([cameras[0], cameras[0].crop(3, 4, SIZE)])
    for views, other in ((cameras, 0), (turned, 1)):
        with pytest.raises(InputError, match="one source"):
            epipolar_line(views, 0, (1, 2), other)


@given(recipes())
def test_swapping_views_transposes(make):
    cameras = make()
    there, back = fundamental_matrix(cameras, 0, 1), fundamental_matrix(cameras, 1, 0)
    there, back = there / there.norm(), back.T / back.norm()
    sign = torch.sign((there * back).sum())
    torch.testing.assert_close(there, sign * back, atol=1e-7, rtol=0)


@given(recipes())
def test_all_lines_meet_where_the_source_is_seen(make):
    cameras = make()
    matrix = fundamental_matrix(cameras, 0, 1)
    epipole = cameras.projection_matrices()[1] @ homogeneous(cameras.source[:1])[0]
    assert float((epipole @ matrix).norm()) < 1e-9 * float(epipole.norm() * matrix.norm())


@given(recipes(), st.tuples(*[st.floats(-3, 3)] * 3), near)
def test_moving_both_cameras_together_changes_nothing(make, turn, shift):
    cameras = make()
    x, y, z = turn
    spin = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    rotation, shift = torch.linalg.matrix_exp(spin), torch.tensor(shift, dtype=torch.float64)
    moved = Cameras(
        cameras.source @ rotation.T + shift,
        cameras.first_pixel @ rotation.T + shift,
        cameras.column_step @ rotation.T,
        cameras.row_step @ rotation.T,
        cameras.size,
    )
    before, after = fundamental_matrix(cameras, 0, 1), fundamental_matrix(moved, 0, 1)
    torch.testing.assert_close(after / before.norm(), before / before.norm(), atol=1e-8, rtol=0)
