import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import crossray as cr
from crossray.correspondence.epipolar import level_agreement
from crossray.errors import InputError
from crossray.geometry.epipolar import fundamental_matrix
from crossray.volumes.phantom import phantom


def ball(radius_mm=40, spacing_mm=2):
    axis = torch.arange(-50, 51, spacing_mm).float()
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    hu = torch.where(x**2 + y**2 + z**2 < radius_mm**2, 40.0, -1000.0)
    affine = torch.diag(torch.tensor([spacing_mm, spacing_mm, spacing_mm, 1.0])).double()
    affine[:3, 3] = -50
    return cr.Volume(hu, affine)


def views(turn, roll=(0.0, 0.0), isocenter=(0.0, 0.0, 0.0)):
    return cr.Cameras.from_angles(
        primary=[0, turn], secondary=[0, 0], roll=list(roll), sod_mm=5000, sdd_mm=5100,
        size=(128, 128), pixel_mm=0.9, isocenter=torch.tensor(isocenter, dtype=torch.float64),
    )  # fmt: skip


def test_a_matrix_one_can_compute_by_hand():
    # Two patches a side; each matches itself and its mirror image in the row: rows agree, columns do not.
    matrix = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1.0]])
    found = level_agreement(matrix, (2, 2))
    assert found.first_deg == pytest.approx(0, abs=1e-9)
    assert found.roll_deg == pytest.approx(0, abs=1e-9)
    assert found.along == pytest.approx(1)
    assert found.within == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("turn", [30, 60, 90, 120, 150])
def test_a_ball_from_two_directions_correlates_as_the_cosine_of_the_turn(turn):
    truth = cr.correspondence(ball(), views(turn), patch=8)
    found = level_agreement(truth[0, 1], (16, 16))
    assert found.along > 0.95
    assert found.within == pytest.approx(math.cos(math.radians(turn)), abs=0.1)


@given(st.floats(-40, 40), st.floats(-40, 40))
def test_rolled_views_are_found_rolled(first, second):
    truth = cr.correspondence(ball(spacing_mm=4), views(90, (first, second)), patch=8)
    found = level_agreement(truth[0, 1], (16, 16))
    assert found.roll_deg == pytest.approx(second - first, abs=3)


def test_swapping_the_views_swaps_the_answer():
    matrix = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    there, back = level_agreement(matrix, (8, 8)), level_agreement(matrix.T, (8, 8))
    assert there.first_deg == pytest.approx(back.second_deg)
    assert there.within == pytest.approx(back.within)


def test_the_true_matrix_of_a_limb_knows_its_epipolar_lines():
    limb = phantom("knee", 0)
    cameras = cr.Cameras.from_angles(
        primary=[5, 85], secondary=[8, -6], roll=[10, -12], sod_mm=1000, sdd_mm=1100,
        size=(256, 256), pixel_mm=0.6, isocenter=limb.center,
    )  # fmt: skip
    found = level_agreement(cr.correspondence(limb, cameras)[0, 1], (16, 16))
    fundamental = fundamental_matrix(cameras, 0, 1)
    middle = torch.tensor([127.5, 127.5, 1.0], dtype=torch.float64)
    for line, angle in (
        (fundamental.T @ middle, found.first_deg),
        (fundamental @ middle, found.second_deg),
    ):
        true = math.degrees(math.atan(line[1] / line[0]))
        assert angle == pytest.approx(true, abs=2)


@pytest.mark.parametrize("matrix", [torch.zeros(4, 4), torch.eye(4)[:, :1] @ torch.ones(1, 4)])
def test_matches_on_one_line_say_nothing(matrix):
    with pytest.raises(InputError, match="one line"):
        level_agreement(matrix, (2, 2))


def test_another_grid_is_refused():
    with pytest.raises(InputError, match=r"\(4, 4\)"):
        level_agreement(torch.ones(4, 4), (4, 4))
