"""The phantom's knee: femur up (+z), front -y, left side (lateral is +x), in design mm; the joint line is z = 0."""

import numpy as np

from crossray.volumes.shapes import (
    Capsule,
    Cut,
    Ellipsoid,
    Frame,
    Loft,
    Placed,
    Shape,
    Triple,
    Union,
    triple,
    turn,
)
from crossray.volumes.tissue import Bone, Limb

_HINGE = (0.0, 9.0, 21.0)  # centre of the rear condyles, about which the knee bends


def knee(rng: np.random.Generator) -> Limb:
    """A left knee from mid thigh to mid leg; every draw from `rng` gives another person and pose."""
    child = bool(rng.random() < 0.2)
    thick = float(rng.uniform(0.9, 1.12))
    wide = float(rng.uniform(0.94, 1.06))
    bend = float(rng.choice([0.0, 1.0]) * rng.uniform(5, 45))
    fat_mm = float(rng.uniform(4, 13))
    plates = (
        ((29.0, 1.6), (-15.5, 1.5)) if child and rng.random() < 0.8 else ((0.0, 0.0), (0.0, 0.0))
    )
    yaw = turn("z", float(rng.normal(0, 7)))
    lean = turn("y", float(rng.normal(0, 2)))
    hinge = Frame.at(_HINGE)
    back = Frame.at(-np.asarray(_HINGE))
    upper = (
        Frame.at(rotation=lean @ yaw)
        .then(hinge)
        .then(Frame.at(rotation=turn("x", -bend / 2)))
        .then(back)
    )
    lower = (
        Frame.at(rotation=lean @ yaw)
        .then(hinge)
        .then(Frame.at(rotation=turn("x", bend / 2)))
        .then(back)
    )
    slide = (
        Frame.at(rotation=lean @ yaw)
        .then(hinge)
        .then(Frame.at(rotation=turn("x", 0.12 * bend)))
        .then(back)
    )
    bones = [
        _femur(upper, thick, wide, plates[0]),
        _patella(slide, thick, float(rng.normal(0, 2.0)), float(rng.normal(0, 2.5))),
        _tibia(lower, thick, wide, plates[1], float(rng.uniform(3.2, 5.2))),
        _fibula(lower, thick, float(rng.normal(0, 2.5))),
    ]
    if rng.random() < 0.25:
        bones.append(
            Bone("fabella", Ellipsoid((22.0, 36.0, 30.0), (4.0, 3.0, 4.5)), upper, gap_mm=2.0)
        )
    half = rng.uniform(105, 122, 2)
    flesh = _flesh(upper, lower, slide, thick, fat_mm)
    low, high = _extent(flesh, float(half[0]), float(half[1]))
    return Limb(
        bones, flesh, low, high, pads=_pads(slide, lower), cords=_cords(slide, upper, lower), fat_mm=fat_mm,
        cover_mm=5.0, blend_mm=14.0, rough_mm=float(rng.uniform(0.3, 0.6)), cortex_hu=float(rng.uniform(1200, 1600)),
        scale=float(rng.uniform(0.7, 0.88) if child else rng.uniform(0.9, 1.1)), mirrored=bool(rng.random() < 0.5),
    )  # fmt: skip


def _femur(frame: Frame, thick: float, wide: float, plate: tuple[float, float]) -> Bone:
    """Shaft, two condyles with the notch between them, and the groove for the patella."""
    t, w = thick, wide
    shaft = Loft(
        (
            (24, -36 * w, 36 * w, -24, 16), (34, -37.5 * w, 36 * w, -23, 14), (46, -33.5 * w, 33 * w, -22.5, 10.5),
            (62, -27 * w, 28 * w, -22, 8.5), (84, -19.5 * t, 23 * t, -21.5, 9.0), (115, -15.5 * t, 21 * t, -22, 10.5),
            (180, -12 * t, 20 * t, -24, 8),
        ),
        round_mm=8.0, power=2,
    )  # fmt: skip
    barrel = Loft(
        ((-13.2, -20.5, 20.5, -20.5, 20.5), (13.2, -20.5, 20.5, -20.5, 20.5)), round_mm=10.0
    )
    condyles: list[Shape] = []
    for x, deeper in ((-23.5 * w, 0.8), (23.0 * w, 0.0)):
        condyles += [
            Placed(barrel, Frame.at((1.03 * x, 12.5, 20.8 - deeper), turn("y", 90.0))),
            Ellipsoid((0.98 * x, -6.0, 22.0), (16.0, 24.5, 22.0), 2),
            Ellipsoid((1.14 * x, 4.0, 28.0), (13.0, 16.0, 17.0), 2),
        ]
    trochlea = Ellipsoid((0.0, -9.0, 21.0), (26.0, 21.0, 15.0), 2)
    body = Union((shaft, *condyles, trochlea), 7.0)
    notch = Ellipsoid((0.0, 19.0, 3.0), (11.0 * w, 25.0, 22.0), 2)
    groove = Capsule((0.0, -38.0, 50.0), (0.0, -37.0, 8.0), 7.0, 9.0)
    cortex = ((4, 1.1), (30, 1.0), (52, 1.3), (72, 2.2 * t), (100, 3.3 * t), (140, 4.5 * t))
    marrow = ((35, 0.0), (60, 0.4), (85, 0.9), (110, 1.0))
    plates = (plate,) if plate[1] else ()
    return Bone("femur", Cut(body, (notch, groove), 4.0), frame, cortex, marrow, 2.0, plates, 270.0)


