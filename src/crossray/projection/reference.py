"""The slow twin of the kernels: Joseph's projector in plain torch, float64, differentiable. It is the definition."""

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.projection.rays import RayTable


def project_reference(values: Float[Tensor, "z y x"], rays: RayTable) -> Float[Tensor, "view row column"]:
    """Line integrals by Joseph's method, in mm times the unit of `values`, float64.

    Along each ray's dominant voxel axis, at every slab between source and pixel: bilinear interpolation in the two
    other axes, times the path length per slab. Outside the volume is air (0).

    Args:
        values: The volume, any float dtype; carries gradients.
        rays: From `ray_table`.

    Source: Joseph, IEEE Trans Med Imaging 1 (1982) 192.
    """
    volume = torch.nn.functional.pad(values.to(torch.float64).permute(2, 1, 0), (1, 1) * 3)
    rows = torch.arange(rays.size[0], dtype=torch.float64)[:, None, None]
    columns = torch.arange(rays.size[1], dtype=torch.float64)[:, None]
    views = []
    for source, first, row_step, column_step in rays.vectors:
        direction = first + rows * row_step + columns * column_step
        # Ties go to the earlier axis, as in the kernels.
        dominant = direction.abs().argmax(-1)
        length = torch.einsum("...i,ij,...j->...", direction, rays.metric, direction).sqrt()
        total = torch.zeros_like(length)
        for axis in range(3):
            along, a, b = axis, (axis + 1) % 3, (axis + 2) % 3
            slabs = volume.permute(along, a, b)
            chosen = dominant == axis
            d = direction[chosen]
            path = length[chosen] / d[:, along].abs()
            total[chosen] = path * _sum_slabs(slabs, source[[along, a, b]], d[:, [along, a, b]])
        views.append(total)
    return torch.stack(views)


def _sum_slabs(
    slabs: Float[Tensor, "along a b"], source: Float[Tensor, " 3"], direction: Float[Tensor, "ray 3"]
) -> Float[Tensor, " ray"]:
    """Sum over slabs of the bilinearly interpolated values; `slabs` is padded by one voxel of air."""
    total = torch.zeros_like(direction[:, 0])
    _, size_a, size_b = slabs.shape
    for i in range(slabs.shape[0] - 2):
        t = (i - source[0]) / direction[:, 0]
        # Positions in the padded slab, held just outside of it where they are: there, both taps are air.
        a = (source[1] + t * direction[:, 1] + 1).clamp(0, size_a - 1)
        b = (source[2] + t * direction[:, 2] + 1).clamp(0, size_b - 1)
        low_a, low_b = a.floor().clamp(max=size_a - 2), b.floor().clamp(max=size_b - 2)
        fa, fb = a - low_a, b - low_b
        j, k = low_a.long(), low_b.long()
        slab = slabs[i + 1]
        value = (1 - fa) * ((1 - fb) * slab[j, k] + fb * slab[j, k + 1])
        value = value + fa * ((1 - fb) * slab[j + 1, k] + fb * slab[j + 1, k + 1])
        total = total + torch.where((t > 0) & (t < 1), value, 0.0)
    return total
