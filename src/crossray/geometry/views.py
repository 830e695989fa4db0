"""Poses drawn from a seed: the test protocols and whatever training wants."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry.camera import Cameras

Protocol = Literal["clinical", "inside", "uniform", "around"]
_FREE = ("uniform", "around")
_HALF_WINDOW = 0.64
"""Half a window's height along the limb in fields, with room for roll and tilt."""
_CLINICAL_PRIMARY = (0.0, 90.0, 45.0, -45.0)


@dataclass(frozen=True)
class ViewSampling:
    """What views are drawn; the defaults are the fixed test protocol.

    Args:
        protocol: `clinical`: AP, lateral or an oblique at 45 degrees, each `jitter_deg` off, at least `apart_deg`
            apart. `inside`: the same, but the field shrinks, not below its lower limit, to what a short volume can
            show without its cut ends. `uniform`: directions uniform on the sphere, any roll. `around`: the same, but at
            least `apart_deg` apart. The paper says no more of its views than that they come in pairs of random poses
            around the limb; this is one reading of it, not known to be theirs.
        views: How many.
        size: Detector rows and columns.
        field_mm: Range of the side of the field at the isocentre; one draw a sample.
        offset: Each view's window is centred independently, off by up to this share of the field.
        sod_mm: Range of the distance from source to isocentre.
        gap_mm: Range of the distance from isocentre to detector.
        roll_deg: Largest roll (clinical).
        jitter_deg: Largest error of each positioner angle (clinical).
        apart_deg: Least angle between two beams, also head on (all but uniform).
    """

    protocol: Protocol = "clinical"
    views: int = 2
    size: tuple[int, int] = (256, 256)
    field_mm: tuple[float, float] = (90.0, 220.0)
    offset: float = 0.25
    sod_mm: tuple[float, float] = (900.0, 1100.0)
    gap_mm: tuple[float, float] = (30.0, 150.0)
    roll_deg: float = 15.0
    jitter_deg: float = 10.0
    apart_deg: float = 20.0

    def __post_init__(self) -> None:
        if self.protocol not in get_args(Protocol):
            raise InputError(
                f"Protocol {self.protocol!r} is unknown; choose one of {', '.join(get_args(Protocol))}."
            )
        if self.views < 1:
            raise InputError(f"views={self.views}; a sample needs at least one view.")

    def film(self, step: int) -> "ViewSampling":
        """The same views centred on a detector that holds every window the offset allows, in steps of pixels."""
        rows, columns = (side + 2 * step * ceil(self.offset * side / step) for side in self.size)
        larger = max(rows, columns) / max(self.size)
        field = (self.field_mm[0] * larger, self.field_mm[1] * larger)
        return replace(self, size=(rows, columns), field_mm=field, offset=0.0)


def sample_cameras(
    rng: np.random.Generator,
    isocenter: Float[Tensor, " 3"],
    sampling: ViewSampling = ViewSampling(),
    reach_mm: tuple[float, float] | None = None,
) -> Cameras:
    """Draw the cameras of one sample.

    Args:
        rng: Source of randomness; the same state gives the same cameras.
        isocenter: World point near which all windows lie, mm.
        sampling: What to draw.
        reach_mm: World z range (inferior, superior) that clinical windows keep within where they can, so that the cut
            ends of a scanned limb stay out of view: the isocentre moves, to the middle where the limb is too short for
            the field. Each window is off it independently all the same.
    """
    (low, high), half = sampling.field_mm, _HALF_WINDOW + sampling.offset
    if reach_mm is not None and sampling.protocol == "inside":
        high = min(high, max(low, (reach_mm[1] - reach_mm[0]) / (2 * half)))
    field = rng.uniform(low, high)
    if reach_mm is not None and sampling.protocol not in _FREE:
        isocenter = _moved_within(isocenter, half * field, reach_mm)
    angles = _angles(rng, sampling)
    sod = rng.uniform(*sampling.sod_mm, sampling.views)
    sdd = sod + rng.uniform(*sampling.gap_mm, sampling.views)
    pixel = field / max(sampling.size) * sdd / sod
    views = []
    for i, (primary, secondary, roll) in enumerate(angles):
        camera = Cameras.from_angles(
            primary, secondary, roll,
            sod_mm=sod[i], sdd_mm=sdd[i], size=sampling.size, pixel_mm=pixel[i], isocenter=isocenter,
        )  # fmt: skip
        down, right = rng.uniform(-sampling.offset, sampling.offset, 2) * field
        per_mm = max(sampling.size) / field
        views.append(camera.crop(down * per_mm, right * per_mm, sampling.size))
    return Cameras.stack(views)


