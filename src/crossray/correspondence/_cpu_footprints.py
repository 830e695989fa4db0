"""Footprints of several voxels at once, for CPUs: which pixels and patches of each view see them, and how strongly.

The voxels stand side by side in loops that the compiler turns into vector instructions.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from crossray.projection._cpu import dominant_axis, ray_length, ray_stay, slab_share

LANES = 64
"""Voxels whose footprints are computed side by side."""


class Scene(NamedTuple):
    """What the kernel is given (see there), and the size of footprints.

    `shape` (view, 4) holds the rows and columns of the rectangle of pixels around a voxel that hold its footprint, and
    the rows and columns of patches which such a rectangle can touch.
    """

    size: tuple[int, int, int]
    vectors: np.ndarray
    metric: np.ndarray
    matrices: np.ndarray
    half: np.ndarray
    shape: np.ndarray
    grid: tuple[int, int]
    patch: int
    normalise: bool
    skip: int


class Work(NamedTuple):
    """Scratch space for LANES voxels; the last axis of the first seven is the voxel.

    `places` (view, (row, column, depth)): first pixel of each footprint's rectangle, then its first patch.
    `offsets` (row and column): from the first pixel of the first patch to the rectangle's.
    `terms`: of `_footprints_of_one_axis`. `weights` (pixel): footprints in one view. `cells` (pixel): their maxima over
    columns.
    `maxima` (view, patch): footprints' maxima. `voxels` (x, y, z, weight).
    `touched` (view), `values`, `patches` (view, patch): of one voxel, how many patches, with what maximum, and which.
    """

    places: np.ndarray
    offsets: np.ndarray
    terms: np.ndarray
    weights: np.ndarray
    cells: np.ndarray
    maxima: np.ndarray
    voxels: np.ndarray
    touched: np.ndarray
    values: np.ndarray
    patches: np.ndarray


@njit(error_model="numpy")
def _place(scene, k, voxels, places):
    """Fill `places` with the first pixel of each voxel's footprint, row and column, and its depth."""
    matrices, half = scene.matrices, scene.half
    for lane in range(LANES):
        x, y, z = voxels[0, lane], voxels[1, lane], voxels[2, lane]
        row, column, depth = matrices[k, 0], matrices[k, 1], matrices[k, 2]
        places[2, lane] = depth[0] * x + depth[1] * y + depth[2] * z + depth[3]
        scale = 1.0 / places[2, lane]
        places[0, lane] = math.ceil(
            (row[0] * x + row[1] * y + row[2] * z + row[3]) * scale - half[k, 0]
        )
        places[1, lane] = math.ceil(
            (column[0] * x + column[1] * y + column[2] * z + column[3]) * scale - half[k, 1]
        )


@njit(error_model="numpy")
def _common_axis(scene, k, places):
    """The dominant axis of every ray of the footprints, or -1 where they differ.

    The directions that one axis dominates form a convex cone, so the corners of a rectangle of pixels tell.
    """
    first, row_step, column_step = scene.vectors[k, 1], scene.vectors[k, 2], scene.vectors[k, 3]
    d = first + places[0, 0] * row_step + places[1, 0] * column_step
    axis = dominant_axis(d[0], d[1], d[2])
    sign = 1.0 if d[axis] > 0 else -1.0
    a, b = (axis + 1) % 3, (axis + 2) % 3
    least = np.inf
    for i in (0, scene.shape[k, 0] - 1):
        for j in (0, scene.shape[k, 1] - 1):
            for lane in range(LANES):
                row, column = places[0, lane] + i, places[1, lane] + j
                d0 = sign * (first[axis] + row * row_step[axis] + column * column_step[axis])
                da = first[a] + row * row_step[a] + column * column_step[a]
                db = first[b] + row * row_step[b] + column * column_step[b]
                least = min(least, d0 - abs(da), d0 - abs(db))
    return axis if least > 0.0 else -1


