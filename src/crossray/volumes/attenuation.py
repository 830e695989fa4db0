"""From Hounsfield units to linear attenuation at one photon energy.

A CT number says how strongly a voxel attenuates relative to water at the scanner's effective
energy, not what it is made of. Between water (0 HU) and cortical bone the voxel is read as a
mixture of the two by volume, below as thin water, above as dense bone. Every map HU -> 1/mm is then
three straight pieces.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError

# Mass attenuation coefficients with coherent scattering, cm^2/g. Source: J. H. Hubbell and S. M.
# Seltzer, NISTIR 5632 (NIST Standard Reference Database 126), table 4: "Water, Liquid" and "Bone,
# Cortical (ICRU-44)".
_KEV = (20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)
_WATER = (0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505)
_BONE = (4.001, 1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480)

WATER_DENSITY = 1.0
"""g/cm^3."""
BONE_DENSITY = 1.92
"""Cortical bone, ICRU-44; g/cm^3."""
CT_KEV = 70.0
"""Effective energy of a clinical CT at 120 kVp, at which HU are taken to be exact; keV."""


class _Pieces(NamedTuple):
    """Slopes in 1/mm per HU left of 0, from 0 to `bone_hu`, and right of `bone_hu`."""

    thin: float
    mixed: float
    dense: float
    bone_hu: float


def attenuation_from_hu(
    hu: Float[Tensor, "*voxels"], kev: float = 60.0
) -> Float[Tensor, "*voxels"]:
    """Linear attenuation of tissue with the given CT numbers.

    With w(E) and b(E) the attenuation of water and of cortical bone at energy E, and B the CT
    number of cortical bone at `CT_KEV` (about 1594 HU):

        hu < 0:        w(E) * (1 + hu / 1000), never below 0 (air)
        0 <= hu <= B:  w(E) + hu / B * (b(E) - w(E))
        hu > B:        b(E) * (1000 + hu) / (1000 + B)

    The map is continuous and rises everywhere above -1000 HU; at E = `CT_KEV` it is w * (1 + hu /
    1000) throughout.

    Args:
        hu: CT numbers in HU, any shape, any device. Differentiable.
        kev: Photon energy in keV, 20 to 150.

    Returns:
        Attenuation in 1/mm, in the shape and type of `hu`.

    Raises:
        InputError: An energy outside the table.

    Source:
        Hubbell and Seltzer, NISTIR 5632 (NIST SRD 126), interpolated linearly in log E and log mu.
    """
    thin, mixed, dense, bone_hu = _pieces(kev)
    if hu.dtype == torch.float32 and hu.device.type == "cpu" and not hu.requires_grad:
        from crossray.volumes._cpu import attenuation_kernel

        mu = attenuation_kernel(hu.numpy().reshape(-1), thin, mixed, dense, bone_hu)
        return torch.from_numpy(mu).view(hu.shape)
    above = torch.relu(hu) * (dense - thin) + hu.clamp(0, bone_hu) * (mixed - dense)
    return torch.relu(hu + 1000) * thin + above


def water_attenuation(kev: float) -> float:
    """Linear attenuation of water in 1/mm at 20 to 150 keV; raises InputError outside."""
    return _interpolate(_WATER, kev) * WATER_DENSITY / 10


def bone_attenuation(kev: float) -> float:
    """Linear attenuation of cortical bone in 1/mm at 20 to 150 keV; raises InputError outside."""
    return _interpolate(_BONE, kev) * BONE_DENSITY / 10


def _pieces(kev: float) -> _Pieces:
    water, bone = water_attenuation(kev), bone_attenuation(kev)
    bone_hu = 1000 * (bone_attenuation(CT_KEV) / water_attenuation(CT_KEV) - 1)
    return _Pieces(water / 1000, (bone - water) / bone_hu, bone / (1000 + bone_hu), bone_hu)


def _interpolate(table: tuple[float, ...], kev: float) -> float:
    if not _KEV[0] <= kev <= _KEV[-1]:
        raise InputError(
            f"kev={kev} lies outside the attenuation table; give 20 to 150 keV (a radiograph has "
            "about 60)."
        )
    above = next(i for i in range(1, len(_KEV)) if kev <= _KEV[i])
    low, high = _KEV[above - 1 : above + 1]
    start, end = table[above - 1 : above + 1]
    return start * (end / start) ** (math.log(kev / low) / math.log(high / low))
