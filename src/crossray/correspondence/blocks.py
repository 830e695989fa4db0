"""Block averages of a volume: the coarse grid of the paper's definition."""

import torch
from torch.nn.functional import avg_pool3d, pad

from crossray.projection.rays import on_gpu
from crossray.volumes.volume import AIR_HU, Volume


def block_average(volume: Volume, block: tuple[int, int, int], fill: float = AIR_HU) -> Volume:
    """The volume averaged over blocks of (z, y, x) voxels; its far sides are filled up with `fill` to whole blocks."""
    if on_gpu(volume.values):
        missing = [(-n) % b for n, b in zip(volume.values.shape, block, strict=True)]
        pads = [side for n in reversed(missing) for side in (0, n)]
        values = avg_pool3d(pad(volume.values, pads, value=fill)[None], block)[0]
    else:
        from crossray.volumes._cpu import block_average_kernel

        values = torch.from_numpy(block_average_kernel(volume.values.numpy(), block, fill))
    scale = torch.eye(4, dtype=torch.float64)
    for axis, b in enumerate(reversed(block)):
        scale[axis, axis], scale[axis, 3] = b, (b - 1) / 2
    return Volume(values, volume.world_from_voxel @ scale, volume.name)
