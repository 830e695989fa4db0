"""Footprints of several voxels at once, for CPUs: which pixels and patches of each view see them, and how strongly.

The voxels stand side by side in loops that the compiler turns into vector instructions.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

LANES = 64
"""Voxels whose footprints are computed side by side."""
MIXED = 3
"""In place of an axis: different ones dominate different rays."""


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
    """Scratch space for LANES voxels; the last axis of the first eight is the voxel.

    `places` (view, (row, column, depth)): first pixel of each footprint's rectangle, then its first patch.
    `offsets` (row and column): from the first pixel of the first patch to the rectangle's.
    `axes` (view), `terms`: of `locate_footprints`. `weights` (pixel): footprints in one view. `cells` (pixel): their
    maxima over columns.
    `maxima` (view, patch): footprints' maxima. `voxels` (x, y, z, weight).
    `touched` (view), `values`, `patches` (view, patch): of one voxel, how many patches, with what maximum, and which.
    `waiting` (1): how many voxels wait.
    """

    places: np.ndarray
    axes: np.ndarray
    offsets: np.ndarray
    terms: np.ndarray
    weights: np.ndarray
    cells: np.ndarray
    maxima: np.ndarray
    voxels: np.ndarray
    touched: np.ndarray
    values: np.ndarray
    patches: np.ndarray
    waiting: np.ndarray


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
def _find_axes(scene, k, places, axes):
    """Fill `axes` with the axis that dominates every ray of a footprint, or MIXED where they differ.

    The directions that one axis dominates form a convex cone, so the corners of a rectangle of pixels tell.
    """
    first, row_step, column_step = scene.vectors[k, 1], scene.vectors[k, 2], scene.vectors[k, 3]
    down, right = scene.shape[k, 0] - 1, scene.shape[k, 1] - 1
    for lane in range(LANES):
        row, column = places[0, lane], places[1, lane]
        x = first[0] + row * row_step[0] + column * column_step[0]
        y = first[1] + row * row_step[1] + column * column_step[1]
        z = first[2] + row * row_step[2] + column * column_step[2]
        sign_x, sign_y, sign_z = math.copysign(1.0, x), math.copysign(1.0, y), math.copysign(1.0, z)
        least_x, least_y, least_z = np.inf, np.inf, np.inf
        for i in (0, down):
            for j in (0, right):
                dx = sign_x * (x + i * row_step[0] + j * column_step[0])
                dy = sign_y * (y + i * row_step[1] + j * column_step[1])
                dz = sign_z * (z + i * row_step[2] + j * column_step[2])
                least_x = min(least_x, dx - max(abs(dy), abs(dz)))
                least_y = min(least_y, dy - max(abs(dx), abs(dz)))
                least_z = min(least_z, dz - max(abs(dx), abs(dy)))
        axes[lane] = 0 if least_x > 0.0 else 1 if least_y > 0.0 else 2 if least_z > 0.0 else MIXED


@njit(inline="always")
def is_inner(scene, k, lane, work, layers):
    """True where one axis dominates, and a voxel lies before the detector and under so many layers of the volume."""
    inner = work.axes[k, lane] != MIXED and work.places[k, 2, lane] + scene.half[k, 2] < 1.0
    for i in range(3):
        inner = inner and layers <= work.voxels[i, lane] < scene.size[i] - layers
    return inner


@njit(inline="always")
def is_plain(scene, k, lane, work):
    """True where one axis dominates and no part of a voxel's tent is held at a face or cut."""
    return is_inner(scene, k, lane, work, 2)


@njit(error_model="numpy")
def locate_footprints(scene, k, work):
    """Fill `places`, `axes` and `terms` of `work`: where each footprint lies and how rays meet its voxel's slab.

    Where one axis dominates all rays, a ray meets the slab off the voxel by a fraction of two terms linear in row and
    column. Their coefficients hold no difference of large numbers once taken in double precision, so the pixels need
    single precision alone.
    """
    _place(scene, k, work.voxels, work.places[k])
    _find_axes(scene, k, work.places[k], work.axes[k])
    for axis in range(3):
        if (work.axes[k] == axis).any():
            _set_terms(scene, k, axis, work)


