"""Cameras: where DICOM's angles put source and detector, and what lands on which pixel."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.geometry import Cameras

SIZE = (3, 5)  # rows, columns
FIELDS = ("source", "first_pixel", "column_step", "row_step")


def vector(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def at(primary=0, secondary=0, roll=0, **changes) -> Cameras:
    """A camera of 3 x 5 pixels of 2 mm, 1000 mm before and 100 mm behind the origin."""
    distances = {"sod_mm": 1000, "sdd_mm": 1100, "size": SIZE, "pixel_mm": 2} | changes
    return Cameras.from_angles(primary, secondary, roll, **distances)


def same(one: Cameras, other: Cameras) -> None:
    assert one.size == other.size
    for name in FIELDS:
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=1e-9, rtol=0)


@st.composite
def recipes(draw, views: int = 2) -> Callable[[], Cameras]:
    """How to make any C-arm cameras near any isocentre, cropped off centre.

    They are made in the test: the type checker draws random numbers, which strategies must not.
    """

    def several(low: float, high: float) -> list[float]:
        return [draw(st.floats(low, high)) for _ in range(views)]

    sod = several(600, 1200)
    sdd = [s + gap for s, gap in zip(sod, several(0, 300), strict=True)]
    angles = several(-180, 180), several(-90, 90), several(-180, 180)
    size, pixel = (draw(st.integers(1, 40)), draw(st.integers(1, 40))), several(0.1, 5)
    isocenter, corner = [draw(st.floats(-200, 200)) for _ in range(3)], several(-20, 20)

    def make() -> Cameras:
        whole = Cameras.from_angles(
            *angles, sod_mm=sod, sdd_mm=sdd, size=size, pixel_mm=pixel, isocenter=isocenter
        )
        return whole.crop(*corner, size)

    return make


points = st.lists(st.tuples(*[st.floats(-150, 150)] * 3), min_size=1, max_size=5).map(
    lambda rows: torch.tensor(rows, dtype=torch.float64)
)


HALF, ROOT = 0.5, math.sqrt(3) / 2
POSES = {
    # pose: (angles, source, middle of the detector, to the image's right, to its bottom)
    "AP": ((0, 0, 0), (0, 1000, 0), (0, -100, 0), (1, 0, 0), (0, 0, -1)),
    "PA": ((180, 0, 0), (0, -1000, 0), (0, 100, 0), (-1, 0, 0), (0, 0, -1)),
    "LAO 90": ((90, 0, 0), (-1000, 0, 0), (100, 0, 0), (0, 1, 0), (0, 0, -1)),
    "RAO 90": ((-90, 0, 0), (1000, 0, 0), (-100, 0, 0), (0, -1, 0), (0, 0, -1)),
    "LAO 30": (
        (30, 0, 0),
        (-1000 * HALF, 1000 * ROOT, 0),
        (100 * HALF, -100 * ROOT, 0),
        (ROOT, HALF, 0),
        (0, 0, -1),
    ),
    "cranial 90": ((0, 90, 0), (0, 0, -1000), (0, 0, 100), (1, 0, 0), (0, -1, 0)),
    "caudal 90": ((0, -90, 0), (0, 0, 1000), (0, 0, -100), (1, 0, 0), (0, 1, 0)),
    "cranial 30": (
        (0, 30, 0),
        (0, 1000 * ROOT, -1000 * HALF),
        (0, -100 * ROOT, 100 * HALF),
        (1, 0, 0),
        (0, -HALF, -ROOT),
    ),
    # Seen from the detector the beam comes towards us, so a right-handed turn is counter-clockwise.
    "AP rolled 90": ((0, 0, 90), (0, 1000, 0), (0, -100, 0), (0, 0, 1), (1, 0, 0)),
    "AP rolled 30": (
        (0, 0, 30),
        (0, 1000, 0),
        (0, -100, 0),
        (ROOT, 0, HALF),
        (HALF, 0, -ROOT),
    ),
}


@pytest.mark.parametrize("name", POSES)
def test_poses_by_hand(name: str):
    angles, source, middle, right, down = POSES[name]
    camera = at(*angles)
    expected = Cameras(
        source=vector(*source)[None],
        first_pixel=(vector(*middle) - 2 * 2 * vector(*right) - 1 * 2 * vector(*down))[None],
        column_step=2 * vector(*right)[None],
        row_step=2 * vector(*down)[None],
        size=SIZE,
    )
    same(camera, expected)


def test_the_isocentre_moves_everything_and_turns_nothing():
    moved, plain = at(40, 10, 5, isocenter=[7, -8, 9]), at(40, 10, 5)
    for name, shift in (("source", 1), ("first_pixel", 1), ("column_step", 0), ("row_step", 0)):
        torch.testing.assert_close(
            getattr(moved, name) - getattr(plain, name), shift * vector(7, -8, 9)[None]
        )


def test_projections_by_hand():
    spots = torch.tensor([[0, 0, 0], [10, 0, 20], [5, 500, 0], [1, -100, -1]], dtype=torch.float64)
    # Magnified 1.1 at the isocentre, 2.2 halfway to the source, 1 on the detector; 2 mm pixels.
    expected = [[1, 2], [1 - 11, 2 + 5.5], [1, 2 + 5.5], [1 + 0.5, 2 + 0.5]]
    torch.testing.assert_close(at().project_points(spots)[0], torch.tensor(expected).double())


def test_what_is_not_in_front_of_the_source_is_nowhere():
    spots = torch.tensor([[0, 1000, 0], [3, 1000, 4], [0, 1500, 0], [0, 999, 0.0]]).double()
    lost = at().project_points(spots)[0].isnan().all(-1)
    assert lost.tolist() == [True, True, True, False]


def test_ap_shows_left_on_the_right_and_the_head_up():
    here, left, head = at().project_points(torch.tensor([[0, 0, 0], [9, 0, 0], [0, 0, 9.0]]))[0]
    assert left[1] > here[1]
    assert left[0] == here[0]
    assert head[0] < here[0]
    assert head[1] == here[1]


@given(recipes(), st.floats(0.05, 3))
def test_every_pixel_of_a_ray_projects_back_to_it(make, share: float):
    made = make()
    positions = made.pixel_positions()
    grid = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in made.size))
    for view in range(len(made)):
        on_ray = made.source[view] + share * (positions[view].reshape(-1, 3) - made.source[view])
        torch.testing.assert_close(
            made.project_points(on_ray)[view], grid.reshape(-1, 2), atol=1e-5, rtol=0
        )


def test_pixel_positions_by_hand():
    positions = at().pixel_positions()
    assert positions.shape == (1, 3, 5, 3)
    torch.testing.assert_close(positions[0, 0, 0], vector(-4, -100, 2))
    torch.testing.assert_close(positions[0, 2, 3], vector(2, -100, -2))


@given(recipes())
def test_depth_is_zero_at_the_source_and_one_on_the_detector(make):
    made = make()
    matrices = made.projection_matrices()
    pixels = made.pixel_positions().reshape(len(made), -1, 3)
    for view, matrix in enumerate(matrices):
        scale = torch.linalg.norm(made.first_pixel[view] - made.source[view])
        assert abs(matrix[2, :3] @ made.source[view] + matrix[2, 3]) < 1e-9 * scale
        depth = pixels[view] @ matrix[2, :3] + matrix[2, 3]
        torch.testing.assert_close(depth, torch.ones_like(depth))


@given(
    recipes(), points, st.tuples(*[st.floats(-3, 3)] * 3), st.tuples(*[st.floats(-500, 500)] * 3)
)
def test_moving_patient_and_cameras_together_changes_nothing(make, spots, turn, shift):
    made = make()
    x, y, z = turn
    spin = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    rotation, shift = torch.linalg.matrix_exp(spin), vector(*shift)
    moved = Cameras(
        made.source @ rotation.T + shift,
        made.first_pixel @ rotation.T + shift,
        made.column_step @ rotation.T,
        made.row_step @ rotation.T,
        made.size,
    )
    torch.testing.assert_close(
        moved.project_points(spots @ rotation.T + shift),
        made.project_points(spots),
        atol=1e-5,
        rtol=1e-8,
    )


def test_regrid_by_hand():
    patches = at(size=(4, 6)).regrid((2, 2))
    assert patches.size == (2, 2)
    assert patches.column_step.tolist() == [[6, 0, 0]]
    assert patches.row_step.tolist() == [[0, 0, -4]]
    # Columns from -6 to 6 mm and rows from 4 down to -4: the first patch's centre is (-3, 2).
    assert patches.first_pixel.tolist() == [[-3, -100, 2]]


@given(recipes(), points, st.integers(1, 30), st.integers(1, 30))
def test_regrid_keeps_the_edges(make, spots, rows: int, columns: int):
    made = make()
    scale = torch.tensor([rows / made.size[0], columns / made.size[1]], dtype=torch.float64)
    before = (made.project_points(spots) + 0.5) * scale
    after = made.regrid((rows, columns)).project_points(spots) + 0.5
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-9)
    same(made.regrid((rows, columns)).regrid(made.size), made)


def test_a_patch_is_the_middle_of_its_pixels():
    camera = at(20, 10, 30, size=(8, 12))
    blocks = camera.pixel_positions().reshape(1, 2, 4, 3, 4, 3)
    torch.testing.assert_close(blocks.mean((2, 4)), camera.regrid((2, 3)).pixel_positions())


@given(recipes(), points, st.floats(-50, 50), st.floats(-50, 50))
def test_crop_shifts_the_image(make, spots, row: float, column: float):
    made = make()
    window = made.crop(row, column, (7, 9))
    assert window.size == (7, 9)
    torch.testing.assert_close(
        window.project_points(spots) + vector(row, column), made.project_points(spots)
    )


def test_crop_is_a_window_of_the_same_pixels():
    camera = at(20, 10, 30, size=(8, 12))
    torch.testing.assert_close(
        camera.crop(2, 5, (3, 4)).pixel_positions(), camera.pixel_positions()[:, 2:5, 5:9]
    )


def test_one_number_serves_all_views():
    many = at([0, 90, 45], 10, [1, 2, 3], pixel_mm=[1, 2, 3])
    assert len(many) == 3
    same(many[1], at(90, 10, 2, pixel_mm=2))
    same(many[2], at(45, 10, 3, pixel_mm=3))


def test_numbers_come_as_lists_arrays_or_tensors():
    lists = at([0, 90], [1, 2], pixel_mm=2, isocenter=[1, 2, 3])
    arrays = at(
        np.array([0, 90]), np.array([1, 2]), pixel_mm=np.int64(2), isocenter=np.array([1, 2, 3])
    )
    tensors = at(torch.tensor([0, 90]), torch.tensor([1.0, 2.0]), pixel_mm=torch.tensor(2))
    same(arrays, lists)
    same(tensors, at([0, 90], [1, 2], pixel_mm=2))
    with pytest.raises(InputError, match="one a view"):
        at(np.zeros((2, 2)))


def test_index_and_stack():
    many = at([0, 30, 60])
    same(many[-1], at(60))
    same(many[[2, 0]], at([60, 0]))
    same(many[1:], at([30, 60]))
    same(Cameras.stack([many[0], many[1:]]), many)
    assert [len(view) for view in many] == [1, 1, 1]
    with pytest.raises(IndexError):
        many[3]


def test_stack_of_two_sizes_is_refused():
    with pytest.raises(InputError, match=r"\(3, 5\).*\(4, 4\)"):
        Cameras.stack([at(), at(size=(4, 4))])


def test_distances_and_angles_that_cannot_be_are_refused():
    for changes in ({"sod_mm": 0}, {"sod_mm": -1}, {"sdd_mm": 999}, {"pixel_mm": 0}):
        with pytest.raises(InputError, match="sod_mm"):
            at(**changes)
    with pytest.raises(InputError, match=r"lengths \[2, 3, 1, 1, 1, 1\]"):
        at([0, 1], [0, 1, 2])
    for angle in (math.nan, math.inf):
        with pytest.raises(InputError, match="NaN"):
            at(angle)
    with pytest.raises(InputError, match="empty"):
        at(size=(0, 5))


GOOD = {
    "source": torch.tensor([[0.0, 1000, 0]]),
    "first_pixel": torch.tensor([[-1.0, -100, 1]]),
    "column_step": torch.tensor([[1.0, 0, 0]]),
    "row_step": torch.tensor([[0.0, 0, -1]]),
    "size": (3, 3),
}
BAD = {
    "two sources": ({"source": torch.zeros(2, 3)}, "shape"),
    "no view": (dict.fromkeys(FIELDS, torch.zeros(0, 3)), "shape"),
    "four coordinates": ({"row_step": torch.zeros(1, 4)}, "row_step"),
    "NaN": ({"first_pixel": torch.tensor([[math.nan, 0, 0]])}, "first_pixel"),
    "infinite": ({"column_step": torch.tensor([[math.inf, 0, 0]])}, "column_step"),
    "no columns": ({"size": (3, 0)}, "empty"),
    "parallel steps": ({"row_step": torch.tensor([[2.0, 0, 0]])}, "parallel"),
    "no step": ({"row_step": torch.zeros(1, 3)}, "parallel"),
    "source in the plane": ({"source": torch.tensor([[50.0, -100, 30]])}, "plane"),
    "source on a pixel": ({"source": torch.tensor([[-1.0, -100, 1]])}, "plane"),
}


def test_plain_vectors_become_float64():
    camera = Cameras(**GOOD)
    assert all(getattr(camera, name).dtype == torch.float64 for name in FIELDS)
    assert camera.size == (3, 3)


@pytest.mark.parametrize("name", BAD)
def test_bad_vectors_are_refused(name: str):
    changes, word = BAD[name]
    camera = Cameras(**GOOD)
    for field, value in changes.items():  # past the tests' own check of shapes
        object.__setattr__(camera, field, value)
    with pytest.raises(InputError, match=word) as error:
        camera.__post_init__()
    assert "\n" not in str(error.value)
