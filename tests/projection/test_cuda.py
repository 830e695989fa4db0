"""The CUDA projector, in numba's simulator or on a GPU: against the slow twin and the CPU's kernel."""

import numpy as np
import torch

from crossray.geometry import Cameras
from crossray.projection import project
from crossray.projection.rays import ray_table
from crossray.projection.reference import project_reference
from crossray.volumes.volume import Volume


def sheared_scene(seed: int, shape: tuple[int, int, int], size: tuple[int, int]):
    """An anisotropic, sheared volume and three cameras, one with its detector in the middle of it."""
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    turn, spacing = np.linalg.qr(rng.normal(size=(3, 3)))[0], np.diag(rng.uniform(0.5, 3, 3))
    affine[:3, :3] = turn @ spacing @ (np.eye(3) + np.triu(rng.uniform(-0.4, 0.4, (3, 3)), 1))
    affine[:3, 3] = rng.normal(size=3) * 20
    volume = Volume(torch.from_numpy(rng.random(shape)), torch.from_numpy(affine))
    cameras = Cameras.from_angles(
        *rng.uniform(-180, 180, (3, 3)).tolist(),
        sod_mm=60.0, sdd_mm=[60.0, 80.0, 300.0], size=size, pixel_mm=[0.8, 1.5, 2.0], isocenter=volume.center,
    )  # fmt: skip
    return volume, cameras


def along_axes(shape: tuple[int, int, int]):
    """Rays along an axis, ties between axes, and a source beside the volume that looks past it."""
    volume = Volume(torch.rand(shape, generator=torch.Generator().manual_seed(0)), torch.eye(4))
    cameras = Cameras.from_angles(
        [0, 45, 0], [0, 0, 90],
        sod_mm=50, sdd_mm=60, size=(7, 7), pixel_mm=0.5, isocenter=volume.center,
    )  # fmt: skip
    # From (-1, 0.7, 0.2) past the corner of the volume to a detector inside of it.
    beside = Cameras(
        torch.tensor([[-1.0, 0.7, 0.2]]),
        torch.tensor([[0.4, -1.5, -1.0]]),
        torch.tensor([[0.0, 0.5, 0.0]]),
        torch.tensor([[0.1, 0.0, 0.4]]),
        size=(7, 7),
    )
    return volume, Cameras.stack([cameras, beside])


def test_agrees_with_the_slow_twin_and_the_cpu(on_cuda):
    scenes = [
        sheared_scene(0, (5, 6, 4), (6, 5)),
        sheared_scene(1, (6, 3, 5), (9, 3)),
        *map(along_axes, [(1, 1, 1), (1, 4, 5), (3, 1, 2), (4, 5, 1), (4, 4, 4)]),
    ]
    results = on_cuda([("project", scene, {}) for scene in scenes])
    for (volume, cameras), lines in zip(scenes, results, strict=True):
        expected = project_reference(volume.values, ray_table(volume, cameras))
        close = {"rtol": 0, "atol": 1e-6 * float(expected.max())}
        assert (expected > 0).flatten(1).any(1).all()
        torch.testing.assert_close(lines.double(), expected, **close)
        torch.testing.assert_close(lines, project(volume, cameras), **close)
