"""The phantom's hand and wrist: fingers up (+z), palm forward (-y), thumb to -x, in design mm."""

from dataclasses import dataclass

import numpy as np

from crossray.volumes.shapes import (
    Capsule,
    Cut,
    Ellipsoid,
    Frame,
    Loft,
    Shape,
    Triple,
    Union,
    triple,
    turn,
)
from crossray.volumes.tissue import Bone, Limb

# Rays 1 (thumb) to 5: place of the metacarpal's base, its fan angle in the palm, lengths of its bones (mm).
_RAYS: tuple[tuple[Triple, float, tuple[float, ...]], ...] = (
    ((-25.0, -9.0, 30.0), 38.0, (45.0, 31.0, 23.0)),
    ((-13.5, 0.0, 32.0), 8.0, (67.0, 41.0, 24.0, 17.0)),
    ((-2.0, 2.0, 33.5), 0.0, (64.0, 45.0, 28.5, 18.0)),
    ((8.0, 1.0, 32.0), -7.0, (57.0, 42.0, 27.0, 18.0)),
    ((16.5, -1.5, 29.5), -15.0, (53.0, 33.5, 19.0, 16.5)),
)

# Half-widths along a bone of unit length: (share of the length, across x, palmar -y, dorsal +y), for a unit base width.
_Profile = tuple[tuple[float, float, float, float], ...]
_METACARPAL: _Profile = (
    (0.0, 5.9, 6.2, 6.4), (0.07, 6.9, 6.6, 6.8), (0.17, 6.0, 5.2, 6.0), (0.32, 4.5, 3.2, 5.6), (0.5, 3.9, 2.8, 5.6),
    (0.7, 4.4, 3.8, 4.8), (0.83, 6.2, 6.4, 5.0), (0.91, 7.3, 7.6, 5.4), (1.0, 4.6, 5.4, 4.4),
)  # fmt: skip
_PROXIMAL: _Profile = (
    (0.0, 6.9, 5.2, 5.4), (0.08, 7.5, 5.7, 5.5), (0.2, 5.9, 3.9, 4.6), (0.45, 4.5, 2.4, 4.4), (0.68, 4.2, 2.6, 3.8),
    (0.82, 4.9, 3.7, 3.4), (0.92, 5.7, 4.8, 3.2), (1.0, 5.2, 4.4, 3.0),
)  # fmt: skip
_MIDDLE: _Profile = (
    (0.0, 6.1, 4.3, 4.4), (0.1, 6.5, 4.6, 4.5), (0.28, 4.6, 2.8, 3.8), (0.55, 3.6, 2.0, 3.4), (0.75, 3.9, 2.6, 2.9),
    (0.91, 4.9, 3.7, 2.6), (1.0, 4.5, 3.4, 2.4),
)  # fmt: skip
_DISTAL: _Profile = (
    (0.0, 5.0, 3.0, 3.3), (0.12, 5.3, 3.2, 3.3), (0.35, 3.2, 2.0, 2.4), (0.6, 2.3, 1.6, 1.8), (0.8, 3.3, 1.6, 1.6),
    (0.9, 3.9, 1.5, 1.5), (1.0, 2.8, 1.2, 1.2),
)  # fmt: skip

# Carpals in carving order: centre, half-widths, power, turn about y (degrees; positive leans the top to +x).
_CARPALS: tuple[tuple[str, Triple, Triple, int, float], ...] = (
    ("capitate", (-0.5, 0.5, 22.6), (7.4, 8.4, 11.0), 3, -4.0),
    ("hamate", (10.5, 0.5, 22.6), (7.6, 8.0, 9.6), 3, 14.0),
    ("trapezoid", (-11.0, 0.5, 25.0), (6.2, 7.6, 6.8), 3, -10.0),
    ("trapezium", (-20.5, -5.5, 23.5), (7.6, 7.2, 7.4), 3, -30.0),
    ("scaphoid", (-13.0, -2.0, 11.8), (7.8, 7.0, 12.4), 2, -38.0),
    ("lunate", (1.2, -0.5, 7.4), (8.8, 9.2, 7.8), 2, 8.0),
    ("triquetrum", (14.0, 1.5, 10.5), (7.2, 6.6, 7.6), 3, 30.0),
    ("pisiform", (15.0, -9.5, 10.5), (4.8, 4.4, 5.6), 2, 0.0),
)


@dataclass(frozen=True)
class _Habit:
    """What one person's hand is like and how it is held; lengths are relative to the design, angles in degrees."""

    thick: float
    child: bool
    growth: float
    spread: float
    curl: np.ndarray
    deviation: float
    extension: float
    fat_mm: float