def turn_deg(cameras: Cameras) -> float:
    """Angle between the beams of the first two views, 0 to 180 degrees; a beam is the detector's normal."""
    beams = torch.linalg.cross(cameras.column_step, cameras.row_step, dim=-1)
    cosine = torch.nn.functional.cosine_similarity(beams[0], beams[1], dim=0)
    return torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).item()


def _moved_within(
    isocenter: Float[Tensor, " 3"], margin: float, reach: tuple[float, float]
) -> Float[Tensor, " 3"]:
    """The isocentre moved along z to lie `margin` mm within reach; halfway where the reach is too short for that.

    Moving the one isocentre, not each window, leaves the windows independent: windows pushed to the same place one
    by one would be framed alike, and teach that a match lies at the same height.
    """
    low, high = reach[0] + margin, reach[1] - margin
    z = min(max(float(isocenter[2]), low), high) if low <= high else 0.5 * (reach[0] + reach[1])
    return torch.stack([isocenter[0], isocenter[1], torch.tensor(z, dtype=isocenter.dtype)])


def _angles(rng: np.random.Generator, sampling: ViewSampling) -> np.ndarray:
    """(view, 3) primary, secondary, roll in degrees; pairwise at least `apart_deg` apart but for `uniform`."""
    draw = _uniform_angles if sampling.protocol in _FREE else _clinical_angles
    pairs = np.triu_indices(sampling.views, 1)
    for _ in range(1000):
        angles = draw(rng, sampling)
        beams = _beams(angles[:, 0], angles[:, 1])
        cosines = np.abs(beams @ beams.T)[pairs]
        if (
            sampling.protocol == "uniform"
            or (cosines <= np.cos(np.radians(sampling.apart_deg))).all()
        ):
            return angles
    raise InputError(
        f"No {sampling.views} {sampling.protocol} views lie {sampling.apart_deg} degrees apart; "
        "ask for fewer views or a smaller angle."
    )


def _clinical_angles(rng: np.random.Generator, sampling: ViewSampling) -> np.ndarray:
    """(view, 3) primary, secondary, roll in degrees: AP, lateral and obliques, each a little off."""
    primary = (
        rng.choice(_CLINICAL_PRIMARY, sampling.views)
        + rng.uniform(-1, 1, sampling.views) * sampling.jitter_deg
    )
    secondary = rng.uniform(-1, 1, sampling.views) * sampling.jitter_deg
    return np.stack([primary, secondary, rng.uniform(-1, 1, sampling.views) * sampling.roll_deg], 1)


def _uniform_angles(rng: np.random.Generator, sampling: ViewSampling) -> np.ndarray:
    """(view, 3) primary, secondary, roll in degrees; beams uniform on the sphere."""
    primary = rng.uniform(-180, 180, sampling.views)
    secondary = np.degrees(np.arcsin(rng.uniform(-1, 1, sampling.views)))
    return np.stack([primary, secondary, rng.uniform(-180, 180, sampling.views)], 1)


def _beams(primary: np.ndarray, secondary: np.ndarray) -> np.ndarray:
    a, b = np.radians(primary), np.radians(secondary)
    return np.stack([np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), np.sin(b)], 1)
