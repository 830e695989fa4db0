"""What a fracture is, in numbers, and how one is drawn."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from crossray.errors import InputError
from crossray.volumes.fracture.bones import Bones, Site
from crossray.volumes.shapes import Triple, triple

Kind = Literal["transverse", "oblique", "spiral", "comminuted", "impacted", "greenstick", "buckle"]
"""`impacted`: the ends driven into each other. `greenstick`: opened on one side, hinged on the other. `buckle`: the
cortex bulges and nothing parts."""


@dataclass(frozen=True)
class FractureConfig:
    """Which fractures are drawn.

    Args:
        kinds: Of which sorts, equally often.
        severity: Range of the severity: 0 is a hairline, 1 as displaced as the sort goes.
        spacing_mm: Of the grid they are cut on.
    """

    kinds: tuple[Kind, ...] = get_args(Kind)
    severity: tuple[float, float] = (0.0, 1.0)
    spacing_mm: float = 1.0

    def __post_init__(self) -> None:
        unknown = set(self.kinds) - set(get_args(Kind))
        if unknown or not self.kinds:
            known = ", ".join(get_args(Kind))
            raise InputError(f"kinds={self.kinds} are no kinds of fracture; choose from {known}.")
        low, high = self.severity
        if not 0 <= low <= high <= 1:
            raise InputError(f"severity={self.severity} is no range within 0 to 1.")


@dataclass(frozen=True)
class Fracture:
    """One fracture, in world mm and degrees (LPS).

    `distal` is the side that the axis points to: it moves, the other side stays.

    Args:
        kind: Of which sort.
        severity: From 0 to 1, what the other numbers were drawn by.
        center: Middle of the bone's section.
        axis: Along the bone, of length 1.
        across: At right angles to it: towards the higher side of an oblique break, the open side of a greenstick, the
            bulge of a buckle and the loose piece of a comminuted one.
        radius_mm: Of the bone.
        slope_deg: Between the break and the bone's cross-section.
        pitch_mm: How much a spiral break rises in a turn; 0 for none.
        rough_mm: Standard deviation of the break's teeth.
        gap_mm: By how much the distal side moves away along the axis; negative where it is driven in, or slid along a
            sloping break.
        shift_mm: By how much, and where to, it moves across.
        angle_deg: By how much it tilts, away from `across`.
        twist_deg: By how much it turns about the axis.
        wedge_mm: Half height of a comminuted break's loose pieces.
        bulge_mm: How far a buckle stands out.
        fade_mm: Length over which the motion fades along the bone, as neighbours hold it; 0: the limb moves along.
        seed: Of teeth and pieces.
    """

    kind: Kind
    severity: float
    center: Triple
    axis: Triple
    across: Triple
    radius_mm: float
    slope_deg: float = 0.0
    pitch_mm: float = 0.0
    rough_mm: float = 0.0
    gap_mm: float = 0.0
    shift_mm: Triple = (0.0, 0.0, 0.0)
    angle_deg: float = 0.0
    twist_deg: float = 0.0
    wedge_mm: float = 0.0
    bulge_mm: float = 0.0
    fade_mm: float = 0.0
    seed: int = 0


def draw_fracture(
    rng: np.random.Generator,
    bones: Bones,
    config: FractureConfig = FractureConfig(),
    site: Site | None = None,
) -> Fracture:
    """Draw a fracture of one of a volume's bones.

    Args:
        rng: Source of randomness.
        bones: The volume.
        config: Which fractures.
        site: Where; without it every bone with sites is as likely as another.
    """
    site = draw_site(rng, bones) if site is None else site
    kind = config.kinds[rng.integers(len(config.kinds))]
    severity = float(rng.uniform(*config.severity))
    axis = _unit(site.axis + 0.03 * rng.normal(size=3))
    across = _unit(np.cross(axis, rng.normal(size=3)))
    free = site.alone and site.reach_mm[1] > 25
    radius, most = site.radius_mm, 1.0 if free else 0.35
    aside = _unit(np.cross(axis, rng.normal(size=3)))
    numbers = {
        "rough_mm": rng.uniform(0.4, 1.0) * min(1.0, radius / 8),
        "gap_mm": rng.uniform(0.4, 1.0) + severity * rng.uniform(0, 1.5),
        "shift": severity**1.5 * rng.uniform(0.2, 1.2) * radius * most,
        "angle_deg": severity * rng.uniform(0, 25) * most,
        "twist_deg": severity * rng.uniform(-15, 15) * most,
    } | _of_kind(kind, rng, radius, severity, most)
    if aside @ across > 0:
        aside = -aside  # the other way the ends would be pressed into each other
    shift = aside * min(numbers.pop("shift"), 12.0)
    rise = np.tan(np.radians(numbers.get("slope_deg", 0.0)))
    numbers["gap_mm"] += rise * float(shift @ across)  # the ends slide along the break and ride up
    return Fracture(
        kind=kind,
        severity=severity,
        center=triple(site.center),
        axis=triple(axis),
        across=triple(across),
        radius_mm=radius,
        shift_mm=triple(shift),
        fade_mm=0.0 if free else float(np.clip(0.8 * site.reach_mm[1], 12.0, 70.0)),
        seed=int(rng.integers(2**31)),
        **{name: float(value) for name, value in numbers.items()},
    )


def draw_site(rng: np.random.Generator, bones: Bones) -> Site:
    """A place to break, every bone as likely as another."""
    numbers = sorted({site.bone for site in bones.sites})
    chosen = numbers[rng.integers(len(numbers))]
    sites = [site for site in bones.sites if site.bone == chosen]
    return sites[rng.integers(len(sites))]


def _of_kind(
    kind: Kind, rng: np.random.Generator, radius: float, severity: float, most: float
) -> dict[str, float]:
    """What sets a sort of fracture apart from the others."""
    if kind == "transverse":
        return {"slope_deg": rng.uniform(0, 15)}
    if kind == "oblique":
        return {"slope_deg": rng.uniform(30, 60)}
    if kind == "spiral":
        return {"pitch_mm": radius * rng.uniform(2.5, 5.0) * rng.choice([-1, 1])}
    if kind == "comminuted":
        return {
            "slope_deg": rng.uniform(0, 30),
            "wedge_mm": radius * rng.uniform(0.7, 1.6),
            "gap_mm": rng.uniform(0.5, 1.0) + severity * rng.uniform(0, 1.0),
        }
    still = {"shift": 0.0, "twist_deg": 0.0}
    if kind == "impacted":
        deep = -(1.0 + severity * rng.uniform(0.5, 3.0))
        return still | {"slope_deg": rng.uniform(0, 25), "gap_mm": deep}
    tilt = {"angle_deg": (2 + severity * rng.uniform(4, 18)) * max(most, 0.5)}
    if kind == "greenstick":
        return still | tilt | {"slope_deg": rng.uniform(0, 10), "gap_mm": 0.0}
    bulge = {"bulge_mm": radius * rng.uniform(0.12, 0.2) * (0.5 + severity), "rough_mm": 0.0}
    return still | bulge | {"gap_mm": 0.0, "angle_deg": severity * rng.uniform(0, 8) * most}


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