def hand(rng: np.random.Generator) -> Limb:
    """A left hand with wrist and distal forearm; every draw from `rng` gives another person and pose."""
    child = bool(rng.random() < 0.4)
    growth = float(rng.uniform(0.0, 1.0))
    flat = rng.random() < 0.6
    habit = _Habit(
        thick=float(rng.uniform(0.88, 1.14)),
        child=child,
        growth=growth,
        spread=float(rng.uniform(-0.3, 1.0)),
        curl=rng.uniform(2, 10, 4) if flat else rng.uniform(5, 38) + rng.uniform(-4, 14, 4),
        deviation=float(rng.normal(0, 6)),
        extension=float(rng.normal(0, 9)),
        fat_mm=float(rng.uniform(1.5, 4.0)),
    )
    shift = rng.normal(0, 0.5, (len(_CARPALS), 3))
    swell = 1 + rng.normal(0, 0.04, (len(_CARPALS), 3))
    thumb = rng.uniform((-8, -12, -10), (14, 14, 20))
    lengths = 1 + rng.normal(0, 0.035, (5, 4))
    wrist = Frame.at((0, 0, 0), turn("x", habit.extension) @ turn("y", habit.deviation))
    bones = _carpals(wrist, habit, shift, swell) + _forearm(habit, rng)
    flesh: list[Shape] = []
    for ray in (3, 2, 4, 5, 1):
        chain, parts = _ray(ray, wrist, habit, lengths[ray - 1], thumb)
        bones += chain
        flesh += parts
    flesh += _palm(wrist, habit)
    low = np.min([shape.bounds()[0] for shape in flesh], 0) - (6, 6, 0)
    high = np.max([shape.bounds()[1] for shape in flesh], 0) + 6
    low[2] = -float(rng.uniform(50, 135 if child else 95))
    scale = float(0.58 + 0.34 * growth) if child else float(rng.uniform(0.9, 1.1))
    return Limb(
        bones, flesh, low, high, cords=_tendons(wrist), fat_mm=habit.fat_mm, cover_mm=3.0, blend_mm=7.0,
        rough_mm=float(rng.uniform(0.2, 0.4)),
        cortex_hu=float(rng.uniform(1050, 1300) if child else rng.uniform(1200, 1600)),
        scale=scale, mirrored=bool(rng.random() < 0.5),
    )  # fmt: skip


def _carpals(wrist: Frame, habit: _Habit, shift: np.ndarray, swell: np.ndarray) -> list[Bone]:
    """The eight wrist bones; in children their rim is still cartilage, so they stand apart."""
    shrink = 2.6 * (1 - habit.growth) if habit.child else 0.0
    bones = []
    for (name, center, radii, power, lean), move, grow in zip(_CARPALS, shift, swell, strict=True):
        body: Shape = Ellipsoid((0.0, 0.0, 0.0), triple(np.multiply(radii, grow) + 0.5), power)
        if name == "hamate":
            body = Union((body, Capsule((0, -4, -3), (-1, -11.5, -1), 3.2, 2.6)), 2.0)
        if name == "scaphoid":
            body = Union((body, Ellipsoid((0, -3.0, 7.5), (6.0, 6.4, 6.0))), 4.0)
        frame = wrist.then(Frame.at(np.add(center, move), turn("y", lean)))
        bones.append(
            Bone(name, body, frame, ((0, 0.9),), gap_mm=1.7, sponge_hu=380.0, shrink_mm=shrink)
        )
    return bones


