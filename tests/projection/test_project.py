"""The projector: against its slow twin, an independent program, numbers by hand, and what must not change it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.projection import project
from crossray.projection.rays import ray_table
from crossray.projection.reference import project_reference
from crossray.volumes.volume import Volume


def random_scene(seed: int, shape: tuple[int, int, int] = (5, 6, 4)) -> tuple[Volume, Cameras]:
    """A small volume in any orientation and three cameras around it."""
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 3, 3)
    affine[:3, 3] = rng.normal(size=3) * 20
    volume = Volume(torch.from_numpy(rng.random(shape)), torch.from_numpy(affine))
    cameras = Cameras.from_angles(
        *rng.uniform(-180, 180, (3, 3)).tolist(),
        sod_mm=float(rng.uniform(60, 900)), sdd_mm=1000.0, size=(11, 13), pixel_mm=float(rng.uniform(0.5, 3)),
        isocenter=volume.center + torch.from_numpy(rng.normal(size=3)),
    )  # fmt: skip
    return volume, cameras


def reference(volume: Volume, cameras: Cameras) -> torch.Tensor:
    return project_reference(volume.values, ray_table(volume, cameras))


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_kernel_agrees_with_the_slow_twin(seed: int) -> None:
    volume, cameras = random_scene(seed)
    torch.testing.assert_close(
        project(volume, cameras).double(), reference(volume, cameras), rtol=2e-6, atol=2e-6
    )


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 5), (3, 1, 2), (2, 2, 2), (4, 5, 1)])
@pytest.mark.parametrize("angles", [(0, 0), (90, 0), (45, 0), (0, 90), (30, 40)])
def test_awkward_scenes(shape: tuple[int, int, int], angles: tuple[int, int]) -> None:
    """Single layers, rays along an axis, ties between axes."""
    volume = Volume(torch.rand(shape, generator=torch.Generator().manual_seed(0)), torch.eye(4))
    cameras = Cameras.from_angles(
        angles[0],
        angles[1],
        sod_mm=100,
        sdd_mm=120,
        size=(9, 9),
        pixel_mm=0.5,
        isocenter=volume.center,
    )
    lines = project(volume, cameras)
    torch.testing.assert_close(lines.double(), reference(volume, cameras), rtol=2e-6, atol=2e-6)
    assert lines[0, 4, 4] > 0


def test_central_ray_by_hand() -> None:
    """Through 3 x 3 x 5 voxels of 2 mm, the stay between the outer voxel centres is 4 steps: 8 mm."""
    volume = Volume(torch.full((3, 5, 3), 0.25), torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])))
    camera = Cameras.from_angles(
        0, 0, sod_mm=500, sdd_mm=600, size=(1, 1), pixel_mm=1, isocenter=volume.center
    )
    assert project(volume, camera).item() == pytest.approx(0.25 * 8, rel=1e-6)


def test_oblique_path_by_hand() -> None:
    """At 30 degrees a slab's path is its spacing over cos 30."""
    volume = Volume(torch.zeros(3, 41, 41), torch.eye(4))
    volume.values[:, 20, :] = 1.0
    camera = Cameras.from_angles(
        30, 0, sod_mm=500, sdd_mm=600, size=(1, 1), pixel_mm=1, isocenter=volume.center
    )
    assert project(volume, camera).item() == pytest.approx(1 / np.cos(np.radians(30)), rel=1e-6)


@pytest.mark.parametrize("number", [1, 2])
def test_agrees_with_rtk(shared, number: int) -> None:
    """RTK 2.7.0's Joseph projector, three random poses of an anisotropic volume."""
    with np.load(shared / "golden" / f"golden_{number}.npz") as golden:
        affine = np.diag([*golden["spacing_mm"], 1.0])
        affine[:3, 3] = golden["first_voxel_mm"]
        vectors = (
            golden[k] for k in ("source_mm", "first_pixel_mm", "column_step_mm", "row_step_mm")
        )
        expected = golden["line_integrals"]
        volume = Volume(torch.from_numpy(golden["volume"]), torch.from_numpy(affine))
        lines = project(
            volume, Cameras(*map(torch.from_numpy, vectors), size=expected.shape[1:])
        ).numpy()
    assert np.abs(lines - expected).max() <= 1e-6 * expected.max()


@given(st.integers(0, 1000))
@settings(max_examples=8)
def test_moving_patient_and_camera_together_changes_nothing(seed: int) -> None:
    volume, cameras = random_scene(seed)
    rng = np.random.default_rng(seed + 1)
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3] = torch.from_numpy(np.linalg.qr(rng.normal(size=(3, 3)))[0])
    motion[:3, 3] = torch.from_numpy(rng.normal(size=3) * 100)
    elsewhere = Volume(volume.values, motion @ volume.world_from_voxel)
    torch.testing.assert_close(
        project(volume, cameras), project(elsewhere, cameras.moved(motion)), rtol=1e-4, atol=1e-5
    )


@given(st.integers(0, 1000))
@settings(max_examples=8)
def test_is_linear_in_the_volume(seed: int) -> None:
    volume, cameras = random_scene(seed)
    part = torch.rand(volume.values.shape, generator=torch.Generator().manual_seed(seed))
    one, other = (
        Volume(v, volume.world_from_voxel)
        for v in (volume.values * part, volume.values * (1 - part))
    )
    whole = project(one, cameras) + project(other, cameras)
    torch.testing.assert_close(project(volume, cameras), whole, rtol=1e-5, atol=1e-5)


def test_reference_is_differentiable() -> None:
    volume, cameras = random_scene(3, (2, 3, 2))
    rays = ray_table(volume, cameras.crop(5, 6, (2, 2)))
    values = volume.values.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: project_reference(v, rays), values)


def test_air_around_the_volume_counts_nothing() -> None:
    """Padding with air adds only what lies between the outer voxel centres and the air."""
    volume, cameras = random_scene(5)
    inner = volume.values.clone()
    inner[[0, -1]] = inner[:, [0, -1]] = inner[:, :, [0, -1]] = 0
    zeroed = Volume(inner, volume.world_from_voxel)
    shift = torch.eye(4, dtype=torch.float64)
    shift[:3, 3] = -2
    padded = Volume(torch.nn.functional.pad(inner, (2,) * 6), volume.world_from_voxel @ shift)
    more = Volume(torch.nn.functional.pad(padded.values, (2,) * 6), padded.world_from_voxel @ shift)
    torch.testing.assert_close(
        project(padded, cameras), project(more, cameras), rtol=1e-5, atol=1e-5
    )
    assert (project(padded, cameras) - project(zeroed, cameras)).min() > -1e-5


def test_source_inside_the_volume_is_refused() -> None:
    volume = Volume(torch.ones(20, 20, 20), torch.eye(4), "limb.nii")
    camera = Cameras.from_angles(
        0, 0, sod_mm=5, sdd_mm=50, size=(4, 4), pixel_mm=1, isocenter=volume.center
    )
    with pytest.raises(InputError, match=r"limb\.nii"):
        project(volume, camera)
