"""The true matrix: against brute force, an independent program, and what must not change it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.correspondence.blocks import block_average
from crossray.correspondence.ground_truth import correspondence
from crossray.correspondence.patches import TissueWeight
from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.projection import project
from crossray.projection.rays import ray_table
from crossray.projection.reference import project_reference
from crossray.volumes.volume import Volume


def margin(volume: Volume, cameras: Cameras) -> int:
    """Pixels around a detector that hold the rest of every footprint that touches it.

    A ray that sees a voxel passes through the cube of its neighbours' centres, so the footprint lies within the
    projection of that cube's corners.
    """
    voxels = torch.cartesian_prod(*map(torch.arange, reversed(volume.values.shape))).double()
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 3)
    points = (voxels[:, None] + corners).flatten(0, 1)
    world = points @ volume.world_from_voxel[:3, :3].T + volume.world_from_voxel[:3, 3]
    seen = cameras.project_points(world).unflatten(1, (len(voxels), 8))
    return int((seen.amax(2) - seen.amin(2)).max()) + 1


def footprints(volume: Volume, cameras: Cameras) -> torch.Tensor:
    """Columns of the system matrix (voxel, view, row, column), by projecting one voxel above 0 at a time."""
    rays = ray_table(volume, cameras)
    columns = []
    for z, y, x in volume.values.nonzero().tolist():
        alone = torch.zeros_like(volume.values, dtype=torch.float64)
        alone[z, y, x] = 1.0
        columns.append(project_reference(alone, rays))
    return torch.stack(columns)


def brute_force(volume: Volume, cameras: Cameras, patch: int) -> torch.Tensor:
    """Block maximum of the pixel-level definition; peaks are taken over all of each footprint."""
    (rows, columns), around = cameras.size, margin(volume, cameras)
    wide = footprints(
        volume, cameras.crop(-around, -around, (rows + 2 * around, columns + 2 * around))
    )
    peak = wide.amax((-1, -2), keepdim=True)
    scaled = torch.where(peak > 0, wide / peak, 0.0)
    detector = scaled[:, :, around : around + rows, around : around + columns]
    blocks = torch.nn.functional.max_pool2d(detector, patch).flatten(2)
    weights = volume.values[volume.values > 0].double()[:, None, None, None, None]
    return (weights * blocks[:, :, None, :, None] * blocks[:, None, :, None, :]).amax(0)


def random_scene(seed: int, shape: tuple[int, int, int] = (3, 4, 3)) -> tuple[Volume, Cameras]:
    """A few voxels in any orientation, partly beside the detectors."""
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.7, 2.5, 3)
    volume = Volume(torch.from_numpy(rng.random(shape)), torch.from_numpy(affine))
    cameras = Cameras.from_angles(
        *rng.uniform(-180, 180, (3, 2)).tolist(),
        sod_mm=60.0, sdd_mm=float(rng.uniform(64, 90)), size=(12, 8), pixel_mm=rng.uniform(0.6, 2.5, 2).tolist(),
        isocenter=volume.center + torch.from_numpy(rng.normal(size=3)),
    )  # fmt: skip
    return volume, cameras


@given(st.integers(0, 10_000), st.sampled_from([1, 2, 4]))
@settings(max_examples=8)
def test_exact_is_the_block_maximum_of_brute_force(seed: int, patch: int) -> None:
    volume, cameras = random_scene(seed)
    matrix = correspondence(volume, cameras, patch=patch, weight=None)
    torch.testing.assert_close(
        matrix.double(), brute_force(volume, cameras, patch), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("seed", range(5))
def test_exact_away_from_the_border(seed: int) -> None:
    """Voxels deep enough in a volume to take the fast paths."""
    deep, cameras = random_scene(seed, (7, 7, 7))
    values = torch.zeros_like(deep.values)
    values[2:5, 2:5, 2:5] = deep.values[2:5, 2:5, 2:5]
    volume = Volume(values, deep.world_from_voxel)
    matrix = correspondence(volume, cameras, patch=4, weight=None)
    torch.testing.assert_close(matrix.double(), brute_force(volume, cameras, 4), rtol=0, atol=1e-6)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0, 8.0]))
@settings(max_examples=8)
def test_voxels_about_and_behind_a_detector(seed: int, behind_mm: float) -> None:
    """A detector that cuts the volume: voxels behind it match nothing, those in it what their rays' rest sees."""
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.uniform(0.1, 1, (4, 5, 6)))
    affine = torch.diag(torch.tensor([2.0, 3.0, 5.0, 1.0], dtype=torch.float64))
    volume = Volume(values.float(), affine)
    cameras = Cameras.from_angles(
        primary=[3.0, 71.0], secondary=[4.0, -9.0], roll=[8.0, -3.0],
        sod_mm=200.0, sdd_mm=200.0 + behind_mm, size=(16, 16), pixel_mm=1.5,
        isocenter=volume.center + torch.from_numpy(rng.uniform(-10, 10, 3)),
    )  # fmt: skip
    found = correspondence(volume, cameras, patch=4, weight=None)
    torch.testing.assert_close(found.double(), brute_force(volume, cameras, 4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(("normalise", "name"), [(True, "corr_peak"), (False, "corr_product")])
def test_agrees_with_rtk(shared, number: int, normalise: bool, name: str) -> None:
    """RTK 2.7.0, one voxel at a time: peak-normalised footprints and plain products."""
    with np.load(shared / "golden" / f"golden_{number}.npz") as golden:
        affine = np.diag([*golden["coarse_spacing_mm"], 1.0])
        affine[:3, 3] = golden["coarse_first_voxel_mm"]
        names = (
            "source_mm",
            "coarse_first_pixel_mm",
            "coarse_column_step_mm",
            "coarse_row_step_mm",
        )
        vectors = [torch.from_numpy(golden[k]) for k in names]
        volume = Volume(torch.from_numpy(golden["coarse_volume"]), torch.from_numpy(affine))
        expected = golden[name]
    matrix = correspondence(
        volume, Cameras(*vectors, size=(9, 10)), patch=1, weight=None, normalise=normalise
    )
    assert np.abs(matrix.numpy() - expected).max() <= 1e-6 * expected.max()


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_swapping_views_transposes(seed: int) -> None:
    volume, cameras = random_scene(seed)
    matrix = correspondence(volume, cameras, patch=4, weight=None)
    swapped = correspondence(volume, cameras[[1, 0]], patch=4, weight=None)
    torch.testing.assert_close(swapped, matrix.flip(0).flip(1))
    torch.testing.assert_close(matrix[0, 1], matrix[1, 0].T)


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_splitting_a_volume_and_taking_the_maximum_gives_the_whole(seed: int) -> None:
    volume, cameras = random_scene(seed)
    chosen = torch.rand(volume.values.shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    parts = [Volume(volume.values * mask, volume.world_from_voxel) for mask in (chosen, ~chosen)]
    matrices = [correspondence(part, cameras, patch=2, weight=None) for part in parts]
    whole = correspondence(volume, cameras, patch=2, weight=None)
    torch.testing.assert_close(whole, torch.maximum(*matrices))


@pytest.mark.parametrize("voxel", [(5, 5, 5), (2, 7, 4), (0, 9, 9)])
def test_image_and_truth_share_geometry(voxel: tuple[int, int, int]) -> None:
    """One voxel lights exactly the patches that its matrix names, in every view."""
    values = torch.zeros(10, 10, 10)
    values[voxel] = 1.0
    volume = Volume(values, torch.diag(torch.tensor([1.5, 1.0, 2.0, 1.0])))
    cameras = Cameras.from_angles(
        [0, 80], [5, -20], [0, 30],
        sod_mm=300, sdd_mm=360, size=(64, 64), pixel_mm=0.5, isocenter=volume.center,
    )  # fmt: skip
    lit = torch.nn.functional.max_pool2d(project(volume, cameras), 8).flatten(1)
    named = correspondence(volume, cameras, patch=8, weight=None)
    assert lit.gt(0).any(1).all()
    assert torch.equal(named[0, 1] > 0, lit[0].gt(0)[:, None] & lit[1].gt(0))
    assert torch.equal(named[0, 0].amax(1) > 0, lit[0] > 0)


def test_a_voxel_beside_a_detector_matches_nothing_there() -> None:
    values = torch.zeros(9, 9, 9)
    values[4, 4, 4] = 1.0
    volume = Volume(values, torch.eye(4))
    cameras = Cameras.from_angles(
        [0, 90], 0, sod_mm=100, sdd_mm=110, size=(16, 16), pixel_mm=1.0, isocenter=volume.center
    )
    beside = Cameras.stack([cameras[0], cameras[1].crop(0, 40, (16, 16))])
    assert correspondence(volume, cameras, patch=4, weight=None)[0, 1].max() == pytest.approx(1.0)
    assert correspondence(volume, beside, patch=4, weight=None)[0, 1].max() == 0


def test_views_with_themselves_can_be_left_out() -> None:
    volume, cameras = random_scene(3)
    full = correspondence(volume, cameras, patch=4, weight=None)
    fewer = correspondence(volume, cameras, patch=4, weight=None, itself=False)
    assert torch.equal(fewer[0, 1], full[0, 1])
    assert fewer[0, 0].max() == 0


def test_three_views_are_their_pairs() -> None:
    volume, cameras = random_scene(4)
    third = Cameras.from_angles(
        20, 10, sod_mm=60, sdd_mm=70, size=(12, 8), pixel_mm=1.0, isocenter=volume.center
    )
    three = correspondence(volume, Cameras.stack([cameras, third]), patch=4, weight=None)
    pair = correspondence(volume, Cameras.stack([cameras[[0]], third]), patch=4, weight=None)
    assert torch.equal(three[0, 2], pair[0, 1])


def test_weights_from_hounsfield_units() -> None:
    """The default weight inside the kernel equals the same weight computed outside."""
    volume, cameras = random_scene(5)
    hu = Volume(volume.values * 3000 - 1000, volume.world_from_voxel)
    weights = Volume(TissueWeight()(hu.values), volume.world_from_voxel)
    inside = correspondence(hu, cameras, patch=4)
    outside = correspondence(weights, cameras, patch=4, weight=None)
    torch.testing.assert_close(inside, outside, rtol=0, atol=1e-6)


def test_paper_definition_is_one_ray_a_patch_through_blocks() -> None:
    generator = torch.Generator().manual_seed(0)
    volume = Volume(torch.rand(32, 48, 40, generator=generator) * 1000 - 500, torch.eye(4))
    cameras = Cameras.from_angles(
        [0, 90], 0, sod_mm=500, sdd_mm=550, size=(64, 64), pixel_mm=1.0, isocenter=volume.center
    )
    coarse = block_average(volume, (16, 16, 16))
    expected = correspondence(coarse, cameras.regrid((4, 4)), patch=1)
    assert torch.equal(correspondence(volume, cameras, 16, definition="paper"), expected)


def test_a_patch_that_does_not_divide_the_image_is_refused() -> None:
    volume, cameras = random_scene(0)
    with pytest.raises(InputError, match="patch=5"):
        correspondence(volume, cameras, patch=5)


def test_a_volume_behind_the_source_is_refused() -> None:
    volume = Volume(torch.ones(20, 20, 20), torch.eye(4), "limb.nii")
    camera = Cameras.from_angles(
        0, 0, sod_mm=15, sdd_mm=50, size=(4, 4), pixel_mm=1, isocenter=(9.5, 0, 9.5)
    )
    with pytest.raises(InputError, match=r"limb\.nii"):
        correspondence(volume, camera, patch=2)
