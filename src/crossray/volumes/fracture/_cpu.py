"""Where the voxels of a broken volume come from: passes over a box of it, for CPUs."""

import numpy as np
from numba import njit, prange


@njit(cache=True, inline="always")
def _at(values, x, y, z, beyond):
    """A value at a fractional index, linear between voxels; outside the nearest voxel, or 0 where `beyond`."""
    nz, ny, nx = values.shape
    if beyond and (min(x, y, z) < -0.5 or x > nx - 0.5 or y > ny - 0.5 or z > nz - 0.5):
        return np.float32(0.0)
    x = min(max(x, np.float32(0.0)), np.float32(nx - 1))
    y = min(max(y, np.float32(0.0)), np.float32(ny - 1))
    z = min(max(z, np.float32(0.0)), np.float32(nz - 1))
    i, j, k = min(int(x), max(nx - 2, 0)), min(int(y), max(ny - 2, 0)), min(int(z), max(nz - 2, 0))
    a, b, c = min(i + 1, nx - 1), min(j + 1, ny - 1), min(k + 1, nz - 1)
    x, y, z = x - np.float32(i), y - np.float32(j), z - np.float32(k)
    low = (values[k, j, i] * (1 - x) + values[k, j, a] * x) * (1 - y) + (
        values[k, b, i] * (1 - x) + values[k, b, a] * x
    ) * y
    high = (values[c, j, i] * (1 - x) + values[c, j, a] * x) * (1 - y) + (
        values[c, b, i] * (1 - x) + values[c, b, a] * x
    ) * y
    return low * (1 - z) + high * z


@njit(cache=True, inline="always")
def _mapped(affine, x, y, z):
    return (
        affine[0, 0] * x + affine[0, 1] * y + affine[0, 2] * z + affine[0, 3],
        affine[1, 0] * x + affine[1, 1] * y + affine[1, 2] * z + affine[1, 3],
        affine[2, 0] * x + affine[2, 1] * y + affine[2, 2] * z + affine[2, 3],
    )


@njit(cache=True, inline="always")
def _smooth_step(x):
    x = min(max(x, np.float32(0.0)), np.float32(1.0))
    return x * x * (3 - 2 * x)


@njit(cache=True, inline="always")
def _source(back, form, u, v, t):
    """Where what is found at a local point was before: see `pieces.Motion`."""
    fade, bend, bulge, width = form[0], form[1], form[2], form[3]
    a, b, c = _mapped(back, u, v, t)
    follow = np.float32(1.0)
    if fade > 0:
        follow -= _smooth_step(t / fade)
    if bend > 0:
        follow *= _smooth_step(t / (2 * bend) + np.float32(0.5))
    u, v, t = u + follow * (a - u), v + follow * (b - v), t + follow * (c - t)
    if bulge > 0:
        lobe = max(u, np.float32(0.0)) / max(np.sqrt(u * u + v * v), np.float32(1e-3))
        wider = 1 + bulge * lobe * np.exp(-((t / width) ** 2))
        u, v = u / wider, v / wider
    return u, v, t


@njit(parallel=True, cache=True)
def gather_kernel(box, affines, form, mask, first, native):
    """Where the bone at the voxels of a box came from, its share there, and the HU measured there.

    Args:
        box: First voxel and one past the last, (z, y, x).
        affines: From voxel to local mm, from there to where it was, and from local mm to the indices of `native` and of
            the grid; (4, 3, 4) float32.
        form: Fade, bend, bulge and the bulge's half width, float32.
        mask: The bone's share of each voxel of its own box.
        first: That box's first voxel (x, y, z).
        native: HU as measured.

    Returns:
        Local points (z, y, x, 3), shares (z, y, x), and HU where the share is more than 0.
    """
    nz, ny, nx = box[3] - box[0], box[4] - box[1], box[5] - box[2]
    came = np.empty((nz, ny, nx, 3), np.float32)
    share, hu = np.empty((nz, ny, nx), np.float32), np.empty((nz, ny, nx), np.float32)
    local, back, measured, own = affines[0], affines[1], affines[2], affines[3]
    for k in prange(nz):
        for j in range(ny):
            for i in range(nx):
                u, v, t = _mapped(
                    local, np.float32(i + box[2]), np.float32(j + box[1]), np.float32(k + box[0])
                )
                u, v, t = _source(back, form, u, v, t)
                x, y, z = _mapped(own, u, v, t)
                held = _at(mask, x - first[0], y - first[1], z - first[2], True)
                share[k, j, i] = held
                if held > 0:
                    x, y, z = _mapped(measured, u, v, t)
                    hu[k, j, i] = _at(native, x, y, z, False)
                    came[k, j, i, 0], came[k, j, i, 1], came[k, j, i, 2] = u, v, t
    return came, share, hu


@njit(parallel=True, cache=True)
def carry_kernel(values, intact, bone, mask, first, native, affines, form, blood):
    """Move all but the bone along with a fragment; the lowest and highest voxel (z, y, x) that moved, a slice.

    Args:
        values: HU, changed in place.
        intact: HU before the break.
        bone: Excess of the bone over soft tissue in its box.
        mask: As for `gather_kernel`.
        first: The same.
        native: The same.
        affines: The same.
        form: The same.
        blood: HU that bone is counted from.
    """
    nz, ny, nx = values.shape
    local, back, measured, own = affines[0], affines[1], affines[2], affines[3]
    found = np.empty((nz, 4), np.int64)
    for k in prange(nz):
        low_y, high_y, low_x, high_x = ny, -1, nx, -1
        for j in range(ny):
            for i in range(nx):
                u, v, t = _mapped(local, np.float32(i), np.float32(j), np.float32(k))
                if t <= -form[1]:
                    continue
                u, v, t = _source(back, form, u, v, t)
                x, y, z = _mapped(measured, u, v, t)
                came = _at(native, x, y, z, False)
                if came > blood:
                    x, y, z = _mapped(own, u, v, t)
                    share = _at(mask, x - first[0], y - first[1], z - first[2], True)
                    came -= share * (came - blood)
                soft = intact[k, j, i]
                p, q, r = i - first[0], j - first[1], k - first[2]
                if 0 <= r < bone.shape[0] and 0 <= q < bone.shape[1] and 0 <= p < bone.shape[2]:
                    soft -= bone[r, q, p]
                values[k, j, i] += came - soft
                low_y, high_y = min(low_y, j), max(high_y, j)
                low_x, high_x = min(low_x, i), max(high_x, i)
        found[k] = low_y, high_y, low_x, high_x
    return found
