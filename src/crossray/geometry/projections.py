"""The projections that radiographers take of limbs, by name, and how far off they are taken.

The limb lies along z in the anatomical position: its front (the palm, too) faces anterior, -y, its proximal end is up,
+z, and a left limb's lateral side is +x. A limb scanned otherwise is turned into this frame by `world_from_limb`.

A film is hung as the source sees the limb: fingers and toes up in PA, AP and oblique views of the hand, wrist and foot,
everything else with the proximal end up. A right limb's film is the mirror image of a left limb's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry.camera import Cameras

Side = Literal["left", "right"]


@dataclass(frozen=True)
class PositioningErrors:
    """Standard deviations of normal errors with which a projection is taken; the project's own estimates.

    No published distribution is known to us. Lateral and oblique views, in which the limb is held, err more than those
    in which it lies flat.

    Args:
        turn_deg: Of the limb's rotation about the image's vertical axis, mostly the limb's own.
        tilt_deg: About the image's horizontal axis.
        roll_deg: About the beam: the limb lies askew.
        center_mm: Of the central ray, along rows and along columns, in the plane of the isocentre.
        distance_mm: Of the source's distance.
    """

    turn_deg: float
    tilt_deg: float
    roll_deg: float
    center_mm: float = 12.0
    distance_mm: float = 25.0


_FLAT = PositioningErrors(turn_deg=4.0, tilt_deg=3.0, roll_deg=6.0)
_HELD = PositioningErrors(turn_deg=7.0, tilt_deg=5.0, roll_deg=8.0)


@dataclass(frozen=True)
class Projection:
    """One projection of a left limb, nominal.

    Args:
        primary: Positioner angle to the limb in degrees, LAO positive; negated for a right limb.
        secondary: The other, cranial positive.
        roll: About the beam; negated for a right limb.
        gap_mm: Isocentre to detector: half the limb and what lies between. The project's own estimate.
        field_mm: Side of the field at the isocentre, for an adult. The project's own estimate.
        errors: How far off it is taken.
        sdd_mm: Source to detector: 1 m, the usual distance for limbs.
    """

    primary: float
    secondary: float
    roll: float
    gap_mm: float
    field_mm: float
    errors: PositioningErrors
    sdd_mm: float = 1000.0


PROJECTIONS = {
    "hand:pa": Projection(0, 0, 180, 20, 240, _FLAT),
    "hand:oblique": Projection(-45, 0, 180, 40, 240, _HELD),
    "hand:lateral": Projection(-90, 0, 180, 50, 240, _HELD),
    "wrist:pa": Projection(0, 0, 180, 30, 180, _FLAT),
    "wrist:oblique": Projection(-45, 0, 180, 40, 180, _HELD),
    "wrist:lateral": Projection(-90, 0, 180, 45, 180, _HELD),
    "elbow:ap": Projection(180, 0, 0, 50, 220, _FLAT),
    "elbow:lateral": Projection(-90, 0, 0, 50, 220, _HELD),
    "knee:ap": Projection(180, 0, 0, 110, 280, _FLAT),
    "knee:lateral": Projection(90, 5, 0, 110, 280, _HELD),
    "knee:sunrise": Projection(180, 78, 0, 150, 200, _HELD),
    "ankle:ap": Projection(180, 0, 0, 60, 220, _FLAT),
    "ankle:mortise": Projection(-162.5, 0, 0, 60, 220, _HELD),
    "ankle:lateral": Projection(90, 0, 0, 50, 240, _HELD),
    "foot:ap": Projection(180, -80, 180, 40, 280, _FLAT),
    "foot:oblique": Projection(-90, -55, -90, 50, 280, _HELD),
    "foot:lateral": Projection(90, 0, 0, 50, 280, _HELD),
}
"""By region and name.

PA and AP: the beam enters from behind or from the front. Lateral: the ulnar side of hand, wrist and elbow lies on the
detector, the lateral side of knee, ankle and foot; the beam of the knee runs 5 degrees cephalad, so that its condyles
overlap. Oblique: the radial side of hand and wrist is lifted by 45 degrees, the lateral side of the foot by 35.
Mortise: the leg is turned inwards by 17.5 (15 to 20). Foot AP: dorsoplantar, 10 degrees towards the heel. Sunrise:
from the feet, 12 degrees (10 to 15) in front of the leg's axis, here of a straight leg; on a film the knee is bent.

