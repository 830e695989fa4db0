"""Joseph's projector for CPUs: one numba function per ray, rows of rays in parallel."""

import math

import numpy as np
from numba import njit, prange


@njit(inline="always")
def dominant_axis(dx, dy, dz):
    """Axis of the largest component; ties go to the earlier axis."""
    ax, ay, az = abs(dx), abs(dy), abs(dz)
    if ax >= ay and ax >= az:
        return 0
    return 1 if ay >= az else 2


@njit(inline="always")
def ray_length(metric, dx, dy, dz):
    """Length in mm of a difference of voxel indices."""
    return math.sqrt(
        dx * (metric[0, 0] * dx + 2.0 * (metric[0, 1] * dy + metric[0, 2] * dz))
        + dy * (metric[1, 1] * dy + 2.0 * metric[1, 2] * dz)
        + dz * metric[2, 2] * dz
    )


@njit
def _clip(low, high, start, step, first, last):
    """Shrink [low, high] to the slabs i with first < start + i * step < last."""
    if step == 0.0:
        if not first < start < last:
            return 1.0, 0.0
        return low, high
    one, other = (first - start) / step, (last - start) / step
    return max(low, min(one, other)), min(high, max(one, other))


@njit(fastmath=False)
def _border_sample(flat, base, a, b, size_a, size_b, stride_a, stride_b):
    """Bilinear value where some of the four taps may lie outside, in air."""
    low_a, low_b = math.floor(a), math.floor(b)
    fa, fb = a - low_a, b - low_b
    j, k = int(low_a), int(low_b)
    total = 0.0
    for dj in range(2):
        for dk in range(2):
            if 0 <= j + dj < size_a and 0 <= k + dk < size_b:
                weight = (fa if dj else 1.0 - fa) * (fb if dk else 1.0 - fb)
                total += weight * flat[base + (j + dj) * stride_a + (k + dk) * stride_b]
    return total


@njit(fastmath={"contract", "reassoc", "nsz"})
def _interior_sum(flat, begin, end, a0, da, b0, db, stride, stride_a, stride_b):
    """Sum of bilinear values over slabs begin..end-1, all four taps of each inside the volume."""
    total = 0.0
    for i in range(begin, end):
        a, b = a0 + i * da, b0 + i * db
        j, k = int(a), int(b)
        fa, fb = np.float32(a - j), np.float32(b - k)
        at = i * stride + j * stride_a + k * stride_b
        near, far = flat[at], flat[at + stride_b]
        near_next, far_next = flat[at + stride_a], flat[at + stride_a + stride_b]
        lower = near + fb * (far - near)
        upper = near_next + fb * (far_next - near_next)
        total += lower + fa * (upper - lower)
    return total


@njit
def _ray_sum(flat, size, strides, axis, source, dx, dy, dz):
    """Sum over slabs of the interpolated values along one ray."""
    a_axis, b_axis = (axis + 1) % 3, (axis + 2) % 3
    d = (dx, dy, dz)
    da, db = d[a_axis] / d[axis], d[b_axis] / d[axis]
    a0 = source[a_axis] - source[axis] * da
    b0 = source[b_axis] - source[axis] * db
    size_a, size_b = size[a_axis], size[b_axis]
    stride, stride_a, stride_b = strides[axis], strides[a_axis], strides[b_axis]
    low, high = _clip(0.0, size[axis] - 1.0, source[axis], d[axis], -math.inf, math.inf)
    # Only slabs between the source (t = 0) and the pixel (t = 1).
    end_a, end_b = source[axis], source[axis] + d[axis]
    low, high = max(low, min(end_a, end_b)), min(high, max(end_a, end_b))
    low, high = _clip(low, high, a0, da, -1.0, size_a)
    low, high = _clip(low, high, b0, db, -1.0, size_b)
    if low > high:
        return 0.0
    begin, end = int(math.ceil(low)), int(math.floor(high)) + 1
    inner_low, inner_high = _clip(low, high, a0, da, 0.0, size_a - 1.0)
    inner_low, inner_high = _clip(inner_low, inner_high, b0, db, 0.0, size_b - 1.0)
    inner_begin, inner_end = begin, begin
    if inner_high - inner_low > 1e-6:
        # A hair inside, so that rounding never lets a tap leave the volume.
        inner_begin = max(begin, int(math.ceil(inner_low + 1e-7)))
        inner_end = max(inner_begin, min(end, int(math.floor(inner_high - 1e-7)) + 1))
    total = _interior_sum(flat, inner_begin, inner_end, a0, da, b0, db, stride, stride_a, stride_b)
    for i in range(begin, inner_begin):
        total += _border_sample(flat, i * stride, a0 + i * da, b0 + i * db, size_a, size_b, stride_a, stride_b)
    for i in range(inner_end, end):
        total += _border_sample(flat, i * stride, a0 + i * da, b0 + i * db, size_a, size_b, stride_a, stride_b)
    return total


@njit(parallel=True, cache=True)
def project_kernel(values, vectors, metric, rows, columns):
    """Line integrals (view, row, column), float32; see `reference.project_reference` for the definition."""
    nz, ny, nx = values.shape
    flat = values.reshape(-1)
    size, strides = (nx, ny, nz), (1, nx, nx * ny)
    out = np.empty((len(vectors), rows, columns), np.float32)
    for line in prange(len(vectors) * rows):
        view, row = line // rows, line % rows
        source, first = vectors[view, 0], vectors[view, 1]
        row_step, column_step = vectors[view, 2], vectors[view, 3]
        for column in range(columns):
            dx = first[0] + row * row_step[0] + column * column_step[0]
            dy = first[1] + row * row_step[1] + column * column_step[1]
            dz = first[2] + row * row_step[2] + column * column_step[2]
            axis = dominant_axis(dx, dy, dz)
            largest = abs((dx, dy, dz)[axis])
            path = ray_length(metric, dx, dy, dz) / largest
            out[view, row, column] = path * _ray_sum(flat, size, strides, axis, source, dx, dy, dz)
    return out
