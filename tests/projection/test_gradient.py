"""Derivatives of the projector: the adjoint, the slow twin, finite differences, and a registration they drive."""

import math

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.geometry import Cameras, rigid_motion
from crossray.projection import project
from crossray.projection.gradient import Projection
from crossray.projection.rays import RayTable, ray_table
from crossray.projection.reference import project_reference
from crossray.volumes.volume import Volume

SHAPES = [(5, 6, 4), (1, 4, 5), (3, 1, 2), (1, 1, 1), (2, 2, 2), (18, 3, 19)]


def random_scene(seed: int, shape: tuple[int, int, int]) -> tuple[Volume, Cameras]:
    """A small sheared, anisotropic volume and two cameras around it."""
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine[:3, :3] = turn @ (
        np.diag(rng.uniform(0.5, 3, 3)) + np.triu(rng.normal(size=(3, 3)), 1) / 3
    )
    volume = Volume(torch.from_numpy(rng.random(shape)), torch.from_numpy(affine), f"scene {seed}")
    cameras = Cameras.from_angles(
        *rng.uniform(-180, 180, (3, 2)).tolist(),
        sod_mm=float(rng.uniform(90, 900)), sdd_mm=1000.0, size=(9, 11), pixel_mm=float(rng.uniform(0.5, 4)),
        isocenter=volume.center + torch.from_numpy(rng.normal(size=3)),
    )  # fmt: skip
    return volume, cameras


def along_axis(
    angles: tuple[int, int], shape: tuple[int, int, int], sdd_mm: float
) -> tuple[Volume, Cameras]:
    """Central rays along an axis, past the voxel centres; the detector may lie in the volume."""
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    volume = Volume(values, torch.eye(4))
    place = volume.center + torch.tensor([0.12, 0.23, 0.31]).double()
    return volume, Cameras.from_angles(
        *angles, sod_mm=100, sdd_mm=sdd_mm, size=(9, 9), pixel_mm=0.41, isocenter=place
    )


def gradients(
    volume: Volume, rays: RayTable, weights: torch.Tensor, *, slow: bool = False
) -> tuple[torch.Tensor, ...]:
    """Derivatives of sum(weights * lines) by values, vectors and metric, by the kernels or the slow twin."""
    inputs = [x.clone().requires_grad_() for x in (volume.values, rays.vectors, rays.metric)]
    if slow:
        lines = project_reference(inputs[0], RayTable(inputs[1], inputs[2], rays.size))
    else:
        lines = Projection.apply(*inputs, rays.size)
    return torch.autograd.grad((lines * weights).sum(), inputs)


def agree_with_the_slow_twin(volume: Volume, cameras: Cameras) -> None:
    rays = ray_table(volume, cameras)
    weights = torch.randn(len(cameras), *cameras.size)
    kernels = gradients(volume, rays, weights)
    for ours, slow in zip(kernels, gradients(volume, rays, weights, slow=True), strict=True):
        scale = float(slow.abs().max())
        torch.testing.assert_close(ours, slow.to(ours.dtype), rtol=0, atol=2e-6 * scale)


@given(st.integers(0, 10_000), st.sampled_from(SHAPES))
@settings(max_examples=12)
def test_kernels_agree_with_the_slow_twin(seed: int, shape: tuple[int, int, int]) -> None:
    agree_with_the_slow_twin(*random_scene(seed, shape))


@pytest.mark.parametrize("shape", SHAPES[:5])
@pytest.mark.parametrize("angles", [(0, 0), (90, 0), (0, 90), (45, 0)])
@pytest.mark.parametrize("sdd_mm", [120, 100.2])
def test_awkward_scenes(
    angles: tuple[int, int], shape: tuple[int, int, int], sdd_mm: float
) -> None:
    """Rays along an axis, single layers, ties between axes, pixels in the volume."""
    agree_with_the_slow_twin(*along_axis(angles, shape, sdd_mm))


