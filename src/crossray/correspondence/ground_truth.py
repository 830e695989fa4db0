"""The true correspondence matrix of two or more views, from geometry alone."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.correspondence.blocks import block_average
from crossray.correspondence.patches import POSITIVE_ABOVE, TissueWeight, patch_grid
from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.projection.rays import on_gpu, ray_table
from crossray.volumes.volume import AIR_HU, Volume

Definition = Literal["exact", "paper"]
PAPER_BLOCK = (16, 16, 16)
_ROWS_AT_ONCE = 16
"""Detector rows whose part of the pixel-level matrix is formed at once."""


def correspondence(
    volume: Volume,
    cameras: Cameras,
    patch: int = 16,
    definition: Definition = "exact",
    weight: Callable[[Tensor], Tensor] | None = TissueWeight(),
    normalise: bool = True,
    itself: bool = True,
) -> Float[Tensor, "view view patch patch"]:
    """Which patches of each view show tissue that patches of each other view show too, and how surely.

    With a^v_k the footprint of voxel v in view k (its column of the Joseph system matrix), n^v_k = a^v_k / max a^v_k
    (the peak over the whole detector plane, also beyond its edge) and w_v its weight,

        C_kl[P, Q] = max over p in P, q in Q and voxels v of  w_v * n^v_k[p] * n^v_l[q].

    `exact` takes every voxel of the volume and every pixel. `paper` takes the volume averaged over blocks of 16 voxels
    and one ray a patch. A voxel beside a view's detector matches nothing there.

    Args:
        volume: Hounsfield units.
        cameras: Two or more views (one gives its matrix with itself).
        patch: Side of a patch in pixels; 1 gives the pixel-level matrix, dense.
        definition: `exact` or `paper`.
        weight: Maps Hounsfield units to w in [0, 1]; None takes the volume's values as they are.
        normalise: False gives the plain products p_k p_l^T of the paper's text, p_k^v = w_v * a_k^v in mm, without
            scaling.
        itself: False leaves the matrices of each view with itself at 0, to save their time.

    Returns:
        C, float32, patches numbered row by row; C_lk is the transpose of C_kl. It lies on the volume's device: for a
        volume on an NVIDIA GPU (`Volume.to`) the work is done there, and for `exact` nobody waits for it.

    Raises:
        InputError: A patch that does not divide the image, an unknown definition, a source inside the volume.

    Source: the definition is this project's; `paper` follows Dabboussi et al., Self-Supervised Multiview Xray Matching,
    MICCAI 2025.
    """
    if definition not in ("exact", "paper"):
        raise InputError(f"definition={definition!r} is unknown; choose exact or paper.")
    grid = patch_grid(cameras.size, patch)
    if definition == "paper":
        air = 0.0 if weight is None else AIR_HU
        volume, cameras, patch = block_average(volume, PAPER_BLOCK, air), cameras.regrid(grid), 1
    return _exact(volume, cameras, grid, patch, weight, normalise, itself)


def band(
    volume: Volume,
    cameras: Cameras,
    view: int,
    pixel: tuple[int, int],
    weight: Callable[[Tensor], Tensor] | None = TissueWeight(),
    normalise: bool = True,
) -> Float[Tensor, "view row column"]:
    """What one pixel matches: its row of the pixel-level matrix, without the matrix.

    Only voxels along the pixel's ray take part, so this takes milliseconds.

    Args:
        volume: Hounsfield units.
        cameras: One or more views.
        view: Whose pixel; negative numbers count from the last.
        pixel: Row and column.
        weight: As for `correspondence`.
        normalise: As for `correspondence`.

    Returns:
        `correspondence(volume, cameras, patch=1, ...)[view, :, pixel]` as images, float32, the own view included.

    Raises:
        InputError: A view or pixel that does not exist, a source inside the volume.
    """
    from crossray.correspondence._cpu_band import band_kernel, voxels_along_kernel

    rows, columns = cameras.size
    row, column = pixel
    if not -len(cameras) <= view < len(cameras) or not (0 <= row < rows and 0 <= column < columns):
        raise InputError(
            f"view={view}, pixel=({row}, {column}) is none of the {len(cameras)} views of {rows} x {columns} pixels."
        )
    view %= len(cameras)
    rays = ray_table(volume, cameras)
    matrices = cameras.projection_matrices() @ volume.world_from_voxel
    size = (volume.values.shape[2], volume.values.shape[1], volume.values.shape[0])
    voxels = voxels_along_kernel(size, rays.vectors.numpy(), view, row, column)
    x, y, z = torch.from_numpy(voxels).unbind(1)
    weights = volume.values[z, y, x].cpu()
    if weight is not None:
        weights = weight(weights)
    kept = weights > 0
    if not normalise:
        weights = weights.square()
    images = band_kernel(
        voxels[kept.numpy()], weights[kept].double().numpy(), size, rays.vectors.numpy(), rays.metric.numpy(),
        matrices.numpy(), _footprint_bounds(matrices, volume).numpy(), cameras.size, view, row * columns + column,
        normalise,
    )  # fmt: skip
    return torch.from_numpy(images).to(volume.values.device)


def pixel_correspondence(
    volume: Volume,
    cameras: Cameras,
    view: int,
    other: int,
    weight: Callable[[Tensor], Tensor] | None = TissueWeight(),
    above: float = POSITIVE_ABOVE,
) -> Float[Tensor, "pixel pixel"]:
    """The pixel-level matrix of two views, sparse.

    The entries above a bound of `correspondence(..., patch=1)[view, other]`, as a product of the two views' sparse
    footprints with a maximum in place of the sum. It is formed for a few detector rows of `view` at a time, so memory
    is about that of the result, 8 bytes an entry; `matrix[pixel].to_dense()` is one pixel's band.

    Args:
        volume: Hounsfield units.
        cameras: One or more views.
        view: Whose pixels are the rows; negative numbers count from the last.
        other: Whose pixels are the columns; may be `view`.
        weight: As for `correspondence`.
        above: Entries up to this are left out; 0 keeps all that are not 0.

    Returns:
        Sparse CSR, float32, pixels numbered row by row.

    Raises:
        InputError: A view that does not exist, a negative `above`, a source inside the volume.
    """
    from numba import get_num_threads

    from crossray.correspondence._cpu_pixels import pixel_rows_kernel

    if not all(-len(cameras) <= k < len(cameras) for k in (view, other)):
        raise InputError(f"view={view}, other={other}: there are {len(cameras)} views.")
    if not above >= 0:
        raise InputError(f"above={above} is no bound for entries from 0 to 1; give 0 or more.")
    pair = cameras[[view, other]]
    rays = ray_table(volume, pair)
    matrices = pair.projection_matrices() @ volume.world_from_voxel
    weights = volume.values if weight is None else weight(volume.values).float()
    fixed = (
        weights.cpu().numpy(), rays.vectors.numpy(), rays.metric.numpy(), matrices.numpy(),
        _footprint_bounds(matrices, volume).numpy(), pair.size,
    )  # fmt: skip
    tops = range(0, pair.size[0], _ROWS_AT_ONCE)
    with ThreadPoolExecutor(get_num_threads()) as pool:
        blocks = pool.map(
            lambda top: pixel_rows_kernel(
                *fixed, top, min(top + _ROWS_AT_ONCE, pair.size[0]) - 1, float(above)
            ),
            tops,
        )
        parts = [[torch.from_numpy(part) for part in kind] for kind in zip(*blocks, strict=True)]
    # Each kind is freed before the next is joined.
    values, columns, counts = (torch.cat(parts.pop()) for _ in range(3))
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    if len(values) < 2**31:
        starts = starts.int()
    pixels = pair.size[0] * pair.size[1]
    with warnings.catch_warnings():  # that torch calls its CSR tensors beta
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            starts, columns.to(starts.dtype), values, (pixels, pixels), check_invariants=False
        )


def _exact(
    volume: Volume,
    cameras: Cameras,
    grid: tuple[int, int],
    patch: int,
    weight: Callable[[Tensor], Tensor] | None,
    normalise: bool,
    itself: bool,
) -> Float[Tensor, "view view patch patch"]:
    rays = ray_table(volume, cameras)
    values, logistic = volume.values, (0.0, 0.0, 0.0)
    if isinstance(weight, TissueWeight):
        logistic = weight.logistic()
    elif weight is not None:
        values = weight(values)
    matrices = cameras.projection_matrices() @ volume.world_from_voxel
    half = _footprint_bounds(matrices, volume)
    options = (normalise, 0 if itself else 1)
    if on_gpu(values):
        from crossray.correspondence._cuda import correspondence_cuda

        matrix = correspondence_cuda(values, logistic, rays, matrices, half, grid, patch, options)
    else:
        from numba import get_num_threads

        from crossray.correspondence._cpu import correspondence_kernel

        upper = correspondence_kernel(
            values.numpy(), logistic, rays.vectors.numpy(), rays.metric.numpy(), matrices.numpy(), half.numpy(),
            grid, patch, options, get_num_threads(),
        )  # fmt: skip
        matrix = torch.from_numpy(upper)
    for k in range(len(cameras)):
        for m in range(k):
            matrix[k, m] = matrix[m, k].T
    return matrix


def _corners(volume: Volume) -> Float[Tensor, "corner 3"]:
    """The eight corner voxels, indices (x, y, z)."""
    ends = [
        torch.tensor([0.0, n - 1.0], dtype=torch.float64) for n in reversed(volume.values.shape)
    ]
    return torch.cartesian_prod(*ends)


def _footprint_bounds(
    matrices: Float[Tensor, "view 3 4"], volume: Volume
) -> Float[Tensor, "view 3"]:
    """Bounds over the volume of a footprint's extent: half its rows and columns and the depth between neighbours.

    Over the cube of a voxel's neighbours, where its tent ends, the projection moves by at most
    sum_i |m_i - c * d_i| / (depth - sum_i |d_i|) pixels for a centre c; that is largest at a corner of the volume.
    """
    corners = torch.nn.functional.pad(_corners(volume), (0, 1), value=1.0)
    row, column, depth = torch.einsum("vij,cj->ivc", matrices, corners)
    spread = matrices[:, 2, :3].abs().sum(-1)
    room = depth.amin(1) - spread
    if (room <= 0).any():
        raise InputError(
            f"{volume.name} reaches behind the source of a view; move the camera out (a larger sod_mm)."
        )
    halves = []
    for i, numerator in enumerate((row, column)):
        slope = matrices[:, None, i, :3] - (numerator / depth)[..., None] * matrices[:, None, 2, :3]
        halves.append(slope.abs().sum(-1).amax(1) / room + 1e-9)
    return torch.stack([*halves, spread], 1)