def _patella(frame: Frame, thick: float, up: float, aside: float) -> Bone:
    """The kneecap, its back shaped by the groove."""
    body = Union(
        (
            Ellipsoid((0.0, 0.0, 2.0), (21.5 * thick, 10.5, 17.0), 2),
            Ellipsoid((0.0, -1.5, -9.0), (11.0, 7.0, 11.5), 2),
            Ellipsoid((0.0, 4.0, 2.0), (17.0, 10.0, 13.0), 2),
        ),
        5.0,
    )
    place = frame.then(Frame.at((1.5 + aside, -40.5, 27.0 + up), turn("x", -6.0)))
    return Bone("patella", body, place, ((0, 1.3),), gap_mm=3.4, sponge_hu=300.0)


def _tibia(
    frame: Frame, thick: float, wide: float, plate: tuple[float, float], gap_mm: float
) -> Bone:
    """Plateau with its spines, tuberosity in front, triangular shaft."""
    t, w = thick, wide
    shaft = Loft(
        (
            (-190, -12.5 * t, 10.5 * t, -13, 13),
            (-110, -14.5 * t, 13 * t, -17, 13), (-75, -16.5 * t, 15.5 * t, -19, 13),
            (-52, -20 * t, 19 * t, -21, 13), (-34, -27 * w, 27.5 * w, -23, 17.5), (-18, -35 * w, 35 * w, -22, 24),
            (-8, -37.5 * w, 37.5 * w, -21, 27), (-0.5, -37 * w, 37 * w, -20, 26),
        ),
        round_mm=6.0, upper=(0.0, -0.10), power=3, wedge=0.0,
    )  # fmt: skip
    ridge = Union(
        (
            Capsule((1, -15, -32), (-1, -13, -75), 9.5, 6.5),
            Capsule((-1, -13, -75), (-2, -10, -190), 6.5, 6.0),
        ),
        3.0,
    )
    tuberosity = Ellipsoid((2.0, -20.0, -33.0), (9.5, 7.5, 15.0))
    spines = [
        Capsule((-6.0, 6.0, -5.0), (-4.5, 7.0, 8.5), 5.5, 1.3),
        Capsule((6.5, 8.0, -5.0), (5.0, 9.0, 7.0), 5.5, 1.3),
    ]
    body = Union((shaft, ridge, tuberosity, *spines), 5.0)
    dishes = (
        Ellipsoid((-24.0, 4.0, 17.5), (17.0, 34.0, 19.0)),
        Ellipsoid((24.0, 4.0, 20.5), (16.0, 40.0, 20.8)),
    )
    cortex = (
        (-150, 4.6 * t),
        (-100, 3.6 * t),
        (-65, 2.4 * t),
        (-42, 1.5),
        (-20, 1.0),
        (-4, 1.3),
        (2, 1.5),
    )
    marrow = ((-100, 1.0), (-72, 0.95), (-50, 0.4), (-30, 0.0))
    plates = (plate,) if plate[1] else ()
    return Bone("tibia", Cut(body, dishes, 2.5), frame, cortex, marrow, gap_mm, plates, 250.0)


