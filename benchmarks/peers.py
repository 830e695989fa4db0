"""Other people's projectors on our scenes; each is None where its package is missing.

    pip install itk-rtk nanodrr diffdrr      and Debian's plastimatch

RTK interpolates as ours does (Joseph), so the images agree; nanodrr and DiffDRR take trilinear samples, as many along
a ray as the volume has voxels a side; plastimatch follows Siddon. DiffDRR's renderer is called without its detector.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from crossray.geometry import Cameras
from crossray.geometry.formats import to_nanodrr
from crossray.volumes.volume import Volume

Work = Callable[[], object]


def rtk(mu: Volume, cameras: Cameras) -> Work | None:
    """RTK's Joseph projector."""
    try:
        import itk
        from itk import RTK as rtk
    except ImportError:
        return None
    image = itk.image_from_array(mu.values.numpy())
    image.SetSpacing(list(mu.spacing))
    image.SetOrigin(mu.world_from_voxel[:3, 3].tolist())
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    for view in range(len(cameras)):
        column, row = cameras.column_step[view], cameras.row_step[view]
        geometry.AddProjection(
            cameras.source[view].tolist(), cameras.first_pixel[view].tolist(),
            (column / column.norm()).tolist(), (row / row.norm()).tolist(),
        )  # fmt: skip
    spacing = [float(cameras.column_step[0].norm()), float(cameras.row_step[0].norm()), 1.0]
    blank = np.zeros((len(cameras), *cameras.size), np.float32)

    def once() -> object:
        stack = itk.image_from_array(blank)
        stack.SetSpacing(spacing)
        kind = itk.Image[itk.F, 3]
        joseph = rtk.JosephForwardProjectionImageFilter[kind, kind].New()
        joseph.SetInput(stack)
        joseph.SetInput(1, image)
        joseph.SetGeometry(geometry)
        joseph.Update()
        return joseph.GetOutput()

    return once


def nanodrr(
    mu: Volume, cameras: Cameras, device: str = "cpu", backend: str = "torch"
) -> Work | None:
    """nanodrr's projector; on a GPU with backend `triton` its fused kernel."""
    try:
        from nanodrr.data import Subject
        from nanodrr.drr import DRR
    except ImportError:
        return None
    ras_from_lps = torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64).diag()
    world = ras_from_lps @ mu.world_from_voxel
    image = mu.values[None, None]
    subject = Subject(
        image, torch.zeros_like(image), world.float(), torch.linalg.inv(world).float(),
        Subject._make_voxel_to_grid(image.shape), torch.zeros(3), max_label=0, convert_to_mu=False,
    ).to(device)  # fmt: skip
    given = to_nanodrr(cameras)
    drr = DRR(given.k_inv[:1].float(), given.sdd[:1].float(), given.height, given.width).to(device)
    poses, samples = given.rt_inv.float().to(device), mu.values.shape[0]

    def once() -> torch.Tensor:
        with torch.no_grad():
            return drr(subject, poses, n_samples=samples, backend=backend)[:, 0]

    return once


def diffdrr(mu: Volume, cameras: Cameras) -> Work | None:
    """DiffDRR's trilinear renderer."""
    try:
        from diffdrr.renderers import Trilinear
    except ImportError:
        return None
    voxels = mu.values.permute(2, 1, 0).contiguous()
    inverse = mu.voxel_from_world
    source = (cameras.source @ inverse[:3, :3].T + inverse[:3, 3]).float()[:, None]
    pixels = cameras.pixel_positions().flatten(1, 2)
    lengths = torch.linalg.norm(pixels - cameras.source[:, None], dim=-1).float()[:, None]
    target = (pixels @ inverse[:3, :3].T + inverse[:3, 3]).float()
    renderer = Trilinear(voxel_shift=0.0)

    def once() -> torch.Tensor:
        with torch.no_grad():
            return renderer(voxels, source, target, lengths, n_points=mu.values.shape[0])

    return once


def plastimatch_seconds(mu: Volume, size: tuple[int, int], field_mm: float) -> float | None:
    """Seconds that plastimatch takes for one more view: nine views of an orbit less one, so that reading cancels."""
    if shutil.which("plastimatch") is None:
        return None
    import SimpleITK as sitk

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mu.mha"
        image = sitk.GetImageFromArray(mu.values.numpy())
        image.SetSpacing(mu.spacing)
        image.SetOrigin(mu.world_from_voxel[:3, 3].tolist())
        sitk.WriteImage(image, str(file))
        taken = []
        for views in (1, 9):
            start = time.perf_counter()
            subprocess.run(
                [
                    "plastimatch", "drr", "-t", "raw", "-P", "none", "-a", str(views), "-N", "20",
                    "--sad", "1000", "--sid", "1100", "-r", f"{size[0]} {size[1]}",
                    "-z", f"{field_mm} {field_mm}",
                    "-o", " ".join(str(float(x)) for x in mu.center), "-O", f"{folder}/drr", str(file),
                ],
                check=True, capture_output=True,
            )  # fmt: skip
            taken.append(time.perf_counter() - start)
    return (taken[1] - taken[0]) / 8
