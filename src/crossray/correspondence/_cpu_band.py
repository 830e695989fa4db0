"""What one pixel matches, for CPUs: only the voxels along its ray take part."""

import math

import numpy as np
from numba import njit

from crossray.correspondence._cpu_footprints import (
    LANES,
    list_patches,
    make_scene,
    make_work,
    measure_footprints,
)
from crossray.projection._cpu import dominant_axis, ray_stay


@njit(cache=True)
def voxels_along_kernel(size, vectors, view, row, column):
    """Voxels (n, (x, y, z)) whose tent the ray of a pixel may touch: four a slab.

    Args:
        size: Voxels along x, y and z.
        vectors: Of the `RayTable`.
        view: Whose pixel.
        row: Of the pixel.
        column: Of the pixel.
    """
    source = vectors[view, 0]
    d = vectors[view, 1] + row * vectors[view, 2] + column * vectors[view, 3]
    axis = dominant_axis(d[0], d[1], d[2])
    a_axis, b_axis = (axis + 1) % 3, (axis + 2) % 3
    low, high, a0, da, b0, db = ray_stay(
        size, axis, (source[0], source[1], source[2]), (d[0], d[1], d[2])
    )
    first, last = (
        max(0, int(math.floor(low + 0.5))),
        min(size[axis] - 1, int(math.floor(high + 0.5))),
    )
    voxels = np.empty((4 * max(0, last - first + 1), 3), np.int64)
    n = 0
    for i in range(first, last + 1 if low < high else first):
        a, b = int(math.floor(a0 + i * da)), int(math.floor(b0 + i * db))
        for j in range(max(0, a), min(size[a_axis] - 1, a + 1) + 1):
            for k in range(max(0, b), min(size[b_axis] - 1, b + 1) + 1):
                voxels[n, axis], voxels[n, a_axis], voxels[n, b_axis] = i, j, k
                n += 1
    return voxels[:n]


@njit(cache=True)
def band_kernel(
    voxels, weights, size, vectors, metric, matrices, half, pixels, view, pixel, normalise
):
    """Row (view, pixel) of the pixel-level matrix: its entry with every pixel of every view.

    Args:
        voxels: (n, (x, y, z)); those that the pixel's ray touches suffice.
        weights: Of the voxels; squared where footprints are not scaled.
        size: Voxels along x, y and z.
        vectors: Of the `RayTable`.
        metric: Of the `RayTable`.
        matrices: As for `correspondence_kernel`.
        half: As for `correspondence_kernel`.
        pixels: Rows and columns of the detector.
        view: Whose pixel.
        pixel: Row times columns plus column.
        normalise: Scale each footprint to a peak of 1.
    """
    scene = make_scene(size, vectors, metric, matrices, half, pixels, 1, (normalise, 0))
    work = make_work(scene)
    views = len(vectors)
    out = np.zeros((views, pixels[0] * pixels[1]), np.float32)
    for start in range(0, len(voxels), LANES):
        count = min(LANES, len(voxels) - start)
        for lane in range(LANES):  # lanes to spare repeat the last voxel
            work.voxels[:3, lane] = voxels[start + min(lane, count - 1)]
        measure_footprints(scene, work, count)
        for lane in range(count):
            for k in range(views):
                list_patches(scene, k, lane, work)
            own = 0.0
            for i in range(work.touched[view]):
                if work.patches[view, i] == pixel:
                    own = weights[start + lane] * work.values[view, i]
            if own > 0.0:
                for k in range(views):
                    for i in range(work.touched[k]):
                        at = work.patches[k, i]
                        out[k, at] = max(out[k, at], np.float32(own * work.values[k, i]))
    return out.reshape(views, *pixels)
