"""Bounds of footprints' maxima in patches, for CPUs: a tenth of the work of the footprints themselves."""

import numpy as np
from numba import njit

from crossray.correspondence._cpu_footprints import (
    LANES,
    is_inner,
    is_plain,
    locate_footprints,
    offs,
    path_squared,
    to_patches,
)

ROUNDING = np.float32(1e-5)
"""More than single precision leaves of a fraction between two voxels."""


@njit(error_model="numpy")
def _bound_scales(terms, near, scales):
    """Fill `scales` with what turns a bound of a tent into one of a footprint of peak 1.

    The peak is at least that of those of the four pixels about the voxel's centre which lie `near` it, in voxels. Path
    lengths differ within a footprint by little: its slopes by 1 / depth either way.
    """
    one, zero = np.float32(1.0), np.float32(0.0)
    for lane in range(LANES):
        t3, t4, t5 = terms[3, lane], terms[4, lane], terms[5, lane]
        t6, t7, t8 = terms[6, lane], terms[7, lane], terms[8, lane]
        per_determinant = one / (t4 * t8 - t5 * t7)
        down = np.floor((t5 * t6 - t3 * t8) * per_determinant)
        right = np.floor((t3 * t7 - t4 * t6) * per_determinant)
        peak = zero
        for i in range(2):
            for j in range(2):
                off_a, off_b = offs(terms, lane, down + np.float32(i), right + np.float32(j))
                tent = max(zero, one - abs(off_a)) * max(zero, one - abs(off_b))
                peak = max(peak, tent if max(abs(off_a), abs(off_b)) < near[lane] else zero)
        path = np.sqrt(path_squared(terms, lane, terms[9, lane], terms[10, lane]))
        vary = abs(terms[11, lane]) * (np.sqrt(terms[13, lane]) + np.sqrt(terms[14, lane])) / path
        scales[lane] = (one + vary) / ((one - vary) * peak)


@njit(error_model="numpy")
def _bound_maxima(scene, k, terms, offsets, scales, bounds):
    """Fill `bounds` with a bound of each footprint's maximum in each patch it can touch.

    Both fractions of a ray off the voxel are quotients of terms linear in row and column, so over a rectangle of pixels
    they are extreme at its corners.
    """
    rows, columns, parts_row, parts_column = scene.shape[k]
    patch = scene.patch
    one, zero = np.float32(1.0), np.float32(0.0)
    last_row, last_column = np.float32(rows - 1), np.float32(columns - 1)
    for part_row in range(parts_row):
        for part_column in range(parts_column):
            at = part_row * parts_column + part_column
            begin_row, begin_column = np.float32(part_row * patch), np.float32(part_column * patch)
            side = np.float32(patch - 1)
            for lane in range(LANES):
                top = begin_row - offsets[0, lane]
                left = begin_column - offsets[1, lane]
                bottom, right = min(top + side, last_row), min(left + side, last_column)
                top, left = max(top, zero), max(left, zero)
                a0, b0 = offs(terms, lane, top, left)
                a1, b1 = offs(terms, lane, top, right)
                a2, b2 = offs(terms, lane, bottom, left)
                a3, b3 = offs(terms, lane, bottom, right)
                off_a = max(min(min(a0, a1), min(a2, a3)), -max(max(a0, a1), max(a2, a3)))
                off_b = max(min(min(b0, b1), min(b2, b3)), -max(max(b0, b1), max(b2, b3)))
                tent = min(one, max(zero, one + ROUNDING - off_a)) * min(
                    one, max(zero, one + ROUNDING - off_b)
                )
                bound = min(one, tent * scales[lane])
                bounds[at, lane] = bound if (top <= bottom) & (left <= right) else zero


@njit
def bound_footprints(scene, work, count):
    """Find where each view sees the first `count` voxels of `work` and how strongly, at most, each patch does.

    As `measure_footprints` for footprints of peak 1, and never below its maxima.
    """
    scales, near = work.cells[0], work.cells[1]
    for k in range(len(scene.vectors)):
        locate_footprints(scene, k, work)
        to_patches(scene.patch, work.places[k], work.offsets)
        # No ray within half a voxel of a face's neighbour leaves the volume in its slab.
        for lane in range(count):
            near[lane] = 1.0 if is_plain(scene, k, lane, work) else 0.5
        _bound_scales(work.terms, near, scales)
        _bound_maxima(scene, k, work.terms, work.offsets, scales, work.maxima[k])
        for lane in range(count):
            if not is_inner(scene, k, lane, work, 1) or not 0.0 < scales[lane] < np.inf:
                work.maxima[k, :, lane] = 1.0
