"""The CUDA matrix, in numba's simulator or on a GPU: against the CPU's kernel."""

import numpy as np
import torch

from crossray.correspondence import TissueWeight, correspondence
from crossray.geometry import Cameras
from crossray.volumes.volume import Volume


def random_scene(seed: int, shape: tuple[int, int, int], views: int = 2, sod_mm: float = 60.0):
    """A few voxels in HU, sheared and anisotropic, partly beside the detectors."""
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.7, 2.5, 3)
    affine[:3, :3] @= np.eye(3) + np.triu(rng.uniform(-0.3, 0.3, (3, 3)), 1)
    values = torch.from_numpy(rng.uniform(-900, 600, shape))
    volume = Volume(values, torch.from_numpy(affine))
    cameras = Cameras.from_angles(
        *rng.uniform(-180, 180, (3, views)).tolist(),
        sod_mm=sod_mm, sdd_mm=sod_mm + 10, size=(12, 8), pixel_mm=rng.uniform(0.6, 2.5, views).tolist(),
        isocenter=volume.center + torch.from_numpy(rng.normal(size=3)),
    )  # fmt: skip
    return volume, cameras


def weighed(scene):
    """Weights in place of HU: few, and some of them over 1."""
    volume, cameras = scene
    return Volume((volume.values / 500).clamp(min=0), volume.world_from_voxel), cameras


def deep_scene():
    """Voxels off the border, one of which sees both detectors between two dominant axes."""
    values = torch.full((7, 7, 7), -1000.0)
    values[2:5, 2:5, 2:5] = torch.linspace(-400, 800, 27).reshape(3, 3, 3)
    volume = Volume(values, torch.eye(4))
    cameras = Cameras.from_angles(
        [0, 45], [10, 0],
        sod_mm=60, sdd_mm=66, size=(12, 12), pixel_mm=0.6, isocenter=volume.center,
    )  # fmt: skip
    return volume, cameras


def test_agrees_with_the_cpu(on_cuda):
    plain = {"patch": 4, "weight": None}
    calls = [
        ("correspondence", random_scene(0, (3, 4, 3)), {"patch": 4}),
        ("correspondence", random_scene(1, (2, 3, 4), 3), {"patch": 2, "itself": False}),
        ("correspondence", random_scene(10, (1, 1, 1), 1), {"patch": 1}),
        ("correspondence", weighed(random_scene(4, (3, 2, 4))), plain),
        ("correspondence", weighed(random_scene(5, (3, 3, 3))), plain | {"normalise": False}),
        ("correspondence", deep_scene(), {"patch": 4, "weight": TissueWeight(100.0, 0.01, -300.0)}),
        (
            "correspondence",
            random_scene(6, (32, 16, 16), sod_mm=300.0),
            {"patch": 4, "definition": "paper"},
        ),
    ]
    for (_, scene, options), matrix in zip(calls, on_cuda(calls), strict=True):
        expected = correspondence(*scene, **options)
        assert expected.max() > 0.1
        torch.testing.assert_close(matrix, expected, rtol=0, atol=1e-6 * float(expected.max()))
