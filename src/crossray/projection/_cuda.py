"""Joseph's projector for NVIDIA GPUs: one thread a ray, tiles of neighbouring rays, all views in one launch.

Where a ray enters and leaves, and along which axis it is marched, is settled in float64 by the CPU kernel's own
functions; between the ends positions are whole numbers and values float32.
"""

# Types know numba.cuda as host code.
# pyright: reportCallIssue=false

import math
import warnings
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numba import cuda
from numba.core.errors import NumbaPerformanceWarning
from torch import Tensor

from crossray.errors import InputError
from crossray.projection._cpu import dominant_axis, ray_length, ray_stay, slab_share
from crossray.projection.rays import SIMULATED, RayTable

TILE = 16
"""Side of a block of rays, pixels."""
RUN = 32
"""Slabs summed in one float32 before they join the total: neither sum grows long enough to lose digits."""
ONE = 4294967296.0
"""1 in positions of 32 bits before and 32 after the point."""
FRACTION = 0xFFFFFFFF


def project_cuda(
    values: Float[Tensor, "z y x"], rays: RayTable
) -> Float[Tensor, "view row column"]:
    """Line integrals, float32, on the device of `values`, without waiting for it."""
    nz, ny, nx = values.shape
    views, (rows, columns) = len(rays.vectors), rays.size
    lines = torch.empty((views, rows, columns), device=values.device)
    blocks = (-(-columns // TILE), -(-rows // TILE), views)
    launch(
        _project, blocks, (TILE, TILE), values.view(-1), (nx, ny, nz), upload(rays, values), lines
    )
    return lines


def upload(rays: RayTable, values: Tensor) -> Float[Tensor, "view 7 3"]:
    """Source, first, row_step, column_step and metric of every view, float64, on the device of `values`."""
    table = torch.cat([rays.vectors, rays.metric.expand(len(rays.vectors), 3, 3)], 1)
    return send(table, values)


def send(table: Tensor, values: Tensor) -> Tensor:
    """A small table on the device of `values`; nobody waits for the copy."""
    return table.pin_memory().to(values.device, non_blocking=True) if values.is_cuda else table


def launch(kernel: Any, blocks: tuple[int, ...], threads: tuple[int, ...], *arguments: Any) -> None:
    """Start a kernel on torch's current stream; tensors are passed without a copy. The first one names the device."""
    if SIMULATED:
        kernel[blocks, threads](*(a.numpy() if isinstance(a, Tensor) else a for a in arguments))
        return
    device = arguments[0].device
    with torch.cuda.device(device), warnings.catch_warnings():
        warnings.simplefilter("ignore", NumbaPerformanceWarning)  # small images fill no GPU
        stream = _stream(device.index, torch.cuda.current_stream(device).cuda_stream)
        kernel[blocks, threads, stream](
            *(cuda.as_cuda_array(a, sync=False) if isinstance(a, Tensor) else a for a in arguments)
        )


@cache
def _stream(device: int, handle: int) -> Any:
    """Numba's name for a stream of torch's; one object a stream keeps numba's launch configurations few."""
    if find_spec("numba_cuda") is None:
        raise InputError("A volume on a GPU needs numba-cuda; pip install 'crossray[cuda]'.")
    return cuda.external_stream(handle) if handle else 0


@cuda.jit(device=True)
def _fixed(position, size):
    """A position held within the box, in fixed point, so that its neighbour is in the volume as well."""
    return np.int64(min(max(position * ONE, 0.0), max(0.0, (size - 1.0) * ONE - 1.0)))


@cuda.jit(device=True)
def _sample(flat, base, a, b, stride_a, stride_b, next_a, next_b):
    """Bilinear value at a fixed-point position in a slab."""
    at = base + (a >> 32) * stride_a + (b >> 32) * stride_b
    scale = np.float32(1.0 / ONE)
    fa, fb = (
        np.float32(np.uint32(a & FRACTION)) * scale,
        np.float32(np.uint32(b & FRACTION)) * scale,
    )
    # Unsigned indices, since numba would test signed ones for counting from the end.
    near, far = flat[np.uint64(at)], flat[np.uint64(at + next_b)]
    near_next, far_next = flat[np.uint64(at + next_a)], flat[np.uint64(at + next_a + next_b)]
    lower = near + fb * (far - near)
    upper = near_next + fb * (far_next - near_next)
    return lower + fa * (upper - lower)


@cuda.jit(device=True)
def _inner_sum(flat, begin, end, a0, da, b0, db, sizes, strides, nexts):
    """Sum of values over slabs begin..end-1, all inside.

    In fixed point a step is one exact addition an axis, the upper half of a position its voxel and the lower half its
    fraction: 1e-7 of a voxel after 512 slabs, where float32 would be off by 6e-5 at the far side.
    """
    steps = max(1, end - 1 - begin)
    a, b = _fixed(a0 + begin * da, sizes[0]), _fixed(b0 + begin * db, sizes[1])
    # Rounded towards zero, so that no position passes the ends, which are held.
    step_a = np.int64((_fixed(a0 + (end - 1) * da, sizes[0]) - a) / steps)
    step_b = np.int64((_fixed(b0 + (end - 1) * db, sizes[1]) - b) / steps)
    base, total = begin * strides[0], np.float32(0.0)
    for start in range(begin, end, RUN):
        part = np.float32(0.0)
        for _ in range(start, min(start + RUN, end)):
            part += _sample(flat, base, a, b, strides[1], strides[2], nexts[0], nexts[1])
            a, b, base = a + step_a, b + step_b, base + strides[0]
        total += part
    return total


@cuda.jit
def _project(flat, size, table, out):
    """Line integrals (view, row, column); see `reference.project_reference` for the definition.

    Args:
        flat: Volume, x fastest.
        size: Voxels along x, y and z.
        table: From `upload`.
        out: The result; the grid of threads covers (column, row, view).
    """
    column, row = cuda.grid(2)
    view = cuda.blockIdx.z
    if row >= out.shape[1] or column >= out.shape[2]:
        return
    rays = table[view]
    dx = rays[1, 0] + row * rays[2, 0] + column * rays[3, 0]
    dy = rays[1, 1] + row * rays[2, 1] + column * rays[3, 1]
    dz = rays[1, 2] + row * rays[2, 2] + column * rays[3, 2]
    d, axis = (dx, dy, dz), dominant_axis(dx, dy, dz)
    low, high, a0, da, b0, db = ray_stay(size, axis, (rays[0, 0], rays[0, 1], rays[0, 2]), d)
    if low >= high:
        out[view, row, column] = 0.0
        return
    a_axis, b_axis = (axis + 1) % 3, (axis + 2) % 3
    strides = (1, size[0], size[0] * size[1])
    stride, stride_a, stride_b = strides[axis], strides[a_axis], strides[b_axis]
    size_a, size_b = size[a_axis], size[b_axis]
    next_a, next_b = stride_a if size_a > 1 else 0, stride_b if size_b > 1 else 0
    first = max(0, int(math.floor(low + 0.5)))
    last = min(size[axis] - 1, int(math.floor(high + 0.5)))
    total = _inner_sum(
        flat, first + 1, last, a0, da, b0, db, (size_a, size_b), (stride, stride_a, stride_b), (next_a, next_b)
    )  # fmt: skip
    for i in range(first, last + 1, max(1, last - first)):
        a, b = _fixed(a0 + i * da, size_a), _fixed(b0 + i * db, size_b)
        value = _sample(flat, i * stride, a, b, stride_a, stride_b, next_a, next_b)
        total += np.float32(slab_share(low, high, i)) * value
    out[view, row, column] = total * np.float32(ray_length(rays[4:], dx, dy, dz) / abs(d[axis]))
