"""Descriptions of other programs: there and back, and against numbers that those programs gave."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.geometry.formats import (
    RtkView,
    from_astra,
    from_nanodrr,
    from_pinholes,
    from_rtk,
    to_astra,
    to_nanodrr,
    to_pinholes,
    to_rtk,
)

FIELDS = ("source", "first_pixel", "column_step", "row_step")


def same(one: Cameras, other: Cameras) -> None:
    assert one.size == other.size
    for name in FIELDS:
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=1e-8, rtol=0)


def arms() -> Cameras:
    """Four C-arm views off centre; the first and third look along an axis of the world."""
    cameras = Cameras.from_angles(
        [0, 30, 90, 40], [0, 10, 0, 25], [0, 5, -7, 33],
        sod_mm=1000, sdd_mm=1100, size=(30, 50), pixel_mm=1.5, isocenter=(10, 20, -30),
    )  # fmt: skip
    return cameras.crop(3.5, -2, (30, 50))


def skewed(seed: int) -> Cameras:
    """Any cameras: slanting pixels, mirrored detectors, sources off centre."""
    draw = torch.Generator().manual_seed(seed)
    steps = torch.randn(2, 3, 3, generator=draw, dtype=torch.float64)
    source = 1000 * torch.randn(3, 3, generator=draw, dtype=torch.float64)
    normal = torch.linalg.cross(*steps)
    first = source + normal * (1 + torch.rand(3, 1, generator=draw)) * 500
    return Cameras(source, first, *steps, size=(7, 9))


@pytest.mark.parametrize("form", ["pinholes", "astra", "nanodrr"])
@given(seed=st.integers(0, 10_000))
def test_there_and_back(form: str, seed: int):
    cameras = skewed(seed)
    back = {
        "pinholes": lambda: from_pinholes(to_pinholes(cameras)),
        "astra": lambda: from_astra(to_astra(cameras), cameras.size),
        "nanodrr": lambda: from_nanodrr(to_nanodrr(cameras)),
    }[form]()
    same(back, cameras)


def test_there_and_back_by_rtk():
    same(from_rtk(to_rtk(arms()), arms().size), arms())


@pytest.mark.parametrize("secondary", [-90, 0, 90])
@given(primary=st.floats(-180, 180), roll=st.floats(-180, 180), tilt=st.sampled_from([0, 1e-4, 20]))
def test_there_and_back_by_rtk_at_the_poles_of_its_angles(secondary, primary, roll, tilt):
    cameras = Cameras.from_angles(
        primary, secondary - tilt, roll, sod_mm=900, sdd_mm=1000, size=(3, 4), pixel_mm=1
    )
    same(from_rtk(to_rtk(cameras), cameras.size), cameras)


def test_pinhole_by_hand():
    """Straight from the front: columns run to the patient's left (+x), the detector lies anterior (-y)."""
    camera = Cameras.from_angles(0, 0, sod_mm=1000, sdd_mm=1100, size=(3, 5), pixel_mm=2)
    pinhole = to_pinholes(camera)
    assert pinhole.intrinsic[0].tolist() == [[550, 0, 2], [0, -550, 1], [0, 0, 1]]
    assert pinhole.rotation[0].tolist() == [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    assert pinhole.translation[0].tolist() == [0, 0, 1000]
    assert pinhole.sdd_mm.tolist() == [1100]
    # 11 mm to the left, 22 mm up at the isocentre: 12.1 and 24.2 mm at the detector of 2 mm pixels.
    x = pinhole.rotation[0] @ torch.tensor([11.0, 0, 22]).double() + pinhole.translation[0]
    column, row, depth = pinhole.intrinsic[0] @ x
    assert float(column / depth) == pytest.approx(2 + 6.05)
    assert float(row / depth) == pytest.approx(1 - 12.1)


@given(seed=st.integers(0, 10_000))
def test_a_pinhole_projects_as_the_camera_does(seed: int):
    cameras = skewed(seed)
    pinholes = to_pinholes(cameras)
    assert torch.linalg.det(pinholes.rotation) == pytest.approx(torch.ones(3).numpy())
    points = torch.randn(20, 3, dtype=torch.float64) * 50
    seen = pinholes.rotation @ points.T + pinholes.translation[:, :, None]
    column, row, depth = (pinholes.intrinsic @ seen).unbind(1)
    expected = cameras.project_points(points)
    front = depth > 1e-3
    torch.testing.assert_close((row / depth)[front], expected[..., 0][front])
    torch.testing.assert_close((column / depth)[front], expected[..., 1][front])


def test_a_scaled_intrinsic_matrix_is_the_same_camera():
    pinholes = to_pinholes(arms())
    same(from_pinholes(replace(pinholes, intrinsic=7 * pinholes.intrinsic)), arms())


def test_astra_by_hand():
    camera = Cameras.from_angles(0, 0, sod_mm=1000, sdd_mm=1100, size=(3, 5), pixel_mm=2)
    assert to_astra(camera).tolist() == [[0, 1000, 0, 0, -100, 0, 2, 0, 0, 0, 0, -2]]


def test_rtk_parameters_are_those_of_rtk():
    """What itk-rtk 2.7 derives from the same source, first pixel and axes."""
    golden = [
        (0.0, 270.0, 0.0, 1020.0, 1100.0, 10.0, 30.0, -29.75, 13.5),
        (250.5745998593172, 301.4749488891855, 101.73957752738715, 1017.3427772039958, 1100.0,
         16.200760541966172, 28.926863582394105, -23.549239458033846, 12.426863582394104),
        (270.0, 360.0, 97.0, 990.0, 1100.0,
         23.507003334980865, 27.33899768113671, -16.242996665019135, 10.838997681136714),
        (234.04114433687997, 316.0307631231939, 83.73242269990799, 1020.7383545718227, 1100.0,
         4.4449562162956795, 30.82471433587949, -35.3050437837042, 14.324714335879396),
    ]  # fmt: skip
    for view, numbers in zip(to_rtk(arms()), golden, strict=True):
        angles = (view.gantry_angle, view.out_of_plane_angle, view.in_plane_angle)
        for angle, expected in zip(angles, numbers[:3], strict=True):
            assert (angle - expected + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)
        distances = (view.source_to_isocenter, view.source_to_detector)
        assert (*distances, *view.source_offset, *view.projection_offset) == pytest.approx(
            numbers[3:]
        )
        assert view.spacing == pytest.approx((1.5, 1.5))


def test_rtk_parameters_give_its_matrix():
    """The 3 x 4 matrix that itk-rtk 2.7 makes of these parameters maps to the same detector positions, in mm."""
    view = RtkView(20, -35, 50, 900, 1300, (12, -7), (-40, 33), (2, 3))
    points = torch.tensor([[10.0, 20, -30], [5, 60, 40]])
    rows_columns = from_rtk([view], (10, 12)).project_points(points)[0]
    x_y = rows_columns.flip(1) * torch.tensor(view.spacing)
    expected = torch.tensor([[86.4298, -23.4001], [56.0710, 8.3326]], dtype=torch.float64)
    torch.testing.assert_close(x_y, expected, atol=1e-4, rtol=0)


def test_nanodrr_rays_end_on_our_pixels():
    """Its renderer aims at sdd * k_inv (column + 1/2, row + 1/2, 1) in the camera's frame; its world is RAS."""
    cameras = arms()
    views = to_nanodrr(cameras)
    row, column = 4, 11
    aim = views.sdd[:, None] * (views.k_inv @ torch.tensor([column + 0.5, row + 0.5, 1.0]).double())
    world = (views.rt_inv[:, :3, :3] @ aim[:, :, None])[:, :, 0] + views.rt_inv[:, :3, 3]
    expected = cameras.pixel_positions()[:, row, column] * torch.tensor([-1.0, -1.0, 1.0])
    torch.testing.assert_close(world, expected)
    assert (views.height, views.width) == cameras.size


def test_what_rtk_does_not_know_is_refused():
    with pytest.raises(InputError, match="right angles"):
        to_rtk(replace(arms(), row_step=arms().row_step + 0.1 * arms().column_step))
    with pytest.raises(InputError, match="mirrored"):
        to_rtk(replace(arms(), column_step=-arms().column_step))


def test_bad_descriptions_are_refused():
    with pytest.raises(InputError, match="12 numbers"):
        from_astra(torch.zeros(2, 6), (3, 3))
    pinholes = to_pinholes(arms())
    with pytest.raises(InputError, match="sdd_mm"):
        from_pinholes(replace(pinholes, sdd_mm=torch.zeros(4)))
    with pytest.raises(InputError, match="invertible"):
        from_pinholes(replace(pinholes, intrinsic=torch.zeros(4, 3, 3)))
