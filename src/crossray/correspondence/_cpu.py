"""Exact patch-level correspondence for CPUs.

For one voxel v the block maximum of n_k[p] * n_l[q] over two patches is the product of the block maxima, since both
factors are non-negative. So each voxel needs, per view, the few patches its footprint touches and the footprint's
maximum in each; the matrix is the maximum over voxels of the products. Three things keep that cheap and exact: voxels
of high weight go first, so that many later ones can change nothing; a footprint within one patch has the maximum 1
there; and elsewhere only the few pixels that can hold the maximum are looked at.
"""

import math

import numpy as np
from numba import njit, prange

from crossray.projection._cpu import dominant_axis, ray_length, ray_stay, slab_share


@njit(inline="always")
def _held_tent(position, index, size):
    return max(0.0, 1.0 - abs(min(max(position, 0.0), size - 1.0) - index))


@njit
def _border_weight(vectors, k, metric, size, voxel, row, column):
    """Joseph weight of any voxel in the ray of a pixel, mm: its entry in the system matrix."""
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
    return weight * ray_length(metric, dx, dy, dz) / abs(d[axis])


@njit(inline="always")
def _locate(matrices, half, k, x, y, z, patch, grid, near, span):
    """Where view k sees the voxel; False if it lies behind the source or beside the detector.

    Fills `near` with the footprint's centre and whether it is certainly hit, and `span` with the patches (inclusive)
    it can touch.
    """
    depth = (
        matrices[k, 2, 0] * x + matrices[k, 2, 1] * y + matrices[k, 2, 2] * z + matrices[k, 2, 3]
    )
    if depth <= half[k, 2]:
        return False
    scale, per_patch = 1.0 / depth, 1.0 / patch
    near[k, 2], near[k, 3] = depth + half[k, 2], depth
    for i in range(2):
        center = (
            matrices[k, i, 0] * x
            + matrices[k, i, 1] * y
            + matrices[k, i, 2] * z
            + matrices[k, i, 3]
        )
        center *= scale
        near[k, i] = center
        low = int(math.floor((center - half[k, i]) * per_patch))
        high = int(math.floor((center + half[k, i]) * per_patch))
        span[k, 2 * i], span[k, 2 * i + 1] = low, high
        if high < 0 or low >= grid[i]:
            return False
    return True


@njit(inline="always")
def _plain(k, border, near):
    """True if every ray that sees the voxel crosses its whole slab: off the volume's border, before the detector."""
    return not border and near[k, 2] < 1.0


@njit(inline="always")
def _within_one_patch(k, grid, slack, span):
    """True if some pixel sees a plain voxel, and every pixel that does lies in one patch of the detector."""
    alone = span[k, 0] == span[k, 1] and span[k, 2] == span[k, 3]
    rows = 0 <= span[k, 0] < grid[0]
    return alone and rows and 0 <= span[k, 2] < grid[1] and slack[k] > 0.0


@njit(inline="always")
def _rays_around(vectors, half, k, x, y, z, depth):
    """The rays near a voxel, relative to the ray through its centre.

    With u from source to voxel and m its dominant axis, the ray of a pixel (dr, dc) rows and columns from the
    footprint's centre runs along U = u + dr * r + dc * c, where r = depth * row_step and c = depth * column_step, and
    passes the voxel's slab off its centre by a = (dr * a_row + dc * a_column) / (1 + dr * e_row + dc * e_column),
    likewise b.

    Returns:
        Whether all of them have the dominant axis m; (a_row, a_column, b_row, b_column, e_row, e_column);
        (u, r, c, u_m).
    """
    u = (x - vectors[k, 0, 0], y - vectors[k, 0, 1], z - vectors[k, 0, 2])
    r = (depth * vectors[k, 2, 0], depth * vectors[k, 2, 1], depth * vectors[k, 2, 2])
    c = (depth * vectors[k, 3, 0], depth * vectors[k, 3, 1], depth * vectors[k, 3, 2])
    m = dominant_axis(u[0], u[1], u[2])
    i, j = (m + 1) % 3, (m + 2) % 3
    e_row, e_column = r[m] / u[m], c[m] / u[m]
    least = abs(u[m]) - half[k, 0] * abs(r[m]) - half[k, 1] * abs(c[m])
    most_i = abs(u[i]) + half[k, 0] * abs(r[i]) + half[k, 1] * abs(c[i])
    most_j = abs(u[j]) + half[k, 0] * abs(r[j]) + half[k, 1] * abs(c[j])
    slopes = (
        r[i] - e_row * u[i], c[i] - e_column * u[i], r[j] - e_row * u[j], c[j] - e_column * u[j], e_row, e_column,
    )  # fmt: skip
    return least > max(most_i, most_j), slopes, (u, r, c, abs(u[m]))


@njit(inline="always")
def _tent(slopes, dr, dc):
    """Bilinear weight of the voxel in the ray of a pixel, and the growth of U_m over u_m."""
    grown = 1.0 + dr * slopes[4] + dc * slopes[5]
    scale = 1.0 / grown
    a, b = (dr * slopes[0] + dc * slopes[1]) * scale, (dr * slopes[2] + dc * slopes[3]) * scale
    return max(0.0, 1.0 - abs(a)) * max(0.0, 1.0 - abs(b)), grown


