"""Exact patch-level correspondence for CPUs.

For one voxel v the block maximum of n_k[p] * n_l[q] over two patches is the product of the block maxima, since both
factors are non-negative. So each voxel needs, per view, the few patches its footprint touches and the footprint's
maximum in each; the matrix is the maximum over voxels of the products. Three things keep that cheap and exact: voxels
of high weight go first, so that many later ones can change nothing; a footprint within one patch has the maximum 1
there; and elsewhere an upper bound without roots and divisions tells which few voxels are worth an exact evaluation.
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
def _locate(matrices, lines, half, k, x, patch, grid, near, span):
    """Where view k sees the voxel; False if it lies behind the source or beside the detector.

    Fills `near` with the footprint's centre and whether it is certainly hit, and `span` with the patches (inclusive)
    it can touch.
    """
    depth = matrices[k, 2, 0] * x + lines[k, 2]
    if depth <= half[k, 2]:
        return False
    scale, per_patch = 1.0 / depth, 1.0 / patch
    near[k, 2], near[k, 3] = depth + half[k, 2], depth
    for i in range(2):
        center = (matrices[k, i, 0] * x + lines[k, i]) * scale
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
    footprint's centre runs along U = u + dr * r + dc * c, where r = depth * row_step and c = depth * column_step. With
    U_m = u_m * grown, it passes the voxel's slab off its centre by a / grown and b / grown, and all three of
    grown - 1, a and b are linear in dr and dc.

    Returns:
        Whether all of them have the dominant axis m; the coefficients of dr and dc in grown, a and b; (u, r, c).
    """
    u = (x - vectors[k, 0, 0], y - vectors[k, 0, 1], z - vectors[k, 0, 2])
    r = (depth * vectors[k, 2, 0], depth * vectors[k, 2, 1], depth * vectors[k, 2, 2])
    c = (depth * vectors[k, 3, 0], depth * vectors[k, 3, 1], depth * vectors[k, 3, 2])
    m = dominant_axis(u[0], u[1], u[2])
    i, j = (m + 1) % 3, (m + 2) % 3
    inverse = 1.0 / u[m]
    grown = (r[m] * inverse, c[m] * inverse)
    a = (r[i] - grown[0] * u[i], c[i] - grown[1] * u[i])
    b = (r[j] - grown[0] * u[j], c[j] - grown[1] * u[j])
    least = abs(u[m]) - half[k, 0] * abs(r[m]) - half[k, 1] * abs(c[m])
    most_i = abs(u[i]) + half[k, 0] * abs(r[i]) + half[k, 1] * abs(c[i])
    most_j = abs(u[j]) + half[k, 0] * abs(r[j]) + half[k, 1] * abs(c[j])
    return least > max(most_i, most_j), grown, a, b, (u, r, c, inverse)


@njit(inline="always")
def _largest_tent(grown, a, b, center_row, center_column, top, bottom, left, right):
    """The largest tent * grown^2 over a rectangle of pixels: the footprint's maximum but for the paths."""
    largest = 0.0
    for row in range(top, bottom + 1):
        dr = row - center_row
        grown_row, a_row, b_row = 1.0 + dr * grown[0], dr * a[0], dr * b[0]
        for column in range(left, right + 1):
            dc = column - center_column
            wide = grown_row + dc * grown[1]
            tent_a = max(0.0, wide - abs(a_row + dc * a[1]))
            tent_b = max(0.0, wide - abs(b_row + dc * b[1]))
            largest = max(largest, tent_a * tent_b)
    return largest


@njit(inline="always")
def _largest_weight(
    metric, grown, a, b, frame, center_row, center_column, top, bottom, left, right
):
    """The footprint's maximum over a rectangle of pixels, mm."""
    u, r, c, inverse = frame
    largest = 0.0
    for row in range(top, bottom + 1):
        dr = row - center_row
        for column in range(left, right + 1):
            dc = column - center_column
            scale = 1.0 / (1.0 + dr * grown[0] + dc * grown[1])
            tent = max(0.0, 1.0 - abs(dr * a[0] + dc * a[1]) * scale)
            tent *= max(0.0, 1.0 - abs(dr * b[0] + dc * b[1]) * scale)
            if tent > 0.0:
                length = ray_length(
                    metric, u[0] + dr * r[0] + dc * c[0], u[1] + dr * r[1] + dc * c[1], u[2] + dr * r[2] + dc * c[2]
                )  # fmt: skip
                largest = max(largest, tent * length * scale * abs(inverse))
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
    vectors, half, k, metric, size, x, y, z, border, patch, slack, normalise, exact, near, span, maxima
):  # fmt: skip
    """Fill `maxima` with the footprint's maximum in each patch of the span, or, unless `exact`, with an upper bound.

    False if no ray sees the voxel.
    """
    first_row, last_row = (
        int(math.ceil(near[k, 0] - half[k, 0])),
        int(math.floor(near[k, 0] + half[k, 0])),
    )
    first_column, last_column = (
        int(math.ceil(near[k, 1] - half[k, 1])),
        int(math.floor(near[k, 1] + half[k, 1])),
    )
    same_axis, grown, a, b, frame = _rays_around(vectors, half, k, x, y, z, near[k, 3])
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
                if plain and exact:
                    largest = _largest_weight(
                        metric, grown, a, b, frame, near[k, 0], near[k, 1], top, bottom, left, right
                    )
                elif plain:
                    largest = _largest_tent(
                        grown, a, b, near[k, 0], near[k, 1], top, bottom, left, right
                    )
                else:
                    region = (top, bottom, left, right)
                    largest = _largest_border_weight(vectors, k, metric, size, x, y, z, region)
            maxima[k, at] = largest
            peak = max(peak, largest)
            at += 1
    if peak > 0.0 and normalise:
        scale = (1.0 if exact or not plain else slack) / peak
        for i in range(at):
            maxima[k, i] = min(1.0, maxima[k, i] * scale)
    return peak > 0.0