def _forearm(habit: _Habit, rng: np.random.Generator) -> list[Bone]:
    """Distal radius with its styloid and the tilted joint face, and the ulna with its head and styloid."""
    t = habit.thick
    turned = turn("y", float(rng.normal(0, 1.5)))
    variance = float(rng.normal(-0.5, 1.2))
    cortex = ((-70, 2.9 * t), (-40, 2.3 * t), (-24, 1.4), (-12, 0.8), (0, 0.9))
    marrow = ((-60, 1.0), (-38, 0.9), (-20, 0.15), (-8, 0.0))
    radius = Loft(
        (
            (-160, -11 - 1.5 * t, -3 + 6.5 * t, -6.5 * t, 6.5 * t),
            (-100, -14 - 1.5 * t, -6 + 6.5 * t, -6.5 * t, 6.0 * t),
            (-60, -15 - 1.5 * t, -8 + 6.0 * t, -6.5 * t, 6.5 * t),
            (-38, -17.5 - 1.5 * t, -8 + 7.5 * t, -7.5 * t, 7.5 * t), (-22, -20.5 - 2 * t, -5 + 8 * t, -10 * t, 9 * t),
            (-10, -22 - 3 * t, -2 + 8 * t, -11.5 * t, 10.5 * t), (-2, -22 - 3 * t, -2 + 8.5 * t, -11 * t, 10.5 * t),
            (6, -21.5 - 3 * t, -3 + 8 * t, -10 * t, 9.5 * t),
        ),
        round_mm=3.5, upper=(-0.36, 0.16), power=3,
    )  # fmt: skip
    ulna = Union(
        (
            Loft(
                (
                    (-160, 8.5, 8.5 + 13 * t, -5 * t, 8.5 * t),
                    (-100, 8.5, 8.5 + 12 * t, -6 * t, 6.5 * t), (-55, 11, 10.5 + 11.5 * t, -5.8 * t, 6 * t),
                    (-28, 12.2, 11.5 + 11.0 * t, -5.2 * t, 5.8 * t), (-14, 11.8, 11.5 + 12.5 * t, -5.8 * t, 6.6 * t),
                    (-5, 9.4, 11.0 + 14.5 * t, -7.0 * t, 8.0 * t), (0, 9.6, 10.5 + 14.5 * t, -6.8 * t, 7.6 * t),
                ),
                round_mm=3.0,
            ),
            Capsule((20.5, 4.5, -3), (22.5, 5.0, 4.0), 2.8, 1.9),
        ),
        2.0,
    )  # fmt: skip
    width = float(rng.uniform(1.0, 2.0)) if habit.child else 0.0
    late = habit.child and habit.growth > 0.15
    below = Frame.at((0, 0, variance - 1.0), turned)
    common = {"cortex": cortex, "marrow": marrow, "gap_mm": 1.9, "sponge_hu": 300.0}
    return [
        Bone(
            "radius",
            radius,
            Frame.at((0, 0, -0.5), turned),
            plates=((-8.5, width),) if habit.child else (),
            **common,
        ),
        Bone("ulna", ulna, below, plates=((-6.5, width),) if late else (), **common),
    ]


def _ray(
    ray: int, wrist: Frame, habit: _Habit, stretch: np.ndarray, thumb: np.ndarray
) -> tuple[list[Bone], list[Shape]]:
    """The bones of one ray, metacarpal to fingertip, and the flesh about them."""
    base, fan, lengths = _RAYS[ray - 1]
    frame = wrist.then(Frame.at(base, _ray_turn(ray, fan, thumb)))
    bones, flesh = [], []
    for index, (design, longer) in enumerate(zip(lengths, stretch[: len(lengths)], strict=True)):
        length = design * float(longer)
        bones.append(_phalanx(ray, index, length, frame, habit))
        flesh.append(_finger_flesh(ray, index, length, frame))
        if index == 0:
            flesh.append(_web(ray, lengths[1], length, frame, habit))
        bend = (
            habit.curl[index if ray > 1 else 0]
            * (1.0, 1.1, 0.7, 0)[index]
            * (0.5 if ray == 1 else 1.0)
        )
        side = (0.0, -6.0, 0.0, 6.0, 12.0)[ray - 1] * habit.spread if index == 0 else 0.0
        frame = frame.then(Frame.at((0, 0, length + 0.6), turn("x", bend) @ turn("y", side)))
    if ray == 1:
        tip = bones[0].frame
        bones += [_sesamoid(tip.then(Frame.at((x, -10.0, lengths[0] - 2.0)))) for x in (-4.0, 4.0)]
    return bones, flesh


def _ray_turn(ray: int, fan: float, thumb: np.ndarray) -> np.ndarray:
    """Direction of a metacarpal: spread over the palm; the thumb stands off and turns its side to the palm."""
    if ray == 1:
        return turn("y", -fan - thumb[0]) @ turn("x", 18 + thumb[1]) @ turn("z", -50 + thumb[2])
    return turn("y", -fan) @ turn("x", (0, 1.0, 0.0, 1.5, 3.0)[ray - 1])


