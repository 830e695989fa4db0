"""Exact patch-level correspondence for CPUs.

For one voxel v the block maximum of n_k[p] * n_l[q] over two patches is the product of the block maxima, since both
factors are non-negative. So each voxel needs, per view, the few patches its footprint touches and the footprint's
maximum in each; the matrix is the maximum over voxels of the products. Three things keep that cheap and exact: voxels
of high weight and slices far apart go first, so that later ones can change little; runs of voxels, then single ones,
are passed over where no entry they can touch lies below their weight; and the footprints of the others are computed
side by side.
"""

import math

import numpy as np
from numba import njit, prange

from crossray.correspondence._cpu_footprints import (
    LANES,
    list_patches,
    make_scene,
    make_work,
    measure_footprints,
)

RUN = 8
"""Voxels of a row that are passed over together."""
SLICES = (0, 4, 2, 6, 1, 5, 3, 7)
"""In which order slices are taken, modulo 8."""


@njit(inline="always")
def _weight(value, curve):
    midpoint, slope = curve
    return value if slope == 0.0 else 1.0 / (1.0 + math.exp(slope * (midpoint - value)))


@njit(error_model="numpy")
def _locate_row(scene, k, lines, across, first, last, bounds):
    """Fill `bounds` (view; first and last row, first and last column; x) with the patches footprints can touch.

    `lines` (view, 3) is the projection of the row's voxel 0, `across` holds 0.0, 1.0 and so on. Beside the detector the
    first lies behind the last.
    """
    matrices, half, grid, per_patch = scene.matrices, scene.half, scene.grid, 1.0 / scene.patch
    step_row, step_column, step_depth = matrices[k, 0, 0], matrices[k, 1, 0], matrices[k, 2, 0]
    row, column, depth = lines[k, 0], lines[k, 1], lines[k, 2]
    half_row, half_column = half[k, 0], half[k, 1]
    last_row, last_column = grid[0] - 1.0, grid[1] - 1.0
    top, bottom, left, right = bounds[k, 0], bounds[k, 1], bounds[k, 2], bounds[k, 3]
    # np.floor, not math.floor, and `across`, not x: of conversions between whole numbers the compiler makes no vectors.
    for x in range(first, last):
        scale = 1.0 / (step_depth * across[x] + depth)
        at = (step_row * across[x] + row) * scale
        top[x] = np.int32(max(0.0, np.floor((at - half_row) * per_patch)))
        bottom[x] = np.int32(min(last_row, np.floor((at + half_row) * per_patch)))
        at = (step_column * across[x] + column) * scale
        left[x] = np.int32(max(0.0, np.floor((at - half_column) * per_patch)))
        right[x] = np.int32(min(last_column, np.floor((at + half_column) * per_patch)))


@njit(inline="always")
def _span(bounds, k, first, last):
    """First and last patch row, first and last patch column that voxels `first` to `last` of a row can touch.

    A centre moves one way along a row, so the two ends tell.
    """
    return (
        min(bounds[k, 0, first], bounds[k, 0, last]),
        max(bounds[k, 1, first], bounds[k, 1, last]),
        min(bounds[k, 2, first], bounds[k, 2, last]),
        max(bounds[k, 3, first], bounds[k, 3, last]),
    )


@njit(inline="always")
def _settled(reached, scene, weight, bounds, first, last):
    """True if no entry that voxels `first` to `last` of a row can touch lies below the weight."""
    views, columns, weight = len(bounds), scene.grid[1], np.float32(weight)
    for k in range(views):
        top_k, bottom_k, left_k, right_k = _span(bounds, k, first, last)
        for m in range(k + scene.skip, views):
            top_m, bottom_m, left_m, right_m = _span(bounds, m, first, last)
            for row_k in range(top_k, bottom_k + 1):
                for column_k in range(left_k, right_k + 1):
                    line = reached[k, m, row_k * columns + column_k]
                    for row_m in range(top_m, bottom_m + 1):
                        for column_m in range(left_m, right_m + 1):
                            if line[row_m * columns + column_m] < weight:
                                return False
    return True


@njit
def _add_voxels(out, reached, scene, work, count):
    """Raise the matrices of all pairs of views by the first `count` voxels of `work`."""
    views = len(scene.vectors)
    measure_footprints(scene, work, count)
    for lane in range(count):
        for k in range(views):
            list_patches(scene, k, lane, work)
        for k in range(views):
            for m in range(k + scene.skip, views):
                for i in range(work.touched[k]):
                    scaled, p = work.voxels[3, lane] * work.values[k, i], work.patches[k, i]
                    for j in range(work.touched[m]):
                        value, q = np.float32(scaled * work.values[m, j]), work.patches[m, j]
                        if value > reached[k, m, p, q]:
                            reached[k, m, p, q] = value
                            out[k, m, p, q] = max(out[k, m, p, q], value)


