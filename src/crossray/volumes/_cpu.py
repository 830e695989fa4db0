"""Passes over a whole volume, for CPUs: as fast as memory."""

import numpy as np
from numba import njit, prange


@njit(parallel=True, cache=True)
def attenuation_kernel(hu, thin, mixed, dense, bone_hu):
    """The three straight pieces of `attenuation.attenuation_from_hu` for a flat float32 array."""
    mu = np.empty_like(hu)
    for i in prange(len(hu)):
        above = max(hu[i], np.float32(0.0))
        value = max(hu[i] + np.float32(1000.0), np.float32(0.0)) * np.float32(thin)
        value += min(above, np.float32(bone_hu)) * np.float32(mixed - dense)
        mu[i] = value + above * np.float32(dense - thin)
    return mu


@njit(parallel=True, cache=True, fastmath={"reassoc"})
def block_average_kernel(values, block, fill):
    """Means over blocks of (z, y, x) voxels; what the last blocks lack counts as `fill`."""
    deep, high, wide = block
    nz, ny, nx = values.shape
    out = np.empty((-(-nz // deep), -(-ny // high), -(-nx // wide)), np.float32)
    for z in prange(out.shape[0]):
        line = np.empty(nx, np.float32)
        for y in range(out.shape[1]):
            line[:] = 0.0
            planes, rows = min(deep, nz - z * deep), min(high, ny - y * high)
            for i in range(z * deep, z * deep + planes):
                for j in range(y * high, y * high + rows):
                    row = values[i, j]
                    for x in range(nx):
                        line[x] += row[x]
            for x in range(out.shape[2]):
                columns = min(wide, nx - x * wide)
                total = fill * (deep * high * wide - planes * rows * columns)
                for k in range(x * wide, x * wide + columns):
                    total += line[k]
                out[z, y, x] = total / (deep * high * wide)
    return out
