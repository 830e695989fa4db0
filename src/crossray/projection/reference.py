"""The slow twin of the kernels: Joseph's projector in plain torch, float64, differentiable. It is the definition."""

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.projection.rays import RayTable


def project_reference(
    values: Float[Tensor, "z y x"], rays: RayTable
) -> Float[Tensor, "view row column"]:
    """Line integrals by Joseph's method, in mm times the unit of `values`, float64.

    The volume fills the box of its voxel centres (an axis of one voxel: that voxel); outside is air. A ray counts for
    its stay in that box, between source and pixel. Along the ray's dominant voxel axis, every slab adds the value at
    the ray's position in it, bilinear in the two other axes, times the path length per slab, times the share of the
    slab (half a voxel to either side) that the stay covers; positions are held within the box.

    Args:
        values: The volume, any float dtype; carries gradients.
        rays: From `ray_table`.

    Source: Joseph, IEEE Trans Med Imaging 1 (1982) 192; ends of rays as in RTK's JosephForwardProjectionImageFilter.
    """
    volume = values.to(torch.float64).permute(2, 1, 0)
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
            axes = [axis, (axis + 1) % 3, (axis + 2) % 3]
            chosen = dominant == axis
            d = direction[chosen][:, axes]
            path = length[chosen] / d[:, 0].abs()
            total[chosen] = path * _sum_slabs(volume.permute(axes), source[axes], d)
        views.append(total)
    return torch.stack(views)


def _sum_slabs(
    slabs: Float[Tensor, "along a b"],
    source: Float[Tensor, " 3"],
    direction: Float[Tensor, "ray 3"],
) -> Float[Tensor, " ray"]:
    """Sum over slabs of the bilinearly interpolated values, each by the share that a ray's stay covers."""
    total = torch.zeros_like(direction[:, 0])
    low, high = _stay(source, direction, slabs.shape)
    last_a, last_b = slabs.shape[1] - 1, slabs.shape[2] - 1
    for i in range(slabs.shape[0]):
        share = (high.clamp(max=i + 0.5) - low.clamp(min=i - 0.5)).clamp(min=0)
        t = (i - source[0]) / direction[:, 0]
        a = (source[1] + t * direction[:, 1]).clamp(0, last_a)
        b = (source[2] + t * direction[:, 2]).clamp(0, last_b)
        j, k = a.floor().long(), b.floor().long()
        fa, fb = a - j, b - k
        next_j, next_k = (j + 1).clamp(max=last_a), (k + 1).clamp(max=last_b)
        slab = slabs[i]
        value = (1 - fa) * ((1 - fb) * slab[j, k] + fb * slab[j, next_k])
        value = value + fa * ((1 - fb) * slab[next_j, k] + fb * slab[next_j, next_k])
        total = total + share * value
    return total


def _stay(
    source: Float[Tensor, " 3"], direction: Float[Tensor, "ray 3"], shape: torch.Size
) -> tuple[Float[Tensor, " ray"], Float[Tensor, " ray"]]:
    """Indices along the first axis between which a ray is in the box; the second is the lower where it never is."""
    sizes = torch.tensor(shape, dtype=torch.float64)
    margin = torch.where(sizes == 1, 0.5, 0.0)
    to_first, to_last = -margin - source, sizes - 1 + margin - source
    # A ray along the faces across an axis is between them all the way or never, also when it lies in one of them.
    parallel, between = direction == 0, (to_first <= 0) & (to_last >= 0)
    divisor = torch.where(parallel, 1.0, direction)
    one, other = to_first / divisor, to_last / divisor
    always = torch.where(between, torch.inf, -torch.inf)
    enter = torch.where(parallel, -always, torch.minimum(one, other)).amax(1).clamp(min=0)
    leave = torch.where(parallel, always, torch.maximum(one, other)).amin(1).clamp(max=1)
    ends = source[0] + torch.stack([enter, leave]).clamp(-1e300, 1e300) * direction[:, 0]
    missed = enter > leave
    return torch.where(missed, 1.0, ends.amin(0)), torch.where(missed, -1.0, ends.amax(0))