@njit(error_model="numpy")
def _set_terms(scene, k, axis, work):
    """Fill `terms` of the voxels that one axis dominates."""
    voxels, places, axes, terms, metric = (
        work.voxels,
        work.places[k],
        work.axes[k],
        work.terms,
        scene.metric,
    )
    source, first, row_step, column_step = (
        scene.vectors[k, 0], scene.vectors[k, 1], scene.vectors[k, 2], scene.vectors[k, 3],
    )  # fmt: skip
    a, b = (axis + 1) % 3, (axis + 2) % 3
    s0, sa, sb = source[axis], source[a], source[b]
    f0, fa, fb = first[axis], first[a], first[b]
    r0, ra, rb = row_step[axis], row_step[a], row_step[b]
    c0, ca, cb = column_step[axis], column_step[a], column_step[b]
    m00, maa, mbb = metric[axis, axis], metric[a, a], metric[b, b]
    m0a, m0b, mab = 2.0 * metric[axis, a], 2.0 * metric[axis, b], 2.0 * metric[a, b]
    for lane in range(LANES):
        if axes[lane] != axis:
            continue
        row, column = places[0, lane], places[1, lane]
        depth = voxels[axis, lane] - s0  # of the voxel's slab, in voxels along the axis
        to_a, to_b = voxels[a, lane] - sa, voxels[b, lane] - sb
        d0, per_depth = f0 + row * r0 + column * c0, 1.0 / depth
        terms[0, lane], terms[1, lane], terms[2, lane] = d0, r0, c0
        terms[3, lane] = depth * (fa + row * ra + column * ca) - to_a * d0
        terms[4, lane], terms[5, lane] = depth * ra - to_a * r0, depth * ca - to_a * c0
        terms[6, lane] = depth * (fb + row * rb + column * cb) - to_b * d0
        terms[7, lane], terms[8, lane] = depth * rb - to_b * r0, depth * cb - to_b * c0
        terms[9, lane], terms[10, lane] = to_a * per_depth, to_b * per_depth
        terms[11, lane] = per_depth
        terms[12, lane], terms[13, lane], terms[14, lane] = m00, maa, mbb
        terms[15, lane], terms[16, lane], terms[17, lane] = m0a, m0b, mab


@njit(inline="always")
def offs(terms, lane, down, right):
    """How far off the voxel, in voxels along either axis across, the ray of a pixel meets its slab."""
    scale = np.float32(1.0) / (terms[0, lane] + down * terms[1, lane] + right * terms[2, lane])
    return (
        scale * (terms[3, lane] + down * terms[4, lane] + right * terms[5, lane]),
        scale * (terms[6, lane] + down * terms[7, lane] + right * terms[8, lane]),
    )


@njit(inline="always")
def path_squared(terms, lane, slope_a, slope_b):
    """Squared length, mm, of the rest of a ray of these slopes in a slab."""
    path = terms[12, lane] + slope_a * (
        terms[15, lane] + terms[13, lane] * slope_a + terms[17, lane] * slope_b
    )
    return path + slope_b * (terms[16, lane] + terms[14, lane] * slope_b)


