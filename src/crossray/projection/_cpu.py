"""Joseph's projector for CPUs.

Rays go in packets, side by side in a row of the detector, and packets in tiles. All rays of a packet take one slab
after another, so that neighbours share cache lines and vector instructions; the packets of a tile take turns every few
slabs, so that the slabs are still in the cache. Only the first and the last slab of a ray go by themselves.
"""

import math

import numpy as np
from numba import njit, prange

from crossray.projection._lanes import WIDTH, load_corners

LANES = 2 * WIDTH
"""Rays of a packet: columns of the detector."""
ROWS = 8
"""Packets of a tile: rows of the detector."""
SLABS = 16
"""Slabs that a packet takes before it is the next one's turn."""
_A, _DA, _B, _DB, _FIRST, _LAST, _FRACTION_A, _FRACTION_B, _SHARE, _SUM, _CORNERS = range(
    0, 11 * LANES, LANES
)
"""Where a packet's numbers stand in its scratch space, which ends with four corner values a lane."""
_SCRATCH = _CORNERS + 4 * LANES


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


@njit
def _start_ray(flat, size, strides, source, d):
    """Where a ray runs, and the sum of its first and last slab, each by its share.

    Returns:
        (a0, da, b0, db) as of `ray_stay`; (axis, begin, end), its dominant axis (3 where it misses the volume) and the
        slabs between the two ends; the sum.
    """
    axis = dominant_axis(d[0], d[1], d[2])
    low, high, a0, da, b0, db = ray_stay(size, axis, source, d)
    if low >= high:
        return (0.0, 0.0, 0.0, 0.0), (3, 0, 0), 0.0
    a, b = (axis + 1) % 3, (axis + 2) % 3
    first = max(0, int(math.floor(low + 0.5)))
    last = min(size[axis] - 1, int(math.floor(high + 0.5)))
    total = 0.0
    for i in range(first, last + 1, max(1, last - first)):
        total += slab_share(low, high, i) * _held_sample(
            flat, i * strides[axis], a0 + i * da, b0 + i * db, size[a], size[b], strides[a], strides[b]
        )  # fmt: skip
    return (a0, da, b0, db), (axis, first + 1, last), total


@njit(error_model="numpy")
def _start_packet(rays, spans, axis, start, last_a, last_b, stride_a, stride_b, lanes, offsets):
    """Set up a packet for slabs from `start` on: positions in single precision, each from a corner of its own.

    Lanes of another axis, and those with no slab here, stay off. Both ends are held 4 millionths of a voxel within the
    outer voxel centres, which rounding cannot cross, so no slab between needs a look.
    """
    for lane in range(LANES):
        begin = max(spans[1, lane] - start, 0.0)
        end = min(spans[2, lane] - start, float(SLABS)) - 1.0
        on = (spans[0, lane] == axis) & (begin <= end)
        a0, da, b0, db = rays[0, lane], rays[1, lane], rays[2, lane], rays[3, lane]
        a = min(max(a0 + (start + begin) * da, 0.0), last_a)
        b = min(max(b0 + (start + begin) * db, 0.0), last_b)
        a_end = min(max(a0 + (start + end) * da, 0.0), last_a)
        b_end = min(max(b0 + (start + end) * db, 0.0), last_b)
        j, k, scale = np.floor(min(a, a_end)), np.floor(min(b, b_end)), 1.0 / max(end - begin, 1.0)
        da, db = (a_end - a) * scale, (b_end - b) * scale
        lanes[_A + lane] = a - begin * da - j if on else 0.0
        lanes[_B + lane] = b - begin * db - k if on else 0.0
        lanes[_DA + lane] = da if on else 0.0
        lanes[_DB + lane] = db if on else 0.0
        lanes[_FIRST + lane] = begin if on else -1.0
        lanes[_LAST + lane] = end if on else -1.0
        lanes[_SUM + lane] = 0.0
        offsets[lane] = np.int32(j * stride_a + k * stride_b if on else 0.0)


