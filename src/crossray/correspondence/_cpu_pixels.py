"""The pixel-level matrix of two views, sparse, for CPUs: some detector rows of the first view at a time.

With N_k (pixel, voxel) the scaled footprints of view k, the matrix is the product N_k diag(w) N_l^T in which a maximum
stands for the sum. All three are sparse. Rows of the matrix need only the voxels that these pixels see, so a few
detector rows at a time keep memory to the result's.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from crossray.correspondence._cpu_footprints import (
    LANES,
    list_patches,
    make_scene,
    make_work,
    measure_footprints,
)


class Footprints(NamedTuple):
    """Footprints of numbered voxels in one view: voxel v's are entries `ends[v - 1]` (0 for the first) to `ends[v]`."""

    ends: np.ndarray
    pixels: np.ndarray
    values: np.ndarray


@njit
def _room(array, count):
    """The array, or a copy twice as long where it holds no `count` entries."""
    if count <= len(array):
        return array
    longer = np.empty(2 * count, array.dtype)
    longer[: len(array)] = array
    return longer


@njit(inline="always")
def _stretch_seen(matrix, size, y, z, low, high):
    """First and last voxel of a row of the volume whose centres lie in detector rows `low` to `high`.

    Each bound is linear in x: sign * (row(x) - bound) * depth(x) >= 0.
    """
    first, last = 0.0, size - 1.0
    for sign, bound in ((1.0, low), (-1.0, high)):
        slope = sign * (matrix[0, 0] - bound * matrix[2, 0])
        offset = sign * (
            (matrix[0, 1] - bound * matrix[2, 1]) * y
            + (matrix[0, 2] - bound * matrix[2, 2]) * z
            + (matrix[0, 3] - bound * matrix[2, 3])
        )
        if slope > 0.0:
            first = max(first, min(size, math.ceil(-offset / slope)))
        elif slope < 0.0:
            last = min(last, max(-1.0, math.floor(-offset / slope)))
        elif offset < 0.0:
            last = -1.0
    return int(first), int(last)


@njit
def _gather_voxels(weights, scene, top, bottom, above):
    """Voxels (n, (x, y, z)) of weights above `above` that detector rows `top` to `bottom` of the first view may see."""
    nz, ny, nx = weights.shape
    matrix, half = scene.matrices[0], scene.half[0, 0]
    voxels, count = np.empty((1024, 3), np.int32), 0
    for z in range(nz):
        for y in range(ny):
            first, last = _stretch_seen(matrix, nx, y, z, top - half, bottom + half)
            if count + nx > len(voxels):
                longer = np.empty((2 * (count + nx), 3), np.int32)
                longer[:count] = voxels[:count]
                voxels = longer
            for x in range(first, last + 1):
                if weights[z, y, x] > above:
                    voxels[count, 0], voxels[count, 1], voxels[count, 2] = x, y, z
                    count += 1
    return voxels[:count]


@njit
def _new_footprints(voxels, scene, k):
    """Room for footprints in view k; what stays unused is never touched."""
    most = voxels * scene.shape[k, 0] * scene.shape[k, 1]
    return Footprints(np.empty(voxels, np.int64), np.empty(most, np.int32), np.empty(most))


@njit(inline="always")
def _append(footprints, voxel, work, k, scale, first, end, above):
    """Add where the voxel listed in `work` is strong: view k's pixels `first` to `end`, numbered from `first`."""
    count = footprints.ends[voxel - 1] if voxel else 0
    for i in range(work.touched[k]):
        value, pixel = scale * work.values[k, i], work.patches[k, i]
        if value > above and first <= pixel < end:
            footprints.pixels[count], footprints.values[count] = pixel - first, value
            count += 1
    footprints.ends[voxel] = count


