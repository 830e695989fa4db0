"""Derivatives of Joseph's projector for CPUs: its adjoint, and how line integrals follow the rays.

Both sum in an order that the number of threads does not change, so the same call gives the same bytes.
"""

import math

import numpy as np
from numba import njit, prange

from crossray.projection._cpu import dominant_axis, ray_length, ray_stay, slab_share


@njit(inline="always")
def _direction(vectors, view, row, column):
    """A pixel's position relative to the source, voxel indices."""
    first, row_step, column_step = vectors[view, 1], vectors[view, 2], vectors[view, 3]
    dx = first[0] + row * row_step[0] + column * column_step[0]
    dy = first[1] + row * row_step[1] + column * column_step[1]
    dz = first[2] + row * row_step[2] + column * column_step[2]
    return dx, dy, dz


@njit(inline="always")
def _cell(position, size):
    """Of a position held within the outer voxel centres: the voxel below and the share of the one above."""
    held = min(max(position, 0.0), size - 1.0)
    index = max(0, min(int(held), size - 2))
    return index, held - index


@njit(inline="always")
def _slabs(low, high, begin, end):
    """The slabs of begin..end-1 that a stay touches, as a range."""
    return max(begin, math.floor(low + 0.5)), min(end, math.floor(high + 0.5) + 1)


@njit(error_model="numpy")
def _fill_slabs(flat, lines, vectors, metric, size, axis, begin, end):
    """Back-project all rays that one axis dominates into slabs begin..end-1 along it."""
    strides = (1, size[0], size[0] * size[1])
    a_axis, b_axis = (axis + 1) % 3, (axis + 2) % 3
    size_a, size_b = size[a_axis], size[b_axis]
    stride, stride_a, stride_b = strides[axis], strides[a_axis], strides[b_axis]
    next_a, next_b = stride_a if size_a > 1 else 0, stride_b if size_b > 1 else 0
    views, rows, columns = lines.shape
    for view in range(views):
        source = (vectors[view, 0, 0], vectors[view, 0, 1], vectors[view, 0, 2])
        for row in range(rows):
            for column in range(columns):
                d = _direction(vectors, view, row, column)
                if lines[view, row, column] == 0.0 or dominant_axis(d[0], d[1], d[2]) != axis:
                    continue
                low, high, a0, da, b0, db = ray_stay(size, axis, source, d)
                if low >= high:
                    continue
                path = ray_length(metric, d[0], d[1], d[2]) / abs(d[axis])
                weight = path * lines[view, row, column]
                first, stop = _slabs(low, high, begin, end)
                for i in range(first, stop):
                    j, fa = _cell(a0 + i * da, size_a)
                    k, fb = _cell(b0 + i * db, size_b)
                    at = i * stride + j * stride_a + k * stride_b
                    part = slab_share(low, high, i) * weight
                    upper = fa * part
                    lower = part - upper
                    flat[at] += (1.0 - fb) * lower
                    flat[at + next_b] += fb * lower
                    flat[at + next_a] += (1.0 - fb) * upper
                    flat[at + next_a + next_b] += fb * upper


