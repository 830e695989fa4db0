"""Exact patch-level correspondence for CPUs.

For one voxel v the block maximum of n_k[p] * n_l[q] over two patches is the product of the block maxima, since both
factors are non-negative. So each voxel needs, per view, the few patches its footprint touches and the footprint's
maximum in each; the matrix is the maximum over voxels of the products. Three things keep that cheap and exact: voxels
of high weight and slices far apart go first, so that later ones can change little; runs of voxels, then single ones,
are passed over where no entry they can touch lies below their weight, then below a bound of what they can add to it;
and bounds as well as the footprints of the others are computed side by side.
"""

import math

import numpy as np
from numba import njit, prange

from crossray.correspondence._cpu_bounds import bound_footprints
from crossray.correspondence._cpu_footprints import (
    LANES,
    is_plain,
    list_patches,
    make_scene,
    make_work,
    measure_footprints,
)

RUN = 8
"""Voxels of a row that are passed over together."""
LEVELS = 40
"""Classes of weight; voxels of higher ones go first."""
SLICES = (0, 4, 2, 6, 1, 5, 3, 7)
"""In which order slices are taken, modulo 8."""


@njit(inline="always")
def _weight(value, curve):
    midpoint, slope = curve
    return value if slope == 0.0 else 1.0 / (1.0 + math.exp(slope * (midpoint - value)))


@njit(inline="always", error_model="numpy")
def _locate(scene, lines, x, bounds):
    """Fill `bounds` (view; first and last row, first and last column, behind; x) with the patches voxel x can touch.

    `lines` (view, 3) is the projection of the row's voxel 0. Beside the detector the first lies behind the last; behind
    it, where no ray comes, `behind` is 1.
    """
    half, per_patch = scene.half, 1.0 / scene.patch
    for k in range(len(bounds)):
        depth = scene.matrices[k, 2, 0] * x + lines[k, 2]
        bounds[k, 4, x] = depth - half[k, 2] >= 1.0
        scale = 1.0 / depth
        for i in range(2):
            center = (scene.matrices[k, i, 0] * x + lines[k, i]) * scale
            bounds[k, 2 * i, x] = max(0.0, np.floor((center - half[k, i]) * per_patch))
            bounds[k, 2 * i + 1, x] = min(
                scene.grid[i] - 1.0, np.floor((center + half[k, i]) * per_patch)
            )


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
        if bounds[k, 4, first] and bounds[k, 4, last]:
            continue
        top_k, bottom_k, left_k, right_k = _span(bounds, k, first, last)
        for m in range(k + scene.skip, views):
            if bounds[m, 4, first] and bounds[m, 4, last]:
                continue
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
def _add_voxels(out, reached, scene, work):
    """Raise the matrices of all pairs of views by the voxels that wait in `work`."""
    views, count = len(scene.vectors), work.waiting[0]
    work.waiting[0] = 0
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
def _may_raise(reached, scene, work, lane):
    """True if an entry lies below the bound of what a voxel can add to it, once footprints are bounded."""
    views = len(scene.vectors)
    for k in range(views):
        list_patches(scene, k, lane, work)
    for k in range(views):
        for m in range(k + scene.skip, views):
            for i in range(work.touched[k]):
                scaled, line = (
                    work.voxels[3, lane] * work.values[k, i],
                    reached[k, m, work.patches[k, i]],
                )
                for j in range(work.touched[m]):
                    if np.float32(scaled * work.values[m, j]) > line[work.patches[m, j]]:
                        return True
    return False


@njit
def _sift(out, reached, scene, sieve, plain, others):
    """Add the voxels that wait in `sieve` to those that wait in `plain` or `others`, or pass over them."""
    count = sieve.waiting[0]
    sieve.waiting[0] = 0
    bound_footprints(scene, sieve, count)
    for lane in range(count):
        if scene.normalise and not _may_raise(reached, scene, sieve, lane):
            continue
        work = plain
        for k in range(len(scene.vectors)):
            if not is_plain(scene, k, lane, sieve):
                work = others
        work.voxels[:, work.waiting[0]] = sieve.voxels[:, lane]
        work.waiting[0] += 1
        if work.waiting[0] == LANES:
            _add_voxels(out, reached, scene, work)


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


@njit
def _stretch(line, least):
    """The first voxel of a row from `least` up, and the one after the last; the same twice where there is none."""
    first, last = 0, len(line)
    while first < last and line[first] < least:
        first += 1
    while first < last and line[last - 1] < least:
        last -= 1
    return first, last


@njit(inline="always")
def _set_lines(matrices, y, z, lines):
    """Fill `lines` (view, 3) with the projection of a row's voxel 0."""
    for k in range(len(matrices)):
        for i in range(3):
            m = matrices[k, i]
            lines[k, i] = m[1] * y + m[2] * z + m[3]


