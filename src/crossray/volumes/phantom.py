"""A procedural limb: anatomy, sizes and poses drawn from a seed, as a CT volume.

The embedded default of demo and tests and part of the training data. Bones are signed distances (`shapes`) with
a compact shell, sponge and marrow (`tissue`); their places and proportions are those of adult atlases (`limb_*`).
"""

from typing import Literal

import numpy as np
import torch

from crossray.errors import InputError
from crossray.volumes.limb_ankle import ankle
from crossray.volumes.limb_hand import hand
from crossray.volumes.limb_knee import knee
from crossray.volumes.tissue import Grid, Limb, build
from crossray.volumes.volume import Volume

_LIMBS = {"hand": hand, "knee": knee, "ankle": ankle}
_FINEST_MM, _COARSEST_MM = 0.25, 8.0


def phantom(limb: str, seed: int = 0, spacing_mm: float = 1.0) -> Volume:
    """A limb of an imagined person in HU: the same bytes for the same arguments.

    The limb runs along z (hand: fingers up, palm forward; knee: femur up; ankle: leg up, toes forward). The volume
    is axis-aligned in LPS with its centre at the world's origin, and its proximal end is cut by the volume's face.
    The seed draws side, age, size, pose, bone shape and density, and soft tissue; the spacing only samples them.

    Args:
        limb: "hand", "knee" or "ankle".
        seed: Which person and pose; any whole number from 0.
        spacing_mm: Distance between voxel centres in mm, 0.25 to 8.

    Returns:
        Hounsfield units [z, y, x], named "phantom hand 0" and the like.

    Raises:
        InputError: Unknown limb, a negative seed, or a spacing out of range.
    """
    model, rng = _person(limb, seed)
    if not _FINEST_MM <= spacing_mm <= _COARSEST_MM:
        raise InputError(
            f"The phantom's spacing is {spacing_mm} mm; give {_FINEST_MM} to {_COARSEST_MM} mm."
        )
    step = spacing_mm / model.scale
    counts = np.ceil((model.upper - model.lower) / step).astype(int)
    middle = (model.upper + model.lower) / 2
    axes = [
        torch.from_numpy((m + (np.arange(n) - (n - 1) / 2) * step).astype(np.float32))
        for m, n in zip(middle, counts, strict=True)
    ]
    values = build(
        model,
        Grid(
            (axes[0], axes[1], axes[2]),
            float(step),
            model.lower,
            model.upper,
            int(rng.integers(1 << 32)),
        ),
    )
    if model.mirrored:
        values = values.flip(2)
    world_from_voxel = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    world_from_voxel[:3, 3] = -(counts - 1) / 2 * spacing_mm
    return Volume(values, torch.from_numpy(world_from_voxel), f"phantom {limb} {seed}")


def phantom_side(limb: str, seed: int = 0) -> Literal["left", "right"]:
    """Which of the two limbs the phantom of this seed is.

    Raises:
        InputError: Unknown limb or a negative seed.
    """
    model, _ = _person(limb, seed)
    return "right" if model.mirrored else "left"


def _person(limb: str, seed: int) -> tuple[Limb, np.random.Generator]:
    """The limb that a seed draws, and the generator after it."""
    if limb not in _LIMBS:
        raise InputError(f"The limb is {limb!r}; choose one of {', '.join(_LIMBS)}.")
    if seed < 0:
        raise InputError(f"The phantom's seed is {seed}; give a whole number from 0.")
    rng = np.random.default_rng([list(_LIMBS).index(limb), seed])
    return _LIMBS[limb](rng), rng
