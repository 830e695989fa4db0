"""Block averages of a volume: the coarse grid of the paper's definition."""

import torch
from torch.nn.functional import avg_pool3d, pad

from crossray.volumes.volume import Volume

AIR_HU = -1000.0


def block_average(volume: Volume, block: int, fill: float = AIR_HU) -> Volume:
    """The volume averaged over cubes of `block` voxels; its far sides are filled up with `fill` to whole cubes."""
    missing = [(-n) % block for n in reversed(volume.values.shape)]
    padded = pad(volume.values, [side for n in missing for side in (0, n)], value=fill)
    values = avg_pool3d(padded[None], block)[0]
    scale = torch.eye(4, dtype=torch.float64)
    scale[:3, :3] *= block
    scale[:3, 3] = (block - 1) / 2
    return Volume(values, volume.world_from_voxel @ scale, volume.name)