@njit(error_model="numpy")
def _list_voxels(reached, scene, lines, bounds, values, curve, lowest, slices):
    """Voxels of some slices that weigh anything and two views see.

    Returns:
        Their places in the volume, and of each which of LEVELS classes of weight is its own, 0 for the highest.
    """
    _, ny, nx = values.shape
    places = np.empty(len(slices) * ny * nx, np.int64)
    levels = np.empty(len(places), np.uint8)
    count = 0
    for z in slices:
        for y in range(ny):
            line = values[z, y]
            first, last = _stretch(line, lowest)
            _set_lines(scene.matrices, y, z, lines)
            for start in range(first, last, RUN):
                end = min(start + RUN, last)
                top = -np.inf
                for x in range(start, end):
                    top = max(top, line[x])
                if top < lowest:
                    continue
                _locate(scene, lines, start, bounds)
                _locate(scene, lines, end - 1, bounds)
                if scene.normalise and _settled(
                    reached, scene, _weight(top, curve), bounds, start, end - 1
                ):
                    continue
                for x in range(start, end):
                    if line[x] >= lowest:
                        weight = min(max(_weight(line[x], curve), 0.0), 1.0)
                        places[count] = (z * ny + y) * nx + x
                        levels[count] = int((1.0 - weight) * (LEVELS - 1))
                        count += 1
    return places[:count], levels[:count]


@njit
def _sorted_by_level(places, levels):
    """Places of the first level first; within a level as they come."""
    starts = np.zeros(LEVELS + 1, np.int64)
    for level in levels:
        starts[level + 1] += 1
    starts = np.cumsum(starts)
    result = np.empty_like(places)
    for i in range(len(places)):
        result[starts[levels[i]]] = places[i]
        starts[levels[i]] += 1
    return result


@njit(error_model="numpy")
def _add_slices(out, reached, scene, values, logistic, slices, works):
    """Raise the matrices by the voxels of some slices, those of high weight first."""
    _, ny, nx = values.shape
    midpoint, slope, lowest = logistic
    curve, views = (midpoint, slope), len(scene.vectors)
    sieve, plain, others = works
    lines, bounds = np.zeros((views, 3)), np.zeros((views, 5, nx), np.int32)
    places, levels = _list_voxels(reached, scene, lines, bounds, values, curve, lowest, slices)
    for place in _sorted_by_level(places, levels):
        row, x = divmod(place, nx)
        z, y = divmod(row, ny)
        weight = _weight(values[z, y, x], curve)
        _set_lines(scene.matrices, y, z, lines)
        _locate(scene, lines, x, bounds)
        if weight <= 0.0 or (scene.normalise and _settled(reached, scene, weight, bounds, x, x)):
            continue
        count = sieve.waiting[0]
        sieve.voxels[0, count], sieve.voxels[1, count], sieve.voxels[2, count] = x, y, z
        # A product of projections has the weight once a view.
        sieve.voxels[3, count] = weight if scene.normalise else weight * weight
        sieve.waiting[0] += 1
        if count + 1 == LANES:
            _sift(out, reached, scene, sieve, plain, others)


@njit(error_model="numpy")
def _add_share(
    out, reached, worker, workers, values, logistic, vectors, metric, matrices, half, grid, patch, options
):  # fmt: skip
    """Raise one thread's matrices by every slice that is its own, an eighth of them at a time: a list needs memory."""
    nz, ny, nx = values.shape
    scene = make_scene((nx, ny, nz), vectors, metric, matrices, half, grid, patch, options)
    works = (make_work(scene), make_work(scene), make_work(scene))
    slices = _slices(nz)[worker::workers]
    part = len(slices) // len(SLICES) + 1
    for first in range(0, len(slices), part):
        _add_slices(out, reached, scene, values, logistic, slices[first : first + part], works)
    sieve, plain, others = works
    _sift(out, reached, scene, sieve, plain, others)
    for work in (plain, others):
        _add_voxels(out, reached, scene, work)


@njit(parallel=True, cache=True)
def _add_shares(
    partial, reached, values, logistic, vectors, metric, matrices, half, grid, patch, options
):
    workers = len(partial)
    for worker in prange(workers):
        _add_share(
            partial[worker], reached, worker, workers, values, logistic, vectors, metric, matrices, half, grid, patch,
            options,
        )  # fmt: skip


def correspondence_kernel(
    values, logistic, vectors, metric, matrices, half, grid, patch, options, workers
):
    """Patch-level matrices (view, view, patch, patch), float32, upper triangle of views only.

    Args:
        values: Volume [z, y, x].
        logistic: (midpoint, slope, lowest): weight = 1 / (1 + exp(-slope * (value - midpoint))) from `lowest` up; with
            slope 0 the value itself, above 0.
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
    _add_shares(
        partial, reached, values, logistic, vectors, metric, matrices, half, grid, patch, options
    )
    return partial.max(0)
