"""From Hounsfield units to materials whose attenuation is known at every energy.

Away from absorption edges the attenuation of tissue is, within about a percent, a mixture of two basis functions
(Alvarez and Macovski, Phys Med Biol 21 (1976) 733). Ours are water and cortical bone, so fat costs no third projection:
it is water with a little *less* than no bone. Metal is a basis of its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.geometry import Cameras
from crossray.projection import project
from crossray.projection.spectrum import attenuation_at
from crossray.volumes.attenuation import CT_KEV
from crossray.volumes.volume import AIR_HU, Volume

METAL_HU = 3000.0
"""No bone reaches it: above, a voxel holds metal."""

_CHUNK = 1 << 15
"""Voxels to a pass: all passes over them find them in cache."""
_MATCHED_KEV = (30.0, CT_KEV)
"""Where the basis has exactly the attenuation of fat and muscle."""


def ct_number(material: str) -> float:
    """CT number of a material of `spectrum.DENSITY` at `CT_KEV`, HU."""
    return 1000 * (attenuation_at(material, CT_KEV) / attenuation_at("water", CT_KEV) - 1)


def decompose(
    volume: Volume, metal: str = "titanium", solid_hu: float = METAL_HU
) -> dict[str, Volume]:
    """Shares of voxels taken by water, cortical bone and, where there is any, metal.

    Between the CT numbers of air, adipose tissue, skeletal muscle and cortical bone a voxel is a mixture by volume of
    its two neighbours; between bone and `METAL_HU` it is bone of higher density; from there to `solid_hu` bone and
    metal; beyond, metal alone. Tissues are expressed in water and bone such that they are exact at 30 keV and
    `CT_KEV`, so up to `METAL_HU` a voxel's attenuation at `CT_KEV` gives back its HU.

    Args:
        volume: Hounsfield units.
        metal: A material of `spectrum.DENSITY`.
        solid_hu: From where on a voxel is metal alone. The default suits CTs, which clip metal at 3071 HU or streak it;
            `ct_number(metal)` suits metal that was drawn into a volume and gives back HU throughout.

    Returns:
        Volumes of shares by the names of their materials; those of water and bone may lie outside [0, 1].
    """
    return {name: _share(volume, name, solid_hu) for name in _names(volume, metal)}


def tissue_paths(volume: Volume, cameras: Cameras) -> dict[str, Float[Tensor, "view row column"]]:
    """`material_paths` of `decompose(volume)`, with one material at a time in memory."""
    return {
        name: project(_share(volume, name, METAL_HU), cameras)
        for name in _names(volume, "titanium")
    }


def _names(volume: Volume, metal: str) -> list[str]:
    return ["water", "bone", metal] if volume.values.max() > METAL_HU else ["water", "bone"]


def _share(volume: Volume, name: str, solid_hu: float) -> Volume:
    """Shares of voxels taken by one material."""
    number = {"water": 0, "bone": 1}.get(name, 2)
    shares = torch.zeros(volume.values.numel())
    chunks = volume.values.reshape(-1).split(_CHUNK), shares.split(_CHUNK)
    for values, target in zip(*chunks, strict=True):
        for low, high, slopes in _pieces(solid_hu):
            if slopes[number]:
                target.add_(values.clamp(low, high).sub_(low), alpha=slopes[number])
    return replace(volume, values=shares.view(volume.values.shape))


def material_paths(
    materials: Mapping[str, Volume], cameras: Cameras
) -> dict[str, Float[Tensor, "view row column"]]:
    """Length of each material along the rays of all pixels, mm.

    Raises:
        InputError: A source inside the volume.
    """
    return {name: project(share, cameras) for name, share in materials.items()}


@lru_cache
def _pieces(solid_hu: float) -> list[tuple[float, float, list[float]]]:
    """Between which CT numbers the shares of water, bone and metal rise, and by how much per HU."""
    dense = (1000 + METAL_HU) / (1000 + ct_number("bone"))
    corners = [
        (AIR_HU, (0.0, 0.0, 0.0)),
        (ct_number("adipose"), (*_in_basis("adipose"), 0.0)),
        (ct_number("muscle"), (*_in_basis("muscle"), 0.0)),
        (ct_number("bone"), (0.0, 1.0, 0.0)),
        (METAL_HU, (0.0, dense, 0.0)),
        (max(solid_hu, METAL_HU + 1), (0.0, 0.0, 1.0)),  # a step is a steep ramp
    ]
    return [
        (low, high, [(end - start) / (high - low) for start, end in zip(one, other, strict=True)])
        for (low, one), (high, other) in pairwise(corners)
    ]


def _in_basis(tissue: str) -> tuple[float, float]:
    """Shares of water and bone with the attenuation of a tissue at two energies."""
    basis = [[attenuation_at(name, kev) for name in ("water", "bone")] for kev in _MATCHED_KEV]
    water, bone = np.linalg.solve(basis, [attenuation_at(tissue, kev) for kev in _MATCHED_KEV])
    return float(water), float(bone)