@njit
def _slices(count):
    """All slices, those far apart first."""
    order = np.empty(count, np.int64)
    n = 0
    for first in SLICES:
        for z in range(first, count, len(SLICES)):
            order[n] = z
            n += 1
    return order


@njit(fastmath=True)
def _highest(line):
    """The largest value of a row: finite, so that the compiler may take many at once."""
    top = line[0]
    for x in range(1, len(line)):
        top = max(top, line[x])
    return top


@njit
def _stretch(line, least):
    """The first voxel of a row from `least` up, and the one after the last; (0, 0) where there is none."""
    if _highest(line) < least:
        return 0, 0
    first, last = 0, len(line)
    while line[first] < least:
        first += 1
    while line[last - 1] < least:
        last -= 1
    return first, last


@njit(error_model="numpy")
def _add_row(out, reached, scene, work, count, bounds, line, y, z, first, last, low, high, curve):
    """Add a row's voxels of values in [low, high) to the `count` waiting ones, or pass over them.

    Returns:
        How many wait now.
    """
    for start in range(first, last, RUN):
        end = min(start + RUN, last)
        top = -np.inf
        for x in range(start, end):
            if top < line[x] < high:
                top = line[x]
        if top < low or (
            scene.normalise
            and _settled(reached, scene, _weight(top, curve), bounds, start, end - 1)
        ):
            continue
        for x in range(start, end):
            if not low <= line[x] < high:
                continue
            weight = _weight(line[x], curve)
            if weight <= 0.0 or (
                scene.normalise and _settled(reached, scene, weight, bounds, x, x)
            ):
                continue
            work.voxels[0, count], work.voxels[1, count], work.voxels[2, count] = x, y, z
            work.voxels[3, count] = weight
            count += 1
            if count == LANES:
                _add_voxels(out, reached, scene, work, count)
                count = 0
    return count


@njit(error_model="numpy")
def _add_slices(
    out, reached, worker, workers, values, logistic, vectors, metric, matrices, half, grid, patch, options
):  # fmt: skip
    """Raise one thread's matrices by every slice that is its own."""
    nz, ny, nx = values.shape
    midpoint, slope, lowest, split = logistic
    views = len(vectors)
    scene = make_scene((nx, ny, nz), vectors, metric, matrices, half, grid, patch, options)
    work = make_work(scene)
    lines, bounds = np.zeros((views, 3)), np.zeros((views, 4, nx), np.int32)
    across, count = np.arange(nx) * 1.0, 0
    for low, high in ((split, np.inf), (lowest, split)):
        for z in _slices(nz)[worker::workers]:
            for y in range(ny):
                line = values[z, y]
                first, last = _stretch(line, low)
                if first >= last:
                    continue
                for k in range(views):
                    for i in range(3):
                        m = matrices[k, i]
                        lines[k, i] = m[1] * y + m[2] * z + m[3]
                    _locate_row(scene, k, lines, across, first, last, bounds)
                count = _add_row(
                    out, reached, scene, work, count, bounds, line, y, z, first, last, low, high, (midpoint, slope)
                )  # fmt: skip
    if count:
        _add_voxels(out, reached, scene, work, count)


@njit(parallel=True, cache=True)
def correspondence_kernel(
    values, logistic, vectors, metric, matrices, half, grid, patch, options, workers
):
    """Patch-level matrices (view, view, patch, patch), float32, upper triangle of views only.

    Args:
        values: Volume [z, y, x].
        logistic: (midpoint, slope, lowest, split): weight = 1 / (1 + exp(-slope * (value - midpoint))) from `lowest`
            up; with slope 0 the value itself, above 0. Voxels above `split` go first.
        vectors: Of the `RayTable`.
        metric: Of the `RayTable`.
        matrices: (view, 3, 4): voxel index (x, y, z, 1) to depth * (row, column, 1).
        half: (view, 3): bound of half a footprint's rows and columns, and of the depth of a voxel's neighbours.
        grid: Rows and columns of patches.
        patch: Side of a patch in pixels.
        options: (normalise, 0 or 1): scale each footprint to a peak of 1; 1 leaves out each view with itself.
        workers: Number of threads to share the voxels among.
    """
    views, patches = len(vectors), grid[0] * grid[1]
    # One copy a thread: maxima commute, so the result does not depend on how voxels are shared out. What all of them
    # have reached stands in one more: a write lost to another thread's only means less to pass over.
    partial = np.zeros((workers, views, views, patches, patches), np.float32)
    reached = np.zeros((views, views, patches, patches), np.float32)
    for worker in prange(workers):
        _add_slices(
            partial[worker], reached, worker, workers, values, logistic, vectors, metric, matrices, half, grid, patch,
            options,
        )  # fmt: skip
    result = partial[0]
    for worker in range(1, workers):
        result = np.maximum(result, partial[worker])
    return result