@njit
def _measure(voxels, weights, scene, first, end, above):
    """Footprints of voxels: weighted in the first view, of its pixels `first` to `end` alone; plain in the second."""
    work, pixels = make_work(scene), scene.grid[0] * scene.grid[1]
    own = _new_footprints(len(voxels), scene, 0)
    other = _new_footprints(len(voxels), scene, 1)
    for start in range(0, len(voxels), LANES):
        count = min(LANES, len(voxels) - start)
        for lane in range(LANES):  # lanes to spare repeat the last voxel
            for axis in range(3):
                work.voxels[axis, lane] = voxels[start + min(lane, count - 1), axis]
        measure_footprints(scene, work, count)
        for lane in range(count):
            voxel = start + lane
            weight = float(weights[voxels[voxel, 2], voxels[voxel, 1], voxels[voxel, 0]])
            list_patches(scene, 0, lane, work)
            _append(own, voxel, work, 0, weight, first, end, above)
            list_patches(scene, 1, lane, work)
            _append(other, voxel, work, 1, 1.0, 0, pixels, above / weight)
    return own, other


@njit
def _by_pixel(footprints, pixels):
    """The same entries ordered by pixel: where each of `pixels` ends, and the voxels and values."""
    ends = np.zeros(pixels + 1, np.int64)
    count = footprints.ends[-1] if len(footprints.ends) else 0
    for i in range(count):
        ends[footprints.pixels[i] + 1] += 1
    ends = np.cumsum(ends)
    voxels, values = np.empty(count, np.int32), np.empty(count)
    i = 0
    for voxel in range(len(footprints.ends)):
        while i < footprints.ends[voxel]:
            pixel = footprints.pixels[i]
            voxels[ends[pixel]], values[ends[pixel]] = voxel, footprints.values[i]
            ends[pixel] += 1
            i += 1
    return ends[:-1], voxels, values


@njit(nogil=True, cache=True)
def pixel_rows_kernel(weights, vectors, metric, matrices, half, detector, top, bottom, above):
    """Rows of the pixel-level matrix of two views: the pixels of detector rows `top` to `bottom` of the first.

    Args:
        weights: Weight of each voxel [z, y, x].
        vectors: Of the `RayTable` of the two views.
        metric: Of the `RayTable`.
        matrices: As for `correspondence_kernel`.
        half: As for `correspondence_kernel`.
        detector: Rows and columns of the detector.
        top: First detector row.
        bottom: Last detector row.
        above: Entries up to this are left out.

    Returns:
        Number of entries of each pixel; their pixels of the second view, ascending; their values.
    """
    nz, ny, nx = weights.shape
    rows, columns = detector
    scene = make_scene((nx, ny, nz), vectors, metric, matrices, half, detector, 1, (True, 1))
    voxels = _gather_voxels(weights, scene, top, bottom, above)
    first, end = top * columns, (bottom + 1) * columns
    own, other = _measure(voxels, weights, scene, first, end, above)
    ends, members, strengths = _by_pixel(own, end - first)
    counts = np.zeros(end - first, np.int64)
    found, values, total = np.empty(1024, np.int32), np.empty(1024, np.float32), 0
    line = np.zeros(
        (rows, columns), np.float32
    )  # one row of the matrix, an image of the second view
    left, right = np.full(rows, columns), np.full(rows, -1)  # the columns that it touches
    above, i = np.float32(above), 0
    for pixel in range(end - first):
        while i < ends[pixel]:
            voxel, strength = members[i], strengths[i]
            for j in range(other.ends[voxel - 1] if voxel else 0, other.ends[voxel]):
                row, column = divmod(other.pixels[j], columns)
                line[row, column] = max(line[row, column], np.float32(strength * other.values[j]))
                left[row], right[row] = min(left[row], column), max(right[row], column)
            i += 1
        found, values = _room(found, total + rows * columns), _room(values, total + rows * columns)
        for row in range(rows):
            for column in range(left[row], right[row] + 1):
                if line[row, column] > above:
                    found[total], values[total] = row * columns + column, line[row, column]
                    total += 1
                    counts[pixel] += 1
                line[row, column] = 0.0
            left[row], right[row] = columns, -1
    return counts, found[:total].copy(), values[:total].copy()