def _phalanx(ray: int, index: int, length: float, frame: Frame, habit: _Habit) -> Bone:
    """One tubular bone of a ray."""
    last = index == (2 if ray == 1 else 3)
    kind = 3 if last else index
    profile = (_METACARPAL, _PROXIMAL, _MIDDLE, _DISTAL)[kind]
    width = (
        habit.thick * (1.0, 1.06, 1.08, 0.94, 0.88)[ray - 1] * (1.12 if ray == 1 and index else 1.0)
    )
    rows = tuple(
        (s * length, -x * width, x * width, -p * width, d * width) for s, x, p, d in profile
    )
    body: Shape = Loft(rows, round_mm=(5.5, 3.0, 2.6, 1.6)[kind], power=2 if index == 0 else 3)
    if kind in (1, 2):
        body = Cut(body, (Capsule((0, -12, length + 2.0), (0, 9, length + 2.0), 2.6, 2.6),), 2.5)
    shaft = (1.9, 1.6, 1.3, 0.8)[kind] * habit.thick
    cortex = (
        (0, 0.7),
        (0.18 * length, 0.9),
        (0.45 * length, shaft),
        (0.7 * length, 0.85 * shaft),
        (length, 0.7),
    )
    hollow = (1.0, 0.85, 0.6, 0.0)[kind]
    marrow = (
        (0.15 * length, 0.0),
        (0.35 * length, hollow),
        (0.65 * length, hollow),
        (0.85 * length, 0.0),
    )
    plates: tuple[tuple[float, float], ...] = ()
    if habit.child and habit.growth < 0.93:
        distal = index == 0 and ray > 1
        plates = ((length - 9.0 if distal else 4.6, 1.5 - 0.7 * habit.growth),)
    return Bone(f"ray{ray}.{index}", body, frame, cortex, marrow, 1.5, plates, 340.0)


def _sesamoid(frame: Frame) -> Bone:
    """A pea under the thumb's joint."""
    return Bone("sesamoid", Ellipsoid((0, 0, 0), (2.4, 2.0, 2.8)), frame, ((0, 0.7),), gap_mm=1.0)


def _finger_flesh(ray: int, index: int, length: float, frame: Frame) -> Shape:
    """The soft rod about one bone of a ray; slightly palmar of it."""
    last = index == (2 if ray == 1 else 3)
    width = (1.12, 1.0, 1.03, 0.97, 0.86)[ray - 1]
    start, end = ((11.0, 11.5), (10.0, 9.2), (9.2, 8.2), (8.0, 7.0))[3 if last else index]
    reach = length + 1.0 if last else length
    a, b = frame.point((0, -2.0, 0)), frame.point((0, -1.2, reach))
    return Capsule(triple(a), triple(b), start * width, end * width)


def _web(ray: int, proximal: float, length: float, frame: Frame, habit: _Habit) -> Shape:
    """Flesh that carries the palm over the knuckle to the fingers' webs."""
    a, b = (
        frame.point((0, -4, 0.3 * length)),
        frame.point((0, -4, length + (0.0 if ray == 1 else 0.3 * proximal))),
    )
    return Capsule(triple(a), triple(b), 11.0, 10.0 if ray > 1 else 11.5, 0.95)


def _palm(wrist: Frame, habit: _Habit) -> list[Shape]:
    """Thenar and hypothenar eminences, the wrist and the forearm."""

    def rod(a: Triple, b: Triple, r: float, s: float) -> Shape:
        return Capsule(triple(wrist.point(a)), triple(wrist.point(b)), r, s)

    slim = 1.0 + 0.03 * habit.fat_mm
    forearm = Loft(
        (
            (-160, -38 * slim, 38 * slim, -33 * slim, 29 * slim),
            (-100, -32 * slim, 33 * slim, -26 * slim, 23 * slim), (-60, -29 * slim, 30 * slim, -22 * slim, 20 * slim),
            (-25, -29, 27, -19, 17), (0, -28, 27, -18, 16), (16, -26, 25, -18, 14),
        ),
        round_mm=6.0,
    )  # fmt: skip
    return [
        rod((-16, -11, 22), (-26, -17, 58), 13.0, 11.0),
        rod((15, -9, 16), (19, -9, 70), 12.5, 12.0),
        rod((-4, -6, 20), (-3, -5, 85), 14.0, 13.0),
        forearm,
    ]


def _tendons(wrist: Frame) -> list[Shape]:
    """Flexor and extensor tendons along wrist and palm."""
    cords = []
    for x, y in ((-9, -13), (0, -14), (6, -14), (-8, 12), (2, 13), (12, 11)):
        cords.append(Capsule((1.1 * x, y - 1, -140.0), triple(wrist.point((x, y, 4.0))), 3.0, 2.4))
        cords.append(
            Capsule(
                triple(wrist.point((x, y, 4.0))),
                triple(wrist.point((2.2 * x, y + (-2), 75.0))),
                2.4,
                2.0,
            )
        )
    return cords
