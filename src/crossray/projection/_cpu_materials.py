"""HU to amounts of materials on CPUs: one pass over the volume for all of them."""

import numpy as np
from numba import njit, prange

_CHUNK = 1 << 13  # a chunk's amounts stay in cache while the pieces are added


@njit(parallel=True, cache=True, fastmath={"nnan", "nsz", "contract"})
def pieces_kernel(values, knots, slopes):
    """Amounts (material, voxel) float32 by straight pieces: 0 up to the first knot, constant from the last one.

    Args:
        values: (voxel,) float32.
        knots: (piece + 1,) float32, ascending.
        slopes: (material, piece) float32.
    """
    out = np.zeros((len(slopes), len(values)), np.float32)
    for chunk in prange((len(values) + _CHUNK - 1) // _CHUNK):
        part = slice(chunk * _CHUNK, min(len(values), (chunk + 1) * _CHUNK))
        source = values[part]
        for material in range(len(slopes)):
            target = out[material, part]
            for piece in range(len(knots) - 1):
                low, high, slope = knots[piece], knots[piece + 1], slopes[material, piece]
                if slope != 0.0:
                    for voxel in range(len(source)):
                        target[voxel] += slope * (min(max(source[voxel], low), high) - low)
    return out
