"""Rigid motions: by hand, what they keep, and their derivative where the rotation is zero."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.geometry import Cameras, rigid_motion

numbers = st.lists(st.floats(-150, 150), min_size=3, max_size=3)


def vector(numbers: list[float]) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


@given(numbers, numbers, numbers)
@settings(max_examples=25)
def test_is_rigid_and_turns_about_its_center(rotation, translation, center):
    rotation, translation, center = map(vector, (rotation, translation, center))
    motion = rigid_motion(rotation, translation, center)
    turn = motion[:3, :3]
    torch.testing.assert_close(turn @ turn.T, torch.eye(3).double(), atol=1e-9, rtol=0)
    assert abs(float(torch.linalg.det(turn)) - 1) < 1e-9
    torch.testing.assert_close(
        turn @ center + motion[:3, 3], center + translation, atol=1e-9, rtol=0
    )
    torch.testing.assert_close(turn @ rotation, rotation, atol=1e-9, rtol=0)
    cosine = math.cos(math.radians(float(rotation.norm())))
    assert abs((float(turn.trace()) - 1) / 2 - cosine) < 1e-9


def test_derivative_at_zero_by_hand():
    """Turned by w radians, a point p moves by w x p."""
    pose = torch.zeros(3, dtype=torch.float64)
    point = vector([1.0, 2.0, 3.0])
    slopes = torch.autograd.functional.jacobian(
        lambda r: rigid_motion(r, torch.zeros(3), torch.zeros(3))[:3, :3] @ point, pose
    )
    cross = vector([0, 3, -2, -3, 0, 1, 2, -1, 0]).view(3, 3)
    torch.testing.assert_close(slopes, cross * math.pi / 180)


@given(numbers, numbers, numbers)
@settings(max_examples=25)
def test_moved_cameras_see_moved_points_where_they_were(rotation, translation, center):
    motion = rigid_motion(*map(vector, (rotation, translation, center)))
    cameras = Cameras.from_angles(
        [0, 50], [10, 0], sod_mm=900, sdd_mm=1000, size=(8, 9), pixel_mm=2
    )
    points = torch.tensor([[0.0, 0, 0], [20, -30, 40]]).double()
    moved = points @ motion[:3, :3].T + motion[:3, 3]
    torch.testing.assert_close(
        cameras.moved(motion).project_points(moved),
        cameras.project_points(points),
        atol=1e-8,
        rtol=0,
    )