@given(st.integers(0, 10_000), st.sampled_from(SHAPES))
@settings(max_examples=30)
def test_backprojection_is_the_adjoint(seed: int, shape: tuple[int, int, int]) -> None:
    """<A x, y> = <x, A^T y>."""
    volume, cameras = random_scene(seed, shape)
    rays = ray_table(volume, cameras)
    values = volume.values.requires_grad_()
    lines = Projection.apply(values, rays.vectors, rays.metric, rays.size)
    y = torch.rand(lines.shape)
    (back,) = torch.autograd.grad(lines, values, y)
    ahead = (lines.detach().double() * y).sum().item()
    assert (values.detach().double() * back).sum().item() == pytest.approx(
        ahead, rel=1e-6, abs=1e-12
    )


def test_one_ray_by_hand() -> None:
    """Along y through voxels of 2 mm at x = 1.25: weights 3/4 and 1/4, half slabs at both ends."""
    values = torch.zeros(3, 3, 4, requires_grad=True)
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0]))
    volume = Volume(values, affine)
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    start = torch.tensor([2.5, 2.0, 2.0]).double()
    place = start + shift * torch.tensor([1.0, 0, 0]).double()
    camera = Cameras.from_angles(
        0, 0, sod_mm=500, sdd_mm=600, size=(1, 1), pixel_mm=1, isocenter=place
    )
    (by_values,) = torch.autograd.grad(project(volume, camera).sum(), values, retain_graph=True)
    column = torch.tensor([1.0, 2.0, 1.0])
    expected = torch.zeros(3, 3, 4)
    expected[1, :, 1], expected[1, :, 2] = 0.75 * column, 0.25 * column
    torch.testing.assert_close(by_values, expected)
    # Where the third layer along x is 0.6/mm denser than the second, 4 mm of ray gain 1.2 for each mm to the left.
    ramp = Volume(0.6 * torch.arange(4.0).expand(3, 3, 4), affine)
    (by_shift,) = torch.autograd.grad(project(ramp, camera).sum(), shift)
    assert by_shift.item() == pytest.approx(0.6 / 2 * 4, rel=1e-6)


@given(st.integers(0, 10_000))
@settings(max_examples=6)
def test_camera_arguments_against_finite_differences(seed: int) -> None:
    """From the angles, distances and isocentre of a camera through everything, against the slow twin's differences."""
    rng = np.random.default_rng(seed)
    volume, _ = random_scene(seed, (4, 5, 6))
    weights = torch.rand(1, 7, 8)
    arguments = [
        *rng.uniform(-80, 80, 3),
        rng.uniform(200, 800),
        1000.0,
        rng.uniform(1, 4),
        1.0,
        2.0,
        3.0,
    ]

    def cameras(x: torch.Tensor) -> Cameras:
        primary, secondary, roll, sod, sdd, pixel = x[:6]
        return Cameras.from_angles(
            primary, secondary, roll, sod_mm=sod, sdd_mm=sdd, pixel_mm=pixel, size=(7, 8), isocenter=x[6:],
        )  # fmt: skip

    def slow(x: torch.Tensor) -> torch.Tensor:
        return (project_reference(volume.values, ray_table(volume, cameras(x))) * weights).sum()

    x = torch.tensor(arguments, dtype=torch.float64, requires_grad=True)
    (ours,) = torch.autograd.grad((project(volume, cameras(x)) * weights).sum(), x)
    steps = 1e-6 * torch.eye(len(x), dtype=torch.float64)
    with torch.no_grad():
        differences = torch.stack([(slow(x + h) - slow(x - h)) / 2e-6 for h in steps])
    torch.testing.assert_close(
        ours, differences, rtol=1e-4, atol=1e-4 * float(differences.abs().max())
    )


