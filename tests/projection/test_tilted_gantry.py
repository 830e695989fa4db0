"""A tilted gantry's sheared grid holds the same patient: its radiograph and its truth are those of a straight grid."""

import torch

from crossray.correspondence import correspondence
from crossray.geometry import Cameras
from crossray.projection import project
from crossray.volumes.volume import Volume

TILT_MM = 0.6  # how much further back each slice of 2 mm begins: 17 degrees


def smooth_ball(world_from_voxel: torch.Tensor) -> Volume:
    """mu of a ball of 16 mm radius about (4, 10, -6) with a soft edge, sampled on a grid."""
    z, y, x = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) for n in (40, 80, 60)), indexing="ij"
    )
    voxels = torch.stack([x, y, z, torch.ones_like(x)], dim=-1)
    world = (voxels @ world_from_voxel.T)[..., :3]
    radius = torch.linalg.norm(world - torch.tensor([4.0, 10, -6], dtype=torch.float64), dim=-1)
    return Volume(0.02 * torch.sigmoid(16 - radius), world_from_voxel)


def grid(tilt_mm: float) -> torch.Tensor:
    affine = torch.diag(torch.tensor([1.0, 1.0, 2.0, 1.0], dtype=torch.float64))
    affine[1, 2] = tilt_mm
    affine[:3, 3] = torch.tensor([-30.0, -40 - 20 * tilt_mm + 10, -46])
    return affine


def test_radiograph_and_truth_follow_the_shear() -> None:
    cameras = Cameras.from_angles(
        [0, 90], [0, 20], [0, 0], sod_mm=1000, sdd_mm=1100, size=(64, 64), pixel_mm=1.2,
        isocenter=torch.tensor([4.0, 10, -6]),
    )  # fmt: skip
    straight, tilted = smooth_ball(grid(0)), smooth_ball(grid(TILT_MM))
    lines, other = project(straight, cameras), project(tilted, cameras)
    assert float((lines - other).abs().max()) < 0.02 * float(lines.max())
    # read as if the gantry stood straight, the ball is another
    wrong = Volume(tilted.values, grid(0))
    assert float((lines - project(wrong, cameras)).abs().max()) > 0.2 * float(lines.max())
    hu = [
        Volume(1000 * v.values / 0.02 - 1000, v.world_from_voxel) for v in (straight, tilted, wrong)
    ]
    truth, follows, strays = (correspondence(volume, cameras, patch=8)[0, 1] for volume in hu)
    # only patches that the ball's soft edge grazes differ
    assert float((truth - follows).abs().sum()) < 0.3 * float((truth - strays).abs().sum())