@njit(error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _footprints_of_one_axis(scene, k, axis, voxels, places, terms, weights):
    """Fill `weights` with the Joseph weights, mm, of voxels off the volume's border, where one axis dominates all rays.

    A ray meets the voxel's slab off the voxel by a fraction of two terms linear in row and column. Their coefficients,
    `terms`, hold no difference of large numbers once taken in double precision, so the pixels need single precision
    alone.
    """
    source, first, row_step, column_step = (
        scene.vectors[k, 0], scene.vectors[k, 1], scene.vectors[k, 2], scene.vectors[k, 3],
    )  # fmt: skip
    a, b = (axis + 1) % 3, (axis + 2) % 3
    s0, sa, sb = source[axis], source[a], source[b]
    f0, fa, fb = first[axis], first[a], first[b]
    r0, ra, rb = row_step[axis], row_step[a], row_step[b]
    c0, ca, cb = column_step[axis], column_step[a], column_step[b]
    for lane in range(LANES):
        row, column = places[0, lane], places[1, lane]
        depth = voxels[axis, lane] - s0  # of the voxel's slab, in voxels along the axis
        to_a, to_b = voxels[a, lane] - sa, voxels[b, lane] - sb
        d0 = f0 + row * r0 + column * c0
        terms[0, lane], terms[1, lane], terms[2, lane] = d0, r0, c0
        terms[3, lane] = depth * (fa + row * ra + column * ca) - to_a * d0
        terms[4, lane], terms[5, lane] = depth * ra - to_a * r0, depth * ca - to_a * c0
        terms[6, lane] = depth * (fb + row * rb + column * cb) - to_b * d0
        terms[7, lane], terms[8, lane] = depth * rb - to_b * r0, depth * cb - to_b * c0
        terms[9, lane], terms[10, lane], terms[11, lane] = to_a / depth, to_b / depth, 1.0 / depth
    metric = scene.metric.astype(np.float32)
    m00, maa, mbb = metric[axis, axis], metric[a, a], metric[b, b]
    two = np.float32(2.0)
    m0a, m0b, mab = two * metric[axis, a], two * metric[axis, b], two * metric[a, b]
    one, zero = np.float32(1.0), np.float32(0.0)
    for i in range(scene.shape[k, 0]):
        for j in range(scene.shape[k, 1]):
            pixel, down, right = i * scene.shape[k, 1] + j, np.float32(i), np.float32(j)
            for lane in range(LANES):
                scale = one / (terms[0, lane] + down * terms[1, lane] + right * terms[2, lane])
                off_a = scale * (terms[3, lane] + down * terms[4, lane] + right * terms[5, lane])
                off_b = scale * (terms[6, lane] + down * terms[7, lane] + right * terms[8, lane])
                slope_a = terms[9, lane] + off_a * terms[11, lane]
                slope_b = terms[10, lane] + off_b * terms[11, lane]
                path = m00 + slope_a * (m0a + maa * slope_a + mab * slope_b)
                path = np.sqrt(path + slope_b * (m0b + mbb * slope_b))
                tent = max(zero, one - abs(off_a)) * max(zero, one - abs(off_b))
                weights[pixel, lane] = tent * path


@njit(error_model="numpy")
def _footprints(scene, k, axis, voxels, places, weights):
    """Add to `weights` the Joseph weights, mm, of voxels off the volume's border in rays of one dominant axis."""
    source, first, row_step, column_step = (
        scene.vectors[k, 0], scene.vectors[k, 1], scene.vectors[k, 2], scene.vectors[k, 3],
    )  # fmt: skip
    a, b = (axis + 1) % 3, (axis + 2) % 3
    s0, sa, sb = source[axis], source[a], source[b]
    f0, fa, fb = first[axis], first[a], first[b]
    r0, ra, rb = row_step[axis], row_step[a], row_step[b]
    c0, ca, cb = column_step[axis], column_step[a], column_step[b]
    m00, maa, mbb = scene.metric[axis, axis], scene.metric[a, a], scene.metric[b, b]
    m0a, m0b, mab = 2 * scene.metric[axis, a], 2 * scene.metric[axis, b], 2 * scene.metric[a, b]
    # Of two components alike the earlier axis dominates.
    least_a, least_b = -1e-300 if a > axis else 0.0, -1e-300 if b > axis else 0.0
    for i in range(scene.shape[k, 0]):
        for j in range(scene.shape[k, 1]):
            pixel = i * scene.shape[k, 1] + j
            for lane in range(LANES):
                row, column = places[0, lane] + i, places[1, lane] + j
                d0 = f0 + row * r0 + column * c0
                da = fa + row * ra + column * ca
                db = fb + row * rb + column * cb
                dominant = (abs(d0) - abs(da) > least_a) & (abs(d0) - abs(db) > least_b)
                scale = 1.0 / d0
                along = (voxels[axis, lane] - s0) * scale
                off_a = abs(along * da - (voxels[a, lane] - sa))
                off_b = abs(along * db - (voxels[b, lane] - sb))
                tent = max(0.0, 1.0 - off_a) * max(0.0, 1.0 - off_b)
                length = math.sqrt(
                    d0 * (m00 * d0 + m0a * da + m0b * db)
                    + da * (maa * da + mab * db)
                    + mbb * db * db
                )
                weights[pixel, lane] += tent * length * abs(scale) if dominant else 0.0


@njit(inline="always")
def _held_tent(position, index, size):
    return max(0.0, 1.0 - abs(min(max(position, 0.0), size - 1.0) - index))


@njit
def _border_weight(scene, k, voxel, row, column):
    """Joseph weight of any voxel in the ray of a pixel, mm: its entry in the system matrix."""
    vectors, size = scene.vectors, scene.size
    dx = vectors[k, 1, 0] + row * vectors[k, 2, 0] + column * vectors[k, 3, 0]
    dy = vectors[k, 1, 1] + row * vectors[k, 2, 1] + column * vectors[k, 3, 1]
    dz = vectors[k, 1, 2] + row * vectors[k, 2, 2] + column * vectors[k, 3, 2]
    d, axis = (dx, dy, dz), dominant_axis(dx, dy, dz)
    source = (vectors[k, 0, 0], vectors[k, 0, 1], vectors[k, 0, 2])
    low, high, a0, da, b0, db = ray_stay(size, axis, source, d)
    i, a_axis, b_axis = voxel[axis], (axis + 1) % 3, (axis + 2) % 3
    weight = slab_share(low, high, i)
    weight *= _held_tent(a0 + i * da, voxel[a_axis], size[a_axis]) * _held_tent(
        b0 + i * db, voxel[b_axis], size[b_axis]
    )
    if weight == 0.0:
        return 0.0
    return weight * ray_length(scene.metric, dx, dy, dz) / abs(d[axis])


@njit(inline="always")
def _border_footprint(scene, k, lane, voxels, places, weights):
    """Replace a footprint where its tent is cut or held: at the volume's border or about the detector."""
    voxel = (int(voxels[0, lane]), int(voxels[1, lane]), int(voxels[2, lane]))
    inside = min(voxel) >= 2 and places[2, lane] + scene.half[k, 2] < 1.0
    for i in range(3):
        inside = inside and voxel[i] <= scene.size[i] - 3
    if inside:
        return
    rows, columns = scene.shape[k, 0], scene.shape[k, 1]
    for i in range(rows):
        for j in range(columns):
            weights[i * columns + j, lane] = _border_weight(
                scene, k, voxel, places[0, lane] + i, places[1, lane] + j
            )


@njit(error_model="numpy")
def _patch_maxima(scene, k, weights, places, offsets, cells, maxima):
    """Fill `maxima` with each footprint's maximum in each patch it can touch, and `places` with the first of these.

    Over columns first, then over rows. Where asked, the footprint's peak is scaled to 1.
    """
    rows, columns, parts_row, parts_column = scene.shape[k]
    patch = scene.patch
    for i in range(2):
        for lane in range(LANES):
            pixel = places[i, lane]
            places[i, lane] = math.floor(pixel / patch)
            offsets[i, lane] = pixel - patch * places[i, lane]
    cells[: rows * parts_column] = 0.0
    maxima[:] = 0.0
    for i in range(rows):
        for part in range(parts_column):
            cell, begin, end = i * parts_column + part, part * patch, (part + 1) * patch
            for j in range(max(0, begin - patch + 1), min(columns, end)):
                low, high = np.float32(begin - j), np.float32(end - j)
                for lane in range(LANES):
                    inside = (offsets[1, lane] >= low) & (offsets[1, lane] < high)
                    weight = weights[i * columns + j, lane] if inside else np.float32(0.0)
                    cells[cell, lane] = max(cells[cell, lane], weight)
    for part_row in range(parts_row):
        begin, end = part_row * patch, (part_row + 1) * patch
        for i in range(max(0, begin - patch + 1), min(rows, end)):
            low, high = np.float32(begin - i), np.float32(end - i)
            for part in range(parts_column):
                at = part_row * parts_column + part
                for lane in range(LANES):
                    inside = (offsets[0, lane] >= low) & (offsets[0, lane] < high)
                    weight = cells[i * parts_column + part, lane] if inside else np.float32(0.0)
                    maxima[at, lane] = max(maxima[at, lane], weight)
    if scene.normalise:
        cells[0] = 1e-37
        for at in range(parts_row * parts_column):
            for lane in range(LANES):
                cells[0, lane] = max(cells[0, lane], maxima[at, lane])
        for at in range(parts_row * parts_column):
            for lane in range(LANES):
                maxima[at, lane] /= cells[0, lane]


@njit(inline="always")
def list_patches(scene, k, lane, work):
    """List the patches of view k's detector that a voxel touches, once footprints are measured."""
    touched = 0
    rows, columns = scene.grid
    for i in range(scene.shape[k, 2]):
        row = int(work.places[k, 0, lane]) + i
        for j in range(scene.shape[k, 3]):
            column = int(work.places[k, 1, lane]) + j
            value = work.maxima[k, i * scene.shape[k, 3] + j, lane]
            if value > 0.0 and 0 <= row < rows and 0 <= column < columns:
                work.values[k, touched] = value
                work.patches[k, touched] = row * columns + column
                touched += 1
    work.touched[k] = touched


@njit
def measure_footprints(scene, work, count):
    """Find where each view sees the first `count` voxels of `work` and how strongly each patch does."""
    for k in range(len(scene.vectors)):
        places = work.places[k]
        _place(scene, k, work.voxels, places)
        common = _common_axis(scene, k, places)
        if common >= 0:
            _footprints_of_one_axis(scene, k, common, work.voxels, places, work.terms, work.weights)
        else:
            work.weights[:] = 0.0
            for axis in range(3):
                _footprints(scene, k, axis, work.voxels, places, work.weights)
        for lane in range(count):
            _border_footprint(scene, k, lane, work.voxels, places, work.weights)
        _patch_maxima(scene, k, work.weights, places, work.offsets, work.cells, work.maxima[k])


@njit
def make_scene(size, vectors, metric, matrices, half, grid, patch, options):
    """The scene of a volume of `size` voxels along x, y and z; the rest as for the kernel."""
    shape = np.empty((len(vectors), 4), np.int64)
    shape[:, :2] = 2 * half[:, :2] + 1
    shape[:, 2:] = (shape[:, :2] + patch - 2) // patch + 1
    normalise, skip = options
    return Scene(size, vectors, metric, matrices, half, shape, grid, patch, normalise, skip)


@njit
def make_work(scene):
    """Scratch space for a scene."""
    views, rows, columns = len(scene.vectors), scene.shape[:, 0].max(), scene.shape[:, 1].max()
    parts = scene.shape[:, 2].max() * scene.shape[:, 3].max()
    return Work(
        np.zeros((views, 3, LANES)), np.zeros((2, LANES), np.float32), np.zeros((12, LANES), np.float32),
        np.zeros((rows * columns, LANES), np.float32), np.zeros((rows * columns, LANES), np.float32),
        np.zeros((views, parts, LANES), np.float32), np.zeros((4, LANES)),
        np.zeros(views, np.int64), np.zeros((views, parts)), np.zeros((views, parts), np.int64),
    )  # fmt: skip