@given(st.integers(0, 10_000))
@settings(max_examples=8)
def test_patient_and_camera_move_each_other_back(seed: int) -> None:
    """Moved together they show the same; so the derivative by a common motion is 0 and by one minus the other's."""
    volume, cameras = random_scene(seed, (5, 6, 4))
    weights = torch.rand(2, *cameras.size)
    pose = torch.zeros(2, 6, dtype=torch.float64, requires_grad=True)
    patient, carried = (rigid_motion(p[:3], p[3:], volume.center) for p in pose)
    moved = Volume(volume.values, patient @ volume.world_from_voxel)
    lines = project(moved, cameras.moved(carried))
    (by_pose,) = torch.autograd.grad((lines * weights).sum(), pose)
    assert torch.isfinite(by_pose).all()
    assert by_pose[0].abs().max() > 0
    torch.testing.assert_close(
        by_pose[0], -by_pose[1], rtol=1e-5, atol=1e-5 * float(by_pose.abs().max())
    )


def test_gradients_reach_hounsfield_units() -> None:
    hu = torch.full((4, 5, 6), 100.0, requires_grad=True)
    volume, cameras = random_scene(2, (4, 5, 6))
    mu = Volume(hu, volume.world_from_voxel).attenuation(70.0)
    (by_hu,) = torch.autograd.grad(project(mu, cameras).sum(), hu)
    (by_mu,) = torch.autograd.grad(project(mu, cameras).sum(), mu.values)
    # At 70 keV attenuation is water's * (1 + hu / 1000) throughout, and water's is 0.0193 / mm.
    torch.testing.assert_close(by_hu, by_mu * 0.0193e-3, rtol=0.01, atol=0)
    assert by_mu.max() > 0


@pytest.mark.parametrize("shape", [(35, 20, 40)])
def test_same_bytes_for_any_number_of_threads(shape: tuple[int, int, int]) -> None:
    volume, cameras = random_scene(4, shape)
    rays = ray_table(volume, cameras.regrid((50, 60)))
    weights = torch.randn(2, 50, 60)
    whole = gradients(volume, rays, weights)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        alone = gradients(volume, rays, weights)
    finally:
        numba.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(whole, alone, strict=True))


def test_nothing_is_recorded_that_nobody_asked_for() -> None:
    volume, cameras = random_scene(0, (3, 4, 5))
    assert not project(volume, cameras).requires_grad
    wanting = Volume(volume.values.requires_grad_(), volume.world_from_voxel)
    with torch.no_grad():
        assert not project(wanting, cameras).requires_grad


def test_registration_converges() -> None:
    """Three ellipsoids seen twice, 10 degrees and 20 mm off, found again by descending the correlation."""
    z, y, x = torch.meshgrid(*[torch.arange(-30.0, 31, 3)] * 3, indexing="ij")
    places = [(-9, 0, -9, 12, 6, 9), (12, 6, 9, 6, 9, 12), (3, -12, 15, 6, 9, 6)]
    values = sum(
        0.02 * (-(((x - a) / d) ** 2) - ((y - b) / e) ** 2 - ((z - c) / f) ** 2).exp()
        for a, b, c, d, e, f in places
    )
    affine = torch.diag(torch.tensor([3.0, 3, 3, 1]).double())
    affine[:3, 3] = -30
    volume = Volume(values, affine)
    cameras = Cameras.from_angles([0, 90], 0, sod_mm=900, sdd_mm=1000, size=(32, 32), pixel_mm=4)
    true = torch.tensor([6.0, -6, 5.29, 12, -12, 10.58]).double()

    def lines(pose: torch.Tensor) -> torch.Tensor:
        motion = rigid_motion(pose[:3], pose[3:], volume.center)
        seen = project(volume, cameras.moved(torch.linalg.inv(motion))).flatten(1)
        return torch.nn.functional.normalize(seen - seen.mean(1, keepdim=True), dim=1)

    target = lines(true)
    pose = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.Adam([pose], lr=1.5)
    slowing = torch.optim.lr_scheduler.ExponentialLR(descent, 0.97)
    for _ in range(130):
        descent.zero_grad()
        (-(lines(pose) * target).sum()).backward()
        descent.step()
        slowing.step()
    assert math.dist(pose[:3].tolist(), true[:3].tolist()) < 0.2
    assert math.dist(pose[3:].tolist(), true[3:].tolist()) < 0.1