@njit(error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _plain_footprints(scene, k, terms, weights):
    """Fill `weights` with the Joseph weights, mm, of plain voxels."""
    one, zero = np.float32(1.0), np.float32(0.0)
    for i in range(scene.shape[k, 0]):
        for j in range(scene.shape[k, 1]):
            pixel, down, right = i * scene.shape[k, 1] + j, np.float32(i), np.float32(j)
            for lane in range(LANES):
                off_a, off_b = offs(terms, lane, down, right)
                slope_a = terms[9, lane] + off_a * terms[11, lane]
                slope_b = terms[10, lane] + off_b * terms[11, lane]
                tent = max(zero, one - abs(off_a)) * max(zero, one - abs(off_b))
                weights[pixel, lane] = tent * np.sqrt(path_squared(terms, lane, slope_a, slope_b))


@njit(inline="always")
def _held_tent(position, index, size):
    return max(0.0, 1.0 - abs(min(max(position, 0.0), size - 1.0) - index))


@njit(inline="always", error_model="numpy")
def _stay(position, slope, size):
    """Steps from a position at which one that grows by `slope` a step enters and leaves a volume of `size` voxels.

    Source: `ray_stay`, which this repeats for one axis without branches.
    """
    margin = 0.5 if size == 1 else 0.0
    to_first, to_last = -margin - position, size - 1.0 + margin - position
    one = to_first / slope if slope != 0.0 else to_first * np.inf if to_first != 0.0 else -np.inf
    other = to_last / slope if slope != 0.0 else to_last * np.inf if to_last != 0.0 else np.inf
    return min(one, other), max(one, other)


@njit(error_model="numpy")
def _any_footprints(scene, k, voxels, places, axes, weights):
    """Fill `weights` with the Joseph weights, mm, of any voxels: their entries in the system matrix."""
    source, first, row_step, column_step = (
        scene.vectors[k, 0], scene.vectors[k, 1], scene.vectors[k, 2], scene.vectors[k, 3],
    )  # fmt: skip
    metric, size = scene.metric, np.array(scene.size)
    weights[: scene.shape[k, 0] * scene.shape[k, 1]] = 0.0
    for axis in range(3):
        if not ((axes == axis) | (axes == MIXED)).any():
            continue
        a, b = (axis + 1) % 3, (axis + 2) % 3
        s0, sa, sb = source[axis], source[a], source[b]
        f0, fa, fb = first[axis], first[a], first[b]
        r0, ra, rb = row_step[axis], row_step[a], row_step[b]
        c0, ca, cb = column_step[axis], column_step[a], column_step[b]
        m00, maa, mbb = metric[axis, axis], metric[a, a], metric[b, b]
        m0a, m0b, mab = 2.0 * metric[axis, a], 2.0 * metric[axis, b], 2.0 * metric[a, b]
        n0, na, nb = size[axis], size[a], size[b]
        margin = 0.5 if n0 == 1 else 0.0
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
                    at, scale = voxels[axis, lane], 1.0 / d0
                    slope_a, slope_b = da * scale, db * scale
                    at_a, at_b = sa + (at - s0) * slope_a, sb + (at - s0) * slope_b
                    tent = _held_tent(at_a, voxels[a, lane], na)
                    tent *= _held_tent(at_b, voxels[b, lane], nb)
                    enter_a, leave_a = _stay(at_a, slope_a, na)
                    enter_b, leave_b = _stay(at_b, slope_b, nb)
                    enter = max(-margin, min(s0, s0 + d0)) - at
                    leave = min(n0 - 1.0 + margin, max(s0, s0 + d0)) - at
                    share = max(
                        0.0,
                        min(min(0.5, leave), min(leave_a, leave_b))
                        - max(max(-0.5, enter), max(enter_a, enter_b)),
                    )
                    path = m00 + slope_a * (m0a + maa * slope_a + mab * slope_b)
                    path = math.sqrt(path + slope_b * (m0b + mbb * slope_b))
                    weights[pixel, lane] += tent * share * path if dominant else 0.0


@njit(error_model="numpy")
def to_patches(patch, places, offsets):
    """Replace the first pixel of each footprint's rectangle by its patch; `offsets` says where in that it lies."""
    for i in range(2):
        for lane in range(LANES):
            pixel = places[i, lane]
            places[i, lane] = math.floor(pixel / patch)
            offsets[i, lane] = pixel - patch * places[i, lane]


@njit(error_model="numpy")
def _patch_maxima(scene, k, weights, offsets, cells, maxima):
    """Fill `maxima` with each footprint's maximum in each patch it can touch.

    Over columns first, then over rows. Where asked, the footprint's peak is scaled to 1.
    """
    rows, columns, parts_row, parts_column = scene.shape[k]
    patch = scene.patch
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
        locate_footprints(scene, k, work)
        plain = True
        for lane in range(count):
            plain = plain and is_plain(scene, k, lane, work)
        if plain:
            _plain_footprints(scene, k, work.terms, work.weights)
        else:
            _any_footprints(scene, k, work.voxels, work.places[k], work.axes[k], work.weights)
        to_patches(scene.patch, work.places[k], work.offsets)
        _patch_maxima(scene, k, work.weights, work.offsets, work.cells, work.maxima[k])


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
        np.zeros((views, 3, LANES)), np.zeros((views, LANES), np.int64),
        np.zeros((2, LANES), np.float32), np.zeros((18, LANES), np.float32),
        np.zeros((rows * columns, LANES), np.float32), np.zeros((max(2, rows * columns), LANES), np.float32),
        np.zeros((views, parts, LANES), np.float32), np.zeros((4, LANES)),
        np.zeros(views, np.int64), np.zeros((views, parts)), np.zeros((views, parts), np.int64),
        np.zeros(1, np.int64),
    )  # fmt: skip