@njit(inline="always")
def _path(metric, frame, dr, dc, grown):
    """Path per slab of the ray of a pixel, mm."""
    u, r, c, largest = frame
    length = ray_length(
        metric, u[0] + dr * r[0] + dc * c[0], u[1] + dr * r[1] + dc * c[1], u[2] + dr * r[2] + dc * c[2]
    )  # fmt: skip
    return length / (largest * grown)


@njit(inline="always")
def _held(index, low, high):
    """The whole number in [low, high] nearest to an index."""
    return min(max(index, low), high)


@njit(inline="always")
def _largest_weight(
    metric, slopes, frame, half_row, half_column, slack, center_row, center_column, top, bottom, left, right
):  # fmt: skip
    """The footprint's maximum over a rectangle of pixels, mm.

    A pixel delta rows from the centre sees the voxel at least delta / half voxels off along an axis, so its tent is at
    most 1 - delta / half, and no path within the footprint is longer than another by more than the factor `slack`. So
    only pixels about as near to the centre as the nearest one of the rectangle can exceed that.
    """
    dr = _held(int(math.floor(center_row + 0.5)), top, bottom) - center_row
    dc = _held(int(math.floor(center_column + 0.5)), left, right) - center_column
    tent, grown = _tent(slopes, dr, dc)
    path = slack * _path(metric, frame, dr, dc, grown)
    largest, reach = tent * path / slack, 1.0 - tent / slack
    first_row = max(top, int(math.ceil(center_row - reach * half_row)))
    last_row = min(bottom, int(math.floor(center_row + reach * half_row)))
    first_column = max(left, int(math.ceil(center_column - reach * half_column)))
    last_column = min(right, int(math.floor(center_column + reach * half_column)))
    for r in range(first_row, last_row + 1):
        for c in range(first_column, last_column + 1):
            dr, dc = r - center_row, c - center_column
            tent, grown = _tent(slopes, dr, dc)
            if tent * path > largest:
                largest = max(largest, tent * _path(metric, frame, dr, dc, grown))
    return largest


@njit
def _largest_border_weight(vectors, k, metric, size, x, y, z, region):
    """The same where the tent is cut or held at the volume's border, or its rays differ in their dominant axis."""
    largest = 0.0
    for r in range(region[0], region[1] + 1):
        for c in range(region[2], region[3] + 1):
            largest = max(largest, _border_weight(vectors, k, metric, size, (x, y, z), r, c))
    return largest


@njit(inline="always")
def _patch_maxima(
    vectors, half, k, metric, size, x, y, z, border, patch, slack, normalise, near, span, maxima
):
    """Fill `maxima` with the footprint's maximum in each patch of the span; False if no ray sees the voxel."""
    first_row, last_row = (
        int(math.ceil(near[k, 0] - half[k, 0])),
        int(math.floor(near[k, 0] + half[k, 0])),
    )
    first_column, last_column = (
        int(math.ceil(near[k, 1] - half[k, 1])),
        int(math.floor(near[k, 1] + half[k, 1])),
    )
    same_axis, slopes, frame = _rays_around(vectors, half, k, x, y, z, near[k, 3])
    plain = same_axis and _plain(k, border, near)
    peak = 0.0
    at = 0
    for patch_row in range(span[k, 0], span[k, 1] + 1):
        top, bottom = (
            max(first_row, patch_row * patch),
            min(last_row, patch_row * patch + patch - 1),
        )
        for patch_column in range(span[k, 2], span[k, 3] + 1):
            left, right = (
                max(first_column, patch_column * patch),
                min(last_column, patch_column * patch + patch - 1),
            )
            largest = 0.0
            if top <= bottom and left <= right:
                if plain:
                    largest = _largest_weight(
                        metric, slopes, frame, half[k, 0], half[k, 1], slack, near[k, 0], near[k, 1],
                        top, bottom, left, right,
                    )  # fmt: skip
                else:
                    region = (top, bottom, left, right)
                    largest = _largest_border_weight(vectors, k, metric, size, x, y, z, region)
            maxima[k, at] = largest
            peak = max(peak, largest)
            at += 1
    if peak > 0.0 and normalise:
        for i in range(at):
            maxima[k, i] /= peak
    return peak > 0.0


@njit(inline="always")
def _raise_products(out, k, m, weight, grid, span, maxima):
    """out[k, m, p, q] = max(out[k, m, p, q], weight * n_k[p] * n_m[q]) over the touched patches."""
    columns = grid[1]
    first = (k * len(span) + m) * grid[0] * columns
    wide_k, wide_m = span[k, 3] - span[k, 2] + 1, span[m, 3] - span[m, 2] + 1
    for row_k in range(max(0, span[k, 0]), min(grid[0] - 1, span[k, 1]) + 1):
        for column_k in range(max(0, span[k, 2]), min(columns - 1, span[k, 3]) + 1):
            scaled = weight * maxima[k, (row_k - span[k, 0]) * wide_k + column_k - span[k, 2]]
            line = (first + row_k * columns + column_k) * grid[0] * columns
            for row_m in range(max(0, span[m, 0]), min(grid[0] - 1, span[m, 1]) + 1):
                for column_m in range(max(0, span[m, 2]), min(columns - 1, span[m, 3]) + 1):
                    value = np.float32(
                        scaled * maxima[m, (row_m - span[m, 0]) * wide_m + column_m - span[m, 2]]
                    )
                    at = line + row_m * columns + column_m
                    if value > out[at]:
                        out[at] = value