def _fibula(frame: Frame, thick: float, up: float) -> Bone:
    """Head below the plateau, behind and lateral; slim shaft."""
    t = thick
    shaft = Loft(
        (
            (-190, 24 - 6 * t, 24 + 6.5 * t, 14, 14 + 13 * t), (-80, 29 - 5.5 * t, 29 + 6 * t, 13, 13 + 12 * t),
            (-48, 31 - 5 * t, 31 + 5.5 * t, 13.5, 13.5 + 11 * t), (-34, 33 - 6.5 * t, 33 + 7 * t, 12, 12 + 14 * t),
            (-22, 34 - 10 * t, 34 + 9.5 * t, 9, 9 + 21 * t), (-11, 35 - 8 * t, 35 + 7 * t, 11, 11 + 18 * t),
        ),
        round_mm=5.0, upper=(0.35, 0.3), power=2,
    )  # fmt: skip
    cortex = ((-100, 2.8 * t), (-50, 2.2 * t), (-34, 1.1), (-15, 0.9))
    marrow = ((-90, 0.9), (-50, 0.6), (-30, 0.0))
    return Bone("fibula", shaft, frame.then(Frame.at((0, 0, up))), cortex, marrow, 2.0, (), 260.0)


def _flesh(upper: Frame, lower: Frame, slide: Frame, thick: float, fat_mm: float) -> list[Shape]:
    """Thigh, knee and calf under the skin, as rods along the bones."""
    plump = thick * (0.93 + 0.012 * fat_mm)

    def rod(frame: Frame, a: Triple, b: Triple, r: float, s: float, flat: float = 1.0) -> Shape:
        return Capsule(triple(frame.point(a)), triple(frame.point(b)), r * plump, s * plump, flat)

    return [
        rod(upper, (0, 2, 20), (0, 12, 200), 50, 78),
        rod(upper, (-24, 14, 15), (-20, 22, 120), 28, 42),
        rod(upper, (24, 12, 15), (24, 14, 120), 28, 40),
        rod(lower, (0, 4, 12), (2, 14, -70), 47, 46),
        rod(lower, (2, 14, -70), (2, 18, -200), 46, 46),
        rod(lower, (-14, 26, -20), (-14, 34, -110), 25, 34),
        rod(lower, (16, 24, -20), (16, 32, -100), 25, 31),
        rod(lower, (0, -18, -30), (-2, -12, -120), 22, 20),
        rod(slide, (0, -34, 36), (0, -32, 14), 21, 20),
    ]


def _pads(slide: Frame, lower: Frame) -> list[Shape]:
    """Hoffa's fat pad below the kneecap, fat above it, and the hollow of the knee."""
    return [
        Ellipsoid(triple(slide.point((0, -31, 5))), (17.0, 11.0, 15.0)),
        Ellipsoid(triple(slide.point((0, -30, 54))), (11.0, 5.0, 11.0)),
        Ellipsoid(triple(lower.point((2, 42, 34))), (16.0, 14.0, 34.0)),
    ]


def _cords(slide: Frame, upper: Frame, lower: Frame) -> list[Shape]:
    """Tendons above and below the kneecap, cruciate ligaments, hamstring tendons."""

    def cord(a: np.ndarray, b: np.ndarray, r: float) -> Shape:
        return Capsule(triple(a), triple(b), r, r)

    top, tip = slide.point((1, -45, 42)), slide.point((1, -46, 10))
    return [
        cord(top, upper.point((3, -34, 110)), 6.0),
        cord(tip, lower.point((2, -27, -32)), 4.0),
        cord(upper.point((8, 16, 14)), lower.point((-2, -6, -2)), 4.5),
        cord(upper.point((-26, 38, 60)), lower.point((-30, 14, -30)), 4.0),
        cord(upper.point((32, 30, 60)), lower.point((35, 18, -18)), 4.5),
    ]


def _extent(flesh: list[Shape], down: float, up: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the volume: all flesh between the two cut faces, with room for air beside it."""
    low, high = np.array([1e3, 1e3, -down]), np.array([-1e3, -1e3, up])
    for shape in flesh:
        if not isinstance(shape, Capsule):
            continue
        for share in np.linspace(0, 1, 41):
            center = np.asarray(shape.start) + share * np.subtract(shape.end, shape.start)
            if -down - 5 <= center[2] <= up + 5:
                reach = shape.start_radius + share * (shape.end_radius - shape.start_radius) + 6.0
                low[:2], high[:2] = (
                    np.minimum(low[:2], center[:2] - reach),
                    np.maximum(high[:2], center[:2] + reach),
                )
    return low, high