Angles: Lampignano and Kendrick, Bontrager's Textbook of Radiographic Positioning and Related Anatomy.
"""

RAISED = torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64).diag()
"""`world_from_limb` of an arm above the head: fingers up, the palm still forward."""


def named_cameras(
    names: Sequence[str],
    side: Side,
    isocenter: Float[Tensor, " 3"] | Sequence[float] = (0.0, 0.0, 0.0),
    *,
    size: tuple[int, int] = (512, 512),
    field_mm: float | None = None,
    world_from_limb: Float[Tensor, "3 3"] | None = None,
    rng: np.random.Generator | None = None,
) -> Cameras:
    """Cameras of projections by name, one view each.

    Args:
        names: Keys of `PROJECTIONS`, such as "knee:ap".
        side: "left" or "right".
        isocenter: World point that the central rays aim at, mm.
        size: Detector rows and columns.
        field_mm: Longer side of the field at the isocentre; None for each projection's own.
        world_from_limb: Rotation from the anatomical position to how the limb lies in the world; None where it lies so.
        rng: Draws the positioning errors of each view; None for nominal views.

    Raises:
        InputError: Unknown names or side, no name at all, or a matrix that is no rotation.

    Example:
        >>> knee = named_cameras(["knee:lateral"], "left", size=(3, 3))
        >>> knee.source.round().tolist()  # medial of a left knee, 5 degrees towards the feet
        [[-887.0, 0.0, -78.0]]
    """
    unknown = [name for name in names if name not in PROJECTIONS]
    if unknown or not names:
        raise InputError(
            f"{', '.join(unknown) or 'No name'} is no projection; choose from {', '.join(PROJECTIONS)}."
        )
    if side not in get_args(Side):
        raise InputError(f"The side is {side!r}; say left or right.")
    turn = torch.eye(3).double() if world_from_limb is None else world_from_limb.double()
    if not torch.allclose(turn @ turn.T, torch.eye(3).double(), atol=1e-6) or turn.det() < 0:
        raise InputError(
            "world_from_limb is no rotation; give an orthonormal matrix without mirror."
        )
    center = torch.as_tensor(isocenter, dtype=torch.float64)
    views = []
    for name in names:
        projection = PROJECTIONS[name]
        if field_mm is not None:
            projection = replace(projection, field_mm=field_mm)
        view = _camera(projection, 1.0 if side == "left" else -1.0, size, rng)
        views.append(_moved(view, turn, center))
    return Cameras.stack(views)


def _camera(
    projection: Projection, sign: float, size: tuple[int, int], rng: np.random.Generator | None
) -> Cameras:
    """The view about the origin in the limb's frame, as the source sees it."""
    errors = projection.errors
    drawn = np.zeros(6) if rng is None else rng.standard_normal(6)
    sdd = projection.sdd_mm + errors.distance_mm * drawn[0]
    sod = sdd - projection.gap_mm
    pixel_mm = (
        projection.field_mm
        / max(size)
        * projection.sdd_mm
        / (projection.sdd_mm - projection.gap_mm)
    )
    camera = Cameras.from_angles(
        sign * projection.primary, projection.secondary, sign * projection.roll,
        sod_mm=sod, sdd_mm=sdd, size=size, pixel_mm=pixel_mm,
    )  # fmt: skip
    axes = torch.stack([-camera.row_step, camera.column_step, camera.source], 1)[0]
    degrees = (errors.turn_deg, errors.tilt_deg, errors.roll_deg)
    vectors = [
        math.radians(angle * draw) * axis / axis.norm()
        for angle, draw, axis in zip(degrees, drawn[1:4], axes, strict=True)
    ]
    camera = _moved(
        camera, _rotation(sum(vectors, torch.zeros(3).double())), torch.zeros(3).double()
    )
    shift = errors.center_mm * drawn[4:] * sdd / sod / pixel_mm
    camera = camera.crop(shift[0], shift[1], size)
    last = camera.first_pixel + (size[1] - 1) * camera.column_step
    return replace(camera, first_pixel=last, column_step=-camera.column_step)


def _moved(camera: Cameras, rotation: Float[Tensor, "3 3"], shift: Float[Tensor, " 3"]) -> Cameras:
    """The camera turned about the world's origin, then shifted."""
    return Cameras(
        camera.source @ rotation.T + shift,
        camera.first_pixel @ rotation.T + shift,
        camera.column_step @ rotation.T,
        camera.row_step @ rotation.T,
        camera.size,
    )


def _rotation(vector: Float[Tensor, " 3"]) -> Float[Tensor, "3 3"]:
    """Right-handed turn about a vector by its length in radians."""
    x, y, z = vector.tolist()
    spin = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return torch.linalg.matrix_exp(spin)