@njit(parallel=True, cache=True)
def backproject_kernel(lines, vectors, metric, shape, threads):
    """The adjoint of `project_kernel`: from lines (view, row, column) to a volume [z, y, x] of `shape`, float32.

    A ray adds to voxels of the slabs along its dominant axis. Threads share out the slabs, never the rays, and each
    goes through the rays in their order: no voxel is written by two of them, and none needs a copy of the volume.
    """
    out = np.zeros(shape, np.float32)
    flat, size = out.reshape(-1), (shape[2], shape[1], shape[0])
    for axis in range(3):
        # Few thick blocks, because each looks at every ray; whole cache lines, because x-slabs share them.
        block = 16 * math.ceil(size[axis] / (64 * threads))
        for n in prange((size[axis] + block - 1) // block):
            end = min((n + 1) * block, size[axis])
            _fill_slabs(flat, lines, vectors, metric, size, axis, n * block, end)
    return out


@njit(inline="always")
def _off_face(position, size):
    """Distance to the nearer face of the volume's box across one axis; a single voxel's is one thick."""
    return abs(0.5 * max(size - 1, 1) - abs(position - 0.5 * (size - 1)))


@njit(error_model="numpy")
def _end_slopes(size, axis, at, source, end, positions):
    """How an end of a stay follows the ray, where it is not on a face across the dominant axis.

    Args:
        size: Voxels along x, y and z.
        axis: The dominant axis.
        at: The end, an index along it.
        source: The source's index along it.
        end: The pixel's.
        positions: a0, da, b0, db as from `ray_stay`.

    Returns:
        Derivatives by the pixel's index along the axis and by the ray's positions at this end along the two others.
    """
    a0, da, b0, db = positions
    by_pixel, by_a, by_b = 0.0, 0.0, 0.0
    nearest = min(_off_face(at, size[axis]), abs(at - source))
    if abs(at - end) < nearest:
        nearest, by_pixel = abs(at - end), 1.0
    off = _off_face(a0 + at * da, size[(axis + 1) % 3])
    if da != 0.0 and off < nearest:
        nearest, by_pixel, by_a = off, 0.0, -1.0 / da
    off = _off_face(b0 + at * db, size[(axis + 2) % 3])
    if db != 0.0 and off < nearest:
        by_pixel, by_a, by_b = 0.0, 0.0, -1.0 / db
    return by_pixel, by_a, by_b


@njit(error_model="numpy")
def _ray_slopes(flat, size, axis, source, d):
    """Sum over slabs along one ray, as the projector's, and how it follows the ray.

    In slab i a ray is at a = source_a + t * d_a with t = (i - source) / d along the dominant axis, so a follows
    (source, source_a, d, d_a) as (-d_a / d, 1, -t * d_a / d, t).

    Returns:
        The sum, and its derivatives by source and direction, each (dominant axis, the next, the one after).
    """
    low, high, a0, da, b0, db = ray_stay(size, axis, source, d)
    if low >= high:
        return 0.0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    strides = (1, size[0], size[0] * size[1])
    a_axis, b_axis = (axis + 1) % 3, (axis + 2) % 3
    size_a, size_b = size[a_axis], size[b_axis]
    stride, stride_a, stride_b = strides[axis], strides[a_axis], strides[b_axis]
    next_a, next_b = stride_a if size_a > 1 else 0, stride_b if size_b > 1 else 0
    total, entry, value = 0.0, 0.0, 0.0
    by_a, by_b, by_a_t, by_b_t = 0.0, 0.0, 0.0, 0.0
    first, stop = _slabs(low, high, 0, size[axis])
    for i in range(first, stop):
        a, b = a0 + i * da, b0 + i * db
        j, fa = _cell(a, size_a)
        k, fb = _cell(b, size_b)
        at = i * stride + j * stride_a + k * stride_b
        near, far = flat[at], flat[at + next_b]
        near_next, far_next = flat[at + next_a], flat[at + next_a + next_b]
        lower = near + fb * (far - near)
        upper = near_next + fb * (far_next - near_next)
        value = lower + fa * (upper - lower)
        if i == first:
            entry = value
        share, t = slab_share(low, high, i), (i - source[axis]) / d[axis]
        slope_a = share * (upper - lower) if 0.0 <= a <= size_a - 1.0 else 0.0
        slope_b = share * (far - near + fa * (far_next - near_next - (far - near)))
        slope_b = slope_b if 0.0 <= b <= size_b - 1.0 else 0.0
        total += share * value
        by_a, by_b = by_a + slope_a, by_b + slope_b
        by_a_t, by_b_t = by_a_t + t * slope_a, by_b_t + t * slope_b
    by_pixel = 0.0
    for at_end, outwards in ((low, -entry), (high, value)):
        end = _end_slopes(
            size, axis, at_end, source[axis], source[axis] + d[axis], (a0, da, b0, db)
        )
        t = (at_end - source[axis]) / d[axis]
        by_pixel += outwards * end[0]
        by_a, by_a_t = by_a + outwards * end[1], by_a_t + t * outwards * end[1]
        by_b, by_b_t = by_b + outwards * end[2], by_b_t + t * outwards * end[2]
    by_source = (by_pixel - da * by_a - db * by_b, by_a, by_b)
    by_direction = (by_pixel - da * by_a_t - db * by_b_t, by_a_t, by_b_t)
    return total, by_source, by_direction


@njit(parallel=True, cache=True, error_model="numpy")
def ray_gradient_kernel(lines, values, vectors, metric):
    """Derivatives of sum(lines * project_kernel(values, vectors, metric, ...)) by the rays.

    Args:
        lines: One number a pixel (view, row, column).
        values: The volume [z, y, x].
        vectors: As of a `RayTable`.
        metric: Likewise.

    Returns:
        By `vectors` (view, 4, 3) and by `metric` (3, 3), float64.
    """
    nz, ny, nx = values.shape
    flat, size = values.reshape(-1), (nx, ny, nz)
    views, rows, columns = lines.shape
    by_vectors, by_metric = np.zeros((views, rows, 4, 3)), np.zeros((views, rows, 3, 3))
    for line in prange(views * rows):
        view, row = line // rows, line % rows
        source = (vectors[view, 0, 0], vectors[view, 0, 1], vectors[view, 0, 2])
        for column in range(columns):
            weight = lines[view, row, column]
            d = _direction(vectors, view, row, column)
            axis = dominant_axis(d[0], d[1], d[2])
            total, by_source, by_direction = _ray_slopes(flat, size, axis, source, d)
            length = ray_length(metric, d[0], d[1], d[2])
            path = length / abs(d[axis])
            for n in range(3):
                m = (axis + n) % 3
                along = metric[m, 0] * d[0] + metric[m, 1] * d[1] + metric[m, 2] * d[2]
                by_path = along / (length * abs(d[axis]))
                if n == 0:
                    by_path -= path / d[axis]
                by_step = weight * (path * by_direction[n] + total * by_path)
                by_vectors[view, row, 0, m] += weight * path * by_source[n]
                by_vectors[view, row, 1, m] += by_step
                by_vectors[view, row, 2, m] += row * by_step
                by_vectors[view, row, 3, m] += column * by_step
                for other in range(3):
                    by_metric[view, row, m, other] += (
                        weight * total * d[m] * d[other] / (2.0 * length * abs(d[axis]))
                    )
    return by_vectors.sum(1), by_metric.sum(1).sum(0)