@njit(inline="always")
def _raise_products(out, k, m, weight, grid, span, maxima, write):
    """out[k, m, p, q] = max(out[k, m, p, q], weight * n_k[p] * n_m[q]) over the touched patches.

    Returns whether that raises any; unless `write`, that is all, at the first one.
    """
    raised = False
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
                        raised = True
                        if not write:
                            return True
                        out[at] = value
    return raised


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
    out, weight, size, x, y, z, vectors, metric, matrices, lines, half, slack, grid, patch, options, near, span, maxima
):  # fmt: skip
    """Raise the matrices of all pairs of views by one voxel; `options` = (normalise, first other view)."""
    views = len(vectors)
    normalise, skip = options
    border = x < 2 or y < 2 or z < 2 or x > size[0] - 3 or y > size[1] - 3 or z > size[2] - 3
    seen = np.int64(0)
    for k in range(views):
        if _locate(matrices, lines, half, k, x, patch, grid, near, span):
            seen |= np.int64(1) << k
    if normalise:
        settled = True
        for k in range(views):
            for m in range(k + skip, views):
                if settled and (seen >> k) & (seen >> m) & 1:
                    settled = _settled(out, k, m, weight, grid, span)
        if settled:
            return
    for exact in (False, True):
        if not exact and not normalise:
            continue
        for k in range(views):
            if (seen >> k) & 1:
                if (
                    normalise
                    and _plain(k, border, near)
                    and _within_one_patch(k, grid, slack, span)
                ):
                    maxima[k, 0] = 1.0
                elif not _patch_maxima(
                    vectors, half, k, metric, size, x, y, z, border, patch, abs(slack[k]), normalise, exact,
                    near, span, maxima,
                ):  # fmt: skip
                    seen &= ~(np.int64(1) << k)
        raised = False
        for k in range(views):
            for m in range(k + skip, views):
                if (seen >> k) & (seen >> m) & 1 and (exact or not raised):
                    raised |= _raise_products(out, k, m, weight, grid, span, maxima, exact)
        if not raised:
            return


@njit
def _add_slices(
    out, worker, workers, values, logistic, vectors, metric, matrices, half, slack, grid, patch, options, touched
):  # fmt: skip
    """Raise one thread's matrices (flattened) by every slice that is its own."""
    nz, ny, nx = values.shape
    size, views = (nx, ny, nz), len(vectors)
    midpoint, slope, lowest, split = logistic
    span = np.zeros((views, 4), np.int64)
    near, maxima, lines = np.zeros((views, 4)), np.zeros((views, touched)), np.zeros((views, 3))
    stretch = np.zeros((nz, ny, 2), np.int64)  # of each row that is not air
    for phase in range(2):
        low, high = (split, np.inf) if phase == 0 else (lowest, split)
        for z in range(worker, nz, workers):
            for y in range(ny):
                if phase == 0:
                    first, last = nx, 0
                    for x in range(nx):
                        if values[z, y, x] >= lowest:
                            first, last = min(first, x), x + 1
                    stretch[z, y, 0], stretch[z, y, 1] = first, last
                if stretch[z, y, 0] >= stretch[z, y, 1]:
                    continue
                for k in range(views):
                    for i in range(3):
                        lines[k, i] = (
                            matrices[k, i, 1] * y + matrices[k, i, 2] * z + matrices[k, i, 3]
                        )
                for x in range(stretch[z, y, 0], stretch[z, y, 1]):
                    value = values[z, y, x]
                    if low <= value < high:
                        weight = (
                            value
                            if slope == 0.0
                            else 1.0 / (1.0 + math.exp(slope * (midpoint - value)))
                        )
                        if weight > 0.0:
                            _add_voxel(
                                out, weight, size, x, y, z, vectors, metric, matrices, lines, half, slack, grid,
                                patch, options, near, span, maxima,
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
        slack: Per view, bound of the ratio of path / grown^2 of two rays within a footprint; its sign is negative where
            pixels lie so far apart that some footprint may fall between them.
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