@njit(error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _march_packet(flat, base, stride, steps, stride_a, stride_b, lanes, offsets):
    """Add up a packet's bilinear values over `steps` slabs.

    One array holds the numbers of all lanes: so the compiler sees that they do not overlap.
    """
    cells = offsets[LANES:]
    step_a, step_b = np.int32(stride_a), np.int32(stride_b)
    for n in range(steps):
        t = np.float32(n)
        for lane in range(LANES):
            held = min(max(t, lanes[_FIRST + lane]), lanes[_LAST + lane])
            a = lanes[_A + lane] + held * lanes[_DA + lane]
            b = lanes[_B + lane] + held * lanes[_DB + lane]
            j, k = np.int32(a), np.int32(b)
            lanes[_FRACTION_A + lane] = a - np.float32(j)
            lanes[_FRACTION_B + lane] = b - np.float32(k)
            lanes[_SHARE + lane] = np.float32(1.0) if held == t else np.float32(0.0)
            offsets[LANES + lane] = np.int32(
                offsets[lane] + np.int32(j * step_a) + np.int32(k * step_b)
            )
        for first in range(0, LANES, WIDTH):
            load_corners(  # pyright: ignore[reportCallIssue]: numba itself gives the first argument
                flat, base, cells, first, stride_a, stride_b, lanes, _CORNERS + first
            )
        for lane in range(LANES):
            near, far = lanes[_CORNERS + lane], lanes[_CORNERS + LANES + lane]
            lower = near + lanes[_FRACTION_B + lane] * (far - near)
            near, far = (
                lanes[_CORNERS + 2 * LANES + lane],
                lanes[_CORNERS + 3 * LANES + lane],
            )
            upper = near + lanes[_FRACTION_B + lane] * (far - near)
            value = lower + lanes[_FRACTION_A + lane] * (upper - lower)
            lanes[_SUM + lane] += lanes[_SHARE + lane] * value
        base += stride


@njit
def _add_inner_slabs(flat, size, strides, axis, rays, spans, totals):
    """Add to a tile's sums all slabs between the ends of its rays of one dominant axis."""
    lanes, offsets = np.zeros(_SCRATCH, np.float32), np.zeros(2 * LANES, np.int32)
    size_a, size_b = size[(axis + 1) % 3], size[(axis + 2) % 3]
    last_a, last_b = max(0.0, size_a - 1.000004), max(0.0, size_b - 1.000004)
    stride_a = strides[(axis + 1) % 3] if size_a > 1 else 0
    stride_b = strides[(axis + 2) % 3] if size_b > 1 else 0
    bounds = np.zeros((ROWS, 2), np.int64)
    for i in range(ROWS):
        bounds[i, 0], bounds[i, 1] = size[axis], 0
        for lane in range(LANES):
            if spans[i, 0, lane] == axis:
                bounds[i, 0] = min(bounds[i, 0], int(spans[i, 1, lane]))
                bounds[i, 1] = max(bounds[i, 1], int(spans[i, 2, lane]))
    for start in range(bounds[:, 0].min(), bounds[:, 1].max(), SLABS):
        for i in range(ROWS):
            end = min(start + SLABS, bounds[i, 1])
            if end <= max(start, bounds[i, 0]):
                continue
            _start_packet(
                rays[i], spans[i], float(axis), float(start), last_a, last_b, float(stride_a), float(stride_b),
                lanes, offsets,
            )  # fmt: skip
            _march_packet(
                flat, start * strides[axis], strides[axis], end - start, stride_a, stride_b, lanes, offsets
            )  # fmt: skip
            for lane in range(LANES):
                totals[i, lane] += lanes[_SUM + lane]


@njit
def _project_tile(flat, size, strides, metric, vectors, row, column, out):
    """Fill in the rays of a tile, whose first pixel is (row, column); what lies beyond the detector is left out."""
    rays, spans = np.zeros((ROWS, 4, LANES)), np.full((ROWS, 3, LANES), 3.0)
    paths, totals = np.zeros((ROWS, LANES)), np.zeros((ROWS, LANES))
    rows, columns = min(ROWS, out.shape[0] - row), min(LANES, out.shape[1] - column)
    source = (vectors[0, 0], vectors[0, 1], vectors[0, 2])
    first, row_step, column_step = vectors[1], vectors[2], vectors[3]
    for i in range(rows):
        for lane in range(columns):
            at, side = row + i, column + lane
            dx = first[0] + at * row_step[0] + side * column_step[0]
            dy = first[1] + at * row_step[1] + side * column_step[1]
            dz = first[2] + at * row_step[2] + side * column_step[2]
            d = (dx, dy, dz)
            ray, span, totals[i, lane] = _start_ray(flat, size, strides, source, d)
            for n in range(4):
                rays[i, n, lane] = ray[n]
            for n in range(3):
                spans[i, n, lane] = span[n]
            if span[0] < 3:
                paths[i, lane] = ray_length(metric, dx, dy, dz) / abs(d[span[0]])
    for axis in range(3):
        if (spans[:, 0] == axis).any():
            _add_inner_slabs(flat, size, strides, axis, rays, spans, totals)
    for i in range(rows):
        for lane in range(columns):
            out[row + i, column + lane] = paths[i, lane] * totals[i, lane]


@njit(parallel=True, cache=True)
def project_kernel(values, vectors, metric, rows, columns):
    """Line integrals (view, row, column), float32; see `reference.project_reference` for the definition."""
    nz, ny, nx = values.shape
    flat = values.reshape(-1)
    size, strides = (nx, ny, nz), (1, nx, nx * ny)
    out = np.empty((len(vectors), rows, columns), np.float32)
    down, across = -(-rows // ROWS), -(-columns // LANES)
    for tile in prange(len(vectors) * down * across):
        view, row, column = tile // (down * across), tile // across % down, tile % across
        _project_tile(
            flat, size, strides, metric, vectors[view], row * ROWS, column * LANES, out[view]
        )
    return out
