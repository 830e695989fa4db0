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
    """Shrink [low, high] to where first <= start + i * step <= last."""
    if step == 0.0:
        if first <= start <= last:
            return low, high
        return 1.0, 0.0
    one, other = (first - start) / step, (last - start) / step
    return max(low, min(one, other)), min(high, max(one, other))


@njit(inline="always")
def _margin(size):
    """A volume of one layer is one voxel thick; others reach from the first to the last voxel centre."""
    return 0.5 if size == 1 else 0.0


@njit
def ray_stay(size, axis, source, d):
    """A ray's stay in the volume, from source to pixel, and its positions there.

    Returns:
        low, high, a0, da, b0, db: the stay as indices along the ray's dominant axis, low > high where it misses, and
        the positions a0 + i * da, b0 + i * db in the two other axes.
    """
    a_axis, b_axis = (axis + 1) % 3, (axis + 2) % 3
    da, db = d[a_axis] / d[axis], d[b_axis] / d[axis]
    a0 = source[a_axis] - source[axis] * da
    b0 = source[b_axis] - source[axis] * db
    end = source[axis] + d[axis]
    margin = _margin(size[axis])
    low = max(-margin, min(source[axis], end))
    high = min(size[axis] - 1.0 + margin, max(source[axis], end))
    margin = _margin(size[a_axis])
    low, high = _clip(low, high, a0, da, -margin, size[a_axis] - 1.0 + margin)
    margin = _margin(size[b_axis])
    low, high = _clip(low, high, b0, db, -margin, size[b_axis] - 1.0 + margin)
    return low, high, a0, da, b0, db


@njit(inline="always")
def slab_share(low, high, i):
    """Share of the slab [i - 1/2, i + 1/2] within a stay."""
    return max(0.0, min(high, i + 0.5) - max(low, i - 0.5))


@njit
def _held_sample(flat, base, a, b, size_a, size_b, stride_a, stride_b):
    """Bilinear value at a position held within the outer voxel centres."""
    a, b = min(max(a, 0.0), size_a - 1.0), min(max(b, 0.0), size_b - 1.0)
    j, k = max(0, min(int(a), size_a - 2)), max(0, min(int(b), size_b - 2))
    next_a, next_b = stride_a if size_a > 1 else 0, stride_b if size_b > 1 else 0
    fa, fb = a - j, b - k
    at = base + j * stride_a + k * stride_b
    lower = flat[at] + fb * (flat[at + next_b] - flat[at])
    upper = flat[at + next_a] + fb * (flat[at + next_a + next_b] - flat[at + next_a])
    return lower + fa * (upper - lower)


@njit(fastmath={"contract", "reassoc", "nsz"})
def _inner_sum(flat, begin, end, a0, da, b0, db, size_a, size_b, stride, stride_a, stride_b):
    """Sum of bilinear values over slabs begin..end-1, all inside.

    Both ends are held a millionth of a voxel within the outer voxel centres, so no slab between needs a look.
    """
    total = 0.0
    if begin >= end:
        return total
    last_a, last_b, steps = size_a - 1.000001, size_b - 1.000001, max(1, end - 1 - begin)
    a, b = min(max(a0 + begin * da, 0.0), last_a), min(max(b0 + begin * db, 0.0), last_b)
    da = (min(max(a0 + (end - 1) * da, 0.0), last_a) - a) / steps
    db = (min(max(b0 + (end - 1) * db, 0.0), last_b) - b) / steps
    base = begin * stride
    for _ in range(begin, end):
        j, k = int(a), int(b)
        fa, fb = np.float32(a - j), np.float32(b - k)
        at = base + j * stride_a + k * stride_b
        near, far = flat[at], flat[at + stride_b]
        near_next, far_next = flat[at + stride_a], flat[at + stride_a + stride_b]
        lower = near + fb * (far - near)
        upper = near_next + fb * (far_next - near_next)
        total += lower + fa * (upper - lower)
        a, b, base = a + da, b + db, base + stride
    return total


@njit
def _ray_sum(flat, size, strides, axis, source, d):
    """Sum over slabs of the interpolated values along one ray, each by its share."""
    low, high, a0, da, b0, db = ray_stay(size, axis, source, d)
    if low >= high:
        return 0.0
    a_axis, b_axis = (axis + 1) % 3, (axis + 2) % 3
    size_a, size_b = size[a_axis], size[b_axis]
    stride, stride_a, stride_b = strides[axis], strides[a_axis], strides[b_axis]
    first = max(0, int(math.floor(low + 0.5)))
    last = min(size[axis] - 1, int(math.floor(high + 0.5)))
    total = 0.0
    if size_a > 1 and size_b > 1:
        total = _inner_sum(
            flat, first + 1, last, a0, da, b0, db, size_a, size_b, stride, stride_a, stride_b
        )
    else:
        for i in range(first + 1, last):
            total += _held_sample(
                flat, i * stride, a0 + i * da, b0 + i * db, size_a, size_b, stride_a, stride_b
            )
    for i in range(first, last + 1, max(1, last - first)):
        value = _held_sample(
            flat, i * stride, a0 + i * da, b0 + i * db, size_a, size_b, stride_a, stride_b
        )
        total += slab_share(low, high, i) * value
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
        source = (vectors[view, 0, 0], vectors[view, 0, 1], vectors[view, 0, 2])
        first, row_step, column_step = vectors[view, 1], vectors[view, 2], vectors[view, 3]
        for column in range(columns):
            dx = first[0] + row * row_step[0] + column * column_step[0]
            dy = first[1] + row * row_step[1] + column * column_step[1]
            dz = first[2] + row * row_step[2] + column * column_step[2]
            d = (dx, dy, dz)
            axis = dominant_axis(dx, dy, dz)
            path = ray_length(metric, dx, dy, dz) / abs(d[axis])
            out[view, row, column] = path * _ray_sum(flat, size, strides, axis, source, d)
    return out