@njit(inline="always")
def _settled(out, k, m, weight, grid, span):
    """True if no entry of the touched patches lies below the weight, so that the voxel cannot raise any."""
    columns = grid[1]
    first = (k * len(span) + m) * grid[0] * columns
    for row_k in range(max(0, span[k, 0]), min(grid[0] - 1, span[k, 1]) + 1):
        for column_k in range(max(0, span[k, 2]), min(columns - 1, span[k, 3]) + 1):
            line = (first + row_k * columns + column_k) * grid[0] * columns
            for row_m in range(max(0, span[m, 0]), min(grid[0] - 1, span[m, 1]) + 1):
                for column_m in range(max(0, span[m, 2]), min(columns - 1, span[m, 3]) + 1):
                    if out[line + row_m * columns + column_m] < weight:
                        return False
    return True


@njit(inline="always")
def _add_voxel(
    out, weight, size, x, y, z, vectors, metric, matrices, half, slack, grid, patch, options, near, span, maxima
):  # fmt: skip
    """Raise the matrices of all pairs of views by one voxel; `options` = (normalise, first other view)."""
    views = len(vectors)
    normalise, skip = options
    border = x < 2 or y < 2 or z < 2 or x > size[0] - 3 or y > size[1] - 3 or z > size[2] - 3
    seen = np.int64(0)
    for k in range(views):
        if _locate(matrices, half, k, x, y, z, patch, grid, near, span):
            seen |= np.int64(1) << k
    if normalise:
        settled = True
        for k in range(views):
            for m in range(k + skip, views):
                if settled and (seen >> k) & 1 and (seen >> m) & 1:
                    settled = _settled(out, k, m, weight, grid, span)
        if settled:
            return
    for k in range(views):
        if (seen >> k) & 1:
            if normalise and _plain(k, border, near) and _within_one_patch(k, grid, slack, span):
                maxima[k, 0] = 1.0
            elif not _patch_maxima(
                vectors, half, k, metric, size, x, y, z, border, patch, abs(slack[k]), normalise, near, span, maxima
            ):  # fmt: skip
                seen &= ~(np.int64(1) << k)
    for k in range(views):
        for m in range(k + skip, views):
            if (seen >> k) & 1 and (seen >> m) & 1:
                _raise_products(out, k, m, weight, grid, span, maxima)


@njit
def _add_slices(
    out, worker, workers, values, logistic, vectors, metric, matrices, half, slack, grid, patch, options, touched
):  # fmt: skip
    """Raise one thread's matrices (flattened) by every slice that is its own."""
    nz, ny, nx = values.shape
    size, views = (nx, ny, nz), len(vectors)
    midpoint, slope, lowest, split = logistic
    span = np.zeros((views, 4), np.int64)
    near, maxima = np.zeros((views, 4)), np.zeros((views, touched))
    for phase in range(2):
        low, high = (split, np.inf) if phase == 0 else (lowest, split)
        for z in range(worker, nz, workers):
            for y in range(ny):
                for x in range(nx):
                    value = values[z, y, x]
                    if low <= value < high:
                        weight = (
                            value
                            if slope == 0.0
                            else 1.0 / (1.0 + math.exp(slope * (midpoint - value)))
                        )
                        if weight > 0.0:
                            _add_voxel(
                                out, weight, size, x, y, z, vectors, metric, matrices, half, slack, grid, patch,
                                options, near, span, maxima,
                            )  # fmt: skip


@njit(parallel=True, cache=True)
def correspondence_kernel(
    values, logistic, vectors, metric, matrices, half, slack, grid, patch, options, touched, workers
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
        slack: Per view, bound of the ratio of two path lengths within a footprint; its sign is negative where pixels
            lie so far apart that some footprint may fall between them.
        grid: Rows and columns of patches.
        patch: Side of a patch in pixels.
        options: (normalise, 0 or 1): scale each footprint to a peak of 1; 1 leaves out each view with itself.
        touched: Upper bound of the number of patches a footprint touches.
        workers: Number of threads to share the voxels among.
    """
    views, patches = len(vectors), grid[0] * grid[1]
    # One copy a thread: maxima commute, so the result does not depend on how voxels are shared out.
    partial = np.zeros((workers, views, views, patches, patches), np.float32)
    for worker in prange(workers):
        _add_slices(
            partial[worker].reshape(-1), worker, workers, values, logistic, vectors, metric, matrices, half, slack,
            grid, patch, options, touched,
        )  # fmt: skip
    result = partial[0]
    for worker in range(1, workers):
        result = np.maximum(result, partial[worker])
    return result
