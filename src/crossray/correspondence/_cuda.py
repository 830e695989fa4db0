"""Exact patch-level correspondence for NVIDIA GPUs: one thread a voxel.

A block of threads looks through a brick of voxels, notes in shared memory those that may change an entry, and then
measures the noted ones side by side, so that no thread waits for its neighbours' voxels of air. A voxel raises an entry
to its weight at most, and entries only rise: where all that it can touch have reached its weight it is passed over. A
first pass over one voxel in 64 lifts most entries far enough.
"""

# Types know numba.cuda as host code.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false, reportOptionalSubscript=false

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numba import cuda
from torch import Tensor

from crossray.projection._cpu import dominant_axis, ray_length, ray_stay, slab_share
from crossray.projection._cuda import launch, send, upload
from crossray.projection.rays import RayTable

THREADS = 128
BITS = (6, 3, 3)
"""A brick has 64, 8 and 8 voxels along x, y and z."""
BRICK = 1 << sum(BITS)
PASSES = (4, 1)
"""Voxels from one to the next along each axis, pass by pass."""


def correspondence_cuda(
    values: Float[Tensor, "z y x"],
    logistic: tuple[float, float, float],
    rays: RayTable,
    matrices: Float[Tensor, "view 3 4"],
    half: Float[Tensor, "view 3"],
    grid: tuple[int, int],
    patch: int,
    options: tuple[bool, int],
) -> Float[Tensor, "view view patch patch"]:
    """Matrices of the upper triangle of views, float32, on the device of `values`, without waiting for it.

    Arguments as for `_cpu.correspondence_kernel`, tables on the CPU.
    """
    views, patches = len(matrices), grid[0] * grid[1]
    matrix = torch.zeros((views, views, patches, patches), device=values.device)
    parts = ((2 * half[:, :2] + patch - 1) // patch + 1).prod(1).amax()
    kernel = _kernel(views, 1 << (int(parts) - 1).bit_length())
    size = tuple(reversed(values.shape))
    table, bounds = upload(rays, values), send(torch.cat([matrices, half[:, :, None]], 2), values)
    for step in PASSES:
        blocks = tuple(-(-n // (step << bits)) for n, bits in zip(size, BITS, strict=True))
        launch(
            kernel, blocks, (THREADS,), values.view(-1), size, logistic, table, bounds, grid, patch, step,
            *options, matrix,
        )  # fmt: skip
    return matrix


@cuda.jit(device=True)
def _weight(value, logistic):
    midpoint, slope, lowest = np.float32(logistic[0]), np.float32(logistic[1]), logistic[2]
    if value < lowest:
        return np.float32(0.0)
    if slope == 0.0:
        return value
    return np.float32(1.0) / (np.float32(1.0) + math.exp(slope * (midpoint - value)))


@cuda.jit(device=True)
def _place(bounds, k, x, y, z):
    """Row and column where view k sees a voxel's centre, and its depth: 0 at the source, 1 at the detector."""
    m = bounds[k]
    depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
    row = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
    column = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
    return row / depth, column / depth, depth


@cuda.jit(device=True)
def _settled(out, weight, bounds, grid, patch, skip, spans, x, y, z):
    """True if no entry that a voxel can touch lies below its weight."""
    views = bounds.shape[0]
    for k in range(views):
        row, column, _ = _place(bounds, k, x, y, z)
        rows, columns = bounds[k, 0, 4], bounds[k, 1, 4]
        spans[k, 0] = max(0, math.floor((row - rows) / patch))
        spans[k, 1] = min(grid[0] - 1, math.floor((row + rows) / patch))
        spans[k, 2] = max(0, math.floor((column - columns) / patch))
        spans[k, 3] = min(grid[1] - 1, math.floor((column + columns) / patch))
    for k in range(views):
        for m in range(k + skip, views):
            for row_k in range(spans[k, 0], spans[k, 1] + 1):
                for column_k in range(spans[k, 2], spans[k, 3] + 1):
                    line = out[k, m, row_k * grid[1] + column_k]
                    for row_m in range(spans[m, 0], spans[m, 1] + 1):
                        for column_m in range(spans[m, 2], spans[m, 3] + 1):
                            if line[row_m * grid[1] + column_m] < weight:
                                return False
    return True


@cuda.jit(device=True)
def _tent(position, index, size):
    return max(0.0, 1.0 - abs(min(max(position, 0.0), size - 1.0) - index))


@cuda.jit(device=True)
def _weight_in_ray(rays, size, voxel, row, column):
    """A voxel's entry in the system matrix, mm, in the projector's own float64: needed at borders and between axes."""
    dx = rays[1, 0] + row * rays[2, 0] + column * rays[3, 0]
    dy = rays[1, 1] + row * rays[2, 1] + column * rays[3, 1]
    dz = rays[1, 2] + row * rays[2, 2] + column * rays[3, 2]
    d, axis = (dx, dy, dz), dominant_axis(dx, dy, dz)
    low, high, a0, da, b0, db = ray_stay(size, axis, (rays[0, 0], rays[0, 1], rays[0, 2]), d)
    i, a, b = voxel[axis], (axis + 1) % 3, (axis + 2) % 3
    weight = slab_share(low, high, i)
    weight *= _tent(a0 + i * da, voxel[a], size[a]) * _tent(b0 + i * db, voxel[b], size[b])
    if weight == 0.0:
        return 0.0
    return weight * ray_length(rays[4:], dx, dy, dz) / abs(d[axis])


@cuda.jit(device=True)
def _measure(rays, limits, place, size, voxel, patch, span, maxima):
    """Fill `maxima` with the largest weight, mm, that each patch of a view gives a voxel, and `span` with the patches.

    With D the voxel's position from the source, u = D_a / D_axis and e = i * row_step + j * column_step, the ray of a
    pixel that lies (i, j) off the place where the voxel's centre is seen passes it, in its slab, by

        off_a = depth * (e_a - u_a * e_axis) / (1 + depth * e_axis / D_axis).

    No term is a small difference of large numbers, so float32 serves.

    Args:
        rays: Of one view, from `upload`.
        limits: Half of a footprint's rows and columns, and the depth between neighbours.
        place: From `_place`.
        size: Voxels along x, y and z.
        voxel: Its indices.
        patch: Side of a patch in pixels.
        span: Filled with the first patch row and column, and how many rows and columns.
        maxima: Filled row by row.

    Returns:
        The largest of all.
    """
    row, column, depth = place
    top, left = math.ceil(row - limits[0]), math.ceil(column - limits[1])
    rows, columns = int(2.0 * limits[0] + 1.0), int(2.0 * limits[1] + 1.0)
    span[0], span[1] = math.floor(top / patch), math.floor(left / patch)
    span[2] = (top + rows - 1) // patch - span[0] + 1
    span[3] = (left + columns - 1) // patch - span[1] + 1
    for cell in range(span[2] * span[3]):
        maxima[cell] = 0.0

    ahead = (voxel[0] - rays[0, 0], voxel[1] - rays[0, 1], voxel[2] - rays[0, 2])
    axis = dominant_axis(ahead[0], ahead[1], ahead[2])
    a, b = (axis + 1) % 3, (axis + 2) % 3
    along, ua, ub = 1.0 / ahead[axis], ahead[a] / ahead[axis], ahead[b] / ahead[axis]
    stretch_row = np.float32(rays[2, axis] * depth * along)
    stretch_column = np.float32(rays[3, axis] * depth * along)
    a_row = np.float32(depth * (rays[2, a] - ua * rays[2, axis]))
    a_column = np.float32(depth * (rays[3, a] - ua * rays[3, axis]))
    b_row = np.float32(depth * (rays[2, b] - ub * rays[2, axis]))
    b_column = np.float32(depth * (rays[3, b] - ub * rays[3, axis]))
    first_row, first_column = np.float32(top - row), np.float32(left - column)
    along, ua, ub = np.float32(along), np.float32(ua), np.float32(ub)
    zero, one = np.float32(0.0), np.float32(1.0)
    m00, maa = np.float32(rays[4 + axis, axis]), np.float32(rays[4 + a, a])
    m0a, mbb = np.float32(2.0 * rays[4 + axis, a]), np.float32(rays[4 + b, b])
    m0b, mab = np.float32(2.0 * rays[4 + axis, b]), np.float32(2.0 * rays[4 + a, b])

    # The tent is whole, and its rays have one dominant axis: those that do form a cone, so the corners tell.
    plain = min(voxel[0], voxel[1], voxel[2]) >= 2 and depth + limits[2] < 1.0
    plain = plain and voxel[0] < size[0] - 2 and voxel[1] < size[1] - 2 and voxel[2] < size[2] - 2
    for corner in range(4):
        i = first_row + np.float32((corner & 1) * (rows - 1))
        j = first_column + np.float32((corner >> 1) * (columns - 1))
        stretch = one + i * stretch_row + j * stretch_column
        widest = np.float32(0.99999) * stretch
        plain = plain and abs(ua * stretch + along * (i * a_row + j * a_column)) < widest
        plain = plain and abs(ub * stretch + along * (i * b_row + j * b_column)) < widest

    peak, line, next_row = zero, 0, patch * (span[0] + 1) - top
    for n in range(rows):
        if n == next_row:
            line, next_row = line + span[3], next_row + patch
        cell, next_column = line, patch * (span[1] + 1) - left
        i = first_row + np.float32(n)
        for o in range(columns):
            if o == next_column:
                cell, next_column = cell + 1, next_column + patch
            if plain:
                j = first_column + np.float32(o)
                scale = one / (one + i * stretch_row + j * stretch_column)
                off_a = (i * a_row + j * a_column) * scale
                off_b = (i * b_row + j * b_column) * scale
                da, db = ua + off_a * along, ub + off_b * along
                weight = max(zero, one - abs(off_a)) * max(zero, one - abs(off_b))
                weight *= math.sqrt(m00 + da * (m0a + maa * da + mab * db) + db * (m0b + mbb * db))
            else:
                weight = np.float32(_weight_in_ray(rays, size, voxel, top + n, left + o))
            maxima[cell] = max(maxima[cell], weight)
            peak = max(peak, weight)
    return peak


@cuda.jit(device=True)
def _raise_entries(lines, weight, grid, span_k, maxima_k, span_m, maxima_m):
    """Raise the entries of one pair of views."""
    for i in range(span_k[2] * span_k[3]):
        row_k, column_k = span_k[0] + i // span_k[3], span_k[1] + i % span_k[3]
        if maxima_k[i] > 0.0 and 0 <= row_k < grid[0] and 0 <= column_k < grid[1]:
            p = row_k * grid[1] + column_k
            for j in range(span_m[2] * span_m[3]):
                row_m, column_m = span_m[0] + j // span_m[3], span_m[1] + j % span_m[3]
                if 0 <= row_m < grid[0] and 0 <= column_m < grid[1]:
                    value, q = weight * maxima_k[i] * maxima_m[j], row_m * grid[1] + column_m
                    if value > lines[p, q]:  # a stale entry only costs an atomic operation more
                        cuda.atomic.max(lines, (p, q), value)


@cache
def _kernel(views: int, parts: int) -> Any:
    """The kernel for so many views, and so many patches a footprint touches at most: the sizes of a thread's arrays."""

    @cuda.jit
    def add_voxels(flat, size, logistic, table, bounds, grid, patch, step, normalise, skip, out):
        # flat: the volume, x fastest; size: its voxels along x, y and z; table: from `upload`; bounds (view, 3, 5):
        # `matrices`, with `half` as a last column; step: from voxel to voxel of this pass. The rest as for the CPU.
        noted = cuda.shared.array(BRICK, np.int32)
        count = cuda.shared.array(1, np.int32)
        spans = cuda.local.array((views, 4), np.int32)
        maxima = cuda.local.array((views, parts), np.float32)
        x0, y0 = cuda.blockIdx.x << BITS[0], cuda.blockIdx.y << BITS[1]
        z0 = cuda.blockIdx.z << BITS[2]
        if cuda.threadIdx.x == 0:
            count[0] = 0
        cuda.syncthreads()
        for n in range(cuda.threadIdx.x, BRICK, THREADS):
            x, y, z = _voxel(n, x0, y0, z0, step)
            if x >= size[0] or y >= size[1] or z >= size[2]:
                continue
            weight = _weight(flat[(z * size[1] + y) * size[0] + x], logistic)
            if weight > 0.0 and not (
                normalise and _settled(out, weight, bounds, grid, patch, skip, spans, x, y, z)
            ):
                noted[cuda.atomic.add(count, 0, 1)] = n
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, count[0], THREADS):
            x, y, z = _voxel(noted[i], x0, y0, z0, step)
            weight = _weight(flat[(z * size[1] + y) * size[0] + x], logistic)
            if not normalise:  # a product of projections has the weight once a view
                weight *= weight
            for k in range(views):
                peak = _measure(
                    table[k], bounds[k, :, 4], _place(bounds, k, x, y, z), size, (x, y, z), patch, spans[k], maxima[k]
                )  # fmt: skip
                if normalise and peak > 0.0:
                    for cell in range(spans[k, 2] * spans[k, 3]):
                        maxima[k, cell] /= peak
            for k in range(views):
                for m in range(k + skip, views):
                    _raise_entries(
                        out[k, m], weight, grid, spans[k], maxima[k], spans[m], maxima[m]
                    )

    return add_voxels


@cuda.jit(device=True)
def _voxel(n, x0, y0, z0, step):
    """Indices of the n-th voxel of a brick."""
    x = x0 + (n & ((1 << BITS[0]) - 1))
    y = y0 + ((n >> BITS[0]) & ((1 << BITS[1]) - 1))
    z = z0 + (n >> (BITS[0] + BITS[1]))
    return step * x, step * y, step * z
