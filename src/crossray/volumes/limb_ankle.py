"""The phantom's ankle and foot: leg up (+z), toes forward (-y), left side (lateral is +x), in design mm.

The roof of the ankle joint is z = 0; the foot turns about the axis of the talar dome.
"""

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

_HINGE = (0.0, 2.0, -22.0)  # centre of the talar dome

# Bones of the midfoot in carving order: name, centre, half-widths, turn about x and z (degrees).
_MIDFOOT: tuple[tuple[str, Triple, Triple, float, float], ...] = (
    ("navicular", (-11.0, -44.0, -24.0), (18.0, 8.5, 13.0), 14.0, -8.0),
    ("cuboid", (16.0, -45.0, -43.0), (12.5, 19.5, 11.5), 12.0, 8.0),
    ("medial cuneiform", (-20.0, -60.0, -33.0), (8.0, 13.5, 14.0), 16.0, -4.0),
    ("lateral cuneiform", (2.5, -57.5, -33.0), (8.0, 13.0, 11.5), 14.0, 0.0),
    ("middle cuneiform", (-8.5, -57.0, -27.0), (7.5, 10.5, 10.5), 16.0, -2.0),
)

# Metatarsals 1 to 5: base, head, half-width of base and shaft.
_METATARSALS: tuple[tuple[Triple, Triple, float, float], ...] = (
    ((-22.0, -72.5, -37.0), (-24.0, -132.0, -62.0), 10.0, 6.6),
    ((-10.5, -67.0, -29.0), (-10.0, -139.0, -61.0), 7.4, 4.2),
    ((0.0, -69.5, -33.5), (3.0, -134.0, -63.0), 7.2, 4.0),
    ((10.5, -65.0, -39.5), (16.0, -127.0, -64.0), 7.0, 4.0),
    ((22.0, -60.0, -47.0), (30.0, -119.0, -65.0), 7.8, 4.2),
)


def ankle(rng: np.random.Generator) -> Limb:
    """A left ankle with the foot to the toes' roots; every draw from `rng` gives another person and pose."""
    child = bool(rng.random() < 0.25)
    thick = float(rng.uniform(0.92, 1.1))
    bend = float(rng.uniform(-5, 30))
    fat_mm = float(rng.uniform(2.5, 6.0))
    yaw = Frame.at(rotation=turn("z", float(rng.normal(0, 9))))
    tilt = turn("x", bend) @ turn("y", float(rng.normal(0, 3)))
    foot = yaw.then(Frame.at(_HINGE, tilt)).then(Frame.at(-np.asarray(_HINGE)))
    toes = bool(rng.random() < 0.35)
    plates = (12.0, 1.6) if child else (0.0, 0.0)
    bones = [
        _talus(foot),
        _tibia(yaw, thick, plates),
        _fibula(yaw, thick, plates),
        _calcaneus(foot, rng),
    ]
    bones += _midfoot(foot, rng)
    flesh: list[Shape] = []
    for ray in (2, 1, 3, 4, 5):
        chain, parts = _ray(ray, foot, thick, child, toes)
        bones += chain
        flesh += parts
    flesh += _leg_flesh(yaw, fat_mm) + _foot_flesh(foot)
    low = np.min([shape.bounds()[0] for shape in flesh], 0) - 6
    high = np.max([shape.bounds()[1] for shape in flesh], 0) + 6
    high[2] = float(rng.uniform(90, 120))
    return Limb(
        bones, flesh, low, high, pads=_pads(yaw, foot), cords=_cords(yaw, foot), fat_mm=fat_mm,
        cover_mm=4.0, blend_mm=10.0, rough_mm=float(rng.uniform(0.3, 0.6)), cortex_hu=float(rng.uniform(1150, 1550)),
        scale=float(rng.uniform(0.68, 0.88) if child else rng.uniform(0.9, 1.1)), mirrored=bool(rng.random() < 0.5),
    )  # fmt: skip


def _talus(frame: Frame) -> Bone:
    """Dome, neck and head, with the processes at the side and behind."""
    dome = Loft(
        (
            (-15.5, -20.0, 20.0, -20.0, 20.0),
            (0.0, -20.7, 20.7, -21.5, 21.5),
            (15.5, -20.5, 20.5, -20.5, 20.5),
        ),
        round_mm=4.0,
    )
    across = Placed(dome, Frame.at((0.0, 2.0, -21.5), turn("y", 90.0)))
    body = Cut(
        Union((across, Ellipsoid((0.5, 8.0, -22), (14.5, 19.0, 8.0))), 5.0),
        (Capsule((-40, 0, -55), (40, 12, -55), 23.0, 21.5),),
        4.0,
    )
    parts: tuple[Shape, ...] = (
        body,
        Capsule((-2, -8, -21), (-8, -26, -22), 11.5, 10.5),
        Ellipsoid((-9.5, -29.0, -23.0), (14.0, 10.5, 11.5)),
        Capsule((8, 4, -24), (18, 4, -28), 7.0, 4.0),
        Capsule((1, 14, -26), (3, 25, -27), 6.0, 3.5),
    )
    return Bone("talus", Union(parts, 5.0), frame, ((0, 1.1),), gap_mm=1.8, sponge_hu=430.0)


def _tibia(frame: Frame, thick: float, plate: tuple[float, float]) -> Bone:
    """Distal shaft, the plafond shaped by the talus, the medial malleolus."""
    t = thick
    shaft = Loft(
        (
            (-4, -22, 18, -17, 19), (6, -24, 18.5, -18.5, 19.5), (16, -23, 17.5, -18, 17.5),
            (30, -18.5 * t, 15 * t, -16, 14.5),
            (50, -14.5 * t, 12.5 * t, -14, 12.5), (85, -12.5 * t, 12 * t, -13.5, 12.5), (200, -13 * t, 12 * t, -16, 15),
        ),
        round_mm=4.0, power=3,
    )  # fmt: skip
    malleolus = Union(
        (Ellipsoid((-21.0, -3, -4), (5.5, 12.0, 13.0)), Ellipsoid((-19.0, -1, 8), (7, 14, 16))), 6.0
    )
    incisura = Capsule((29, 8, -20), (27, 7, 60), 11.0, 12.0)
    body = Cut(Union((shaft, malleolus), 5.0), (incisura,), 2.0)
    cortex = ((-4, 1.2), (8, 0.9), (22, 1.1), (40, 1.8 * t), (65, 2.8 * t), (110, 3.6 * t))
    marrow = ((18, 0.0), (38, 0.4), (60, 0.95), (90, 1.0))
    return Bone("tibia", body, frame, cortex, marrow, 3.0, (plate,) if plate[1] else (), 300.0)


def _fibula(frame: Frame, thick: float, plate: tuple[float, float]) -> Bone:
    """Shaft and the lateral malleolus, which reaches lower than the medial."""
    t = thick
    shaft = Loft(
        (
            (-27, 20.5, 28, 4, 14), (-20, 18.8, 31, -1, 18), (-8, 18, 32.5, -3.5, 20), (4, 18.5, 31.5, -3, 18.5),
            (20, 19.5, 30.0, 0, 15.5), (45, 25 - 5.5 * t, 25 + 5.2 * t, 1, 13), (90, 25 - 5.2 * t, 25 + 5.2 * t, 1, 14),
            (200, 25 - 5.5 * t, 25 + 6 * t, 3, 16),
        ),
        round_mm=5.0, power=2,
    )  # fmt: skip
    cortex = ((-20, 1.0), (5, 1.0), (20, 1.3), (45, 2.5 * t), (90, 3.0 * t))
    marrow = ((12, 0.0), (40, 0.6), (80, 0.9))
    plates = ((2.0, plate[1]),) if plate[1] else ()
    return Bone("fibula", shaft, frame, cortex, marrow, 2.2, plates, 280.0)


def _calcaneus(foot: Frame, rng: np.random.Generator) -> Bone:
    """Heel bone along its own axis (z towards the toes): tuberosity, joint facet, shelf, front process."""
    body = Loft(
        (
            (-2, -9, 9, -17, 10), (6, -12.5, 12.5, -24, 16), (18, -14, 13.5, -24, 19), (32, -13, 13, -21, 18.5),
            (44, -14, 14, -19, 19.0), (54, -14.5, 13.5, -18, 13), (66, -11, 12, -17, 8), (79, -10, 12, -16, 6),
        ),
        round_mm=6.0, power=3,
    )  # fmt: skip
    shelf = Ellipsoid((-13.5, 8.0, 53.0), (9.0, 5.0, 11.0))
    pitch = 13.0 + float(rng.normal(0, 3))
    # Own axes: z forward, y up, x to the same side as the limb's x.
    axes = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    stand = foot.then(Frame.at((4.0, 50.0, -57.0), turn("x", -pitch) @ turn("z", -5.0) @ axes))
    cortex = ((0, 1.4), (10, 0.9), (40, 1.0), (50, 1.4), (70, 0.9))
    return Bone(
        "calcaneus",
        Union((body, shelf), 4.0),
        stand,
        cortex,
        ((25, 0.0), (40, 0.35), (52, 0.0)),
        2.2,
        (),
        300.0,
    )


def _midfoot(foot: Frame, rng: np.random.Generator) -> list[Bone]:
    """Navicular, cuboid and the three cuneiforms."""
    bones = []
    for name, center, radii, pitch, yaw in _MIDFOOT:
        grown = 1 + rng.normal(0, 0.03, 3)
        stand = foot.then(Frame.at(center, turn("x", pitch) @ turn("z", yaw)))
        body = Ellipsoid((0.0, 0.0, 0.0), triple(np.multiply(radii, grown)), 3)
        bones.append(Bone(name, body, stand, ((0, 1.0),), gap_mm=1.8, sponge_hu=360.0))
    return bones


def _ray(
    ray: int, foot: Frame, thick: float, child: bool, toes: bool
) -> tuple[list[Bone], list[Shape]]:
    """A metatarsal, the first bone of its toe, and the flesh about them."""
    base, head, wide, slim = _METATARSALS[ray - 1]
    along = np.subtract(head, base)
    length = float(np.linalg.norm(along))
    stand = foot.then(Frame.at(base, _pointing(along)))
    w, s = wide * thick, slim * thick
    rows = (
        (0.0, -0.85 * w, 0.85 * w, -w, w), (0.08 * length, -w, w, -1.1 * w, 1.1 * w),
        (0.25 * length, -1.2 * s, 1.2 * s, -1.4 * s, 1.4 * s),
        (0.5 * length, -s, s, -1.1 * s, 1.1 * s), (0.75 * length, -1.1 * s, 1.1 * s, -1.2 * s, 1.2 * s),
        (0.9 * length, -0.8 * w, 0.8 * w, -0.9 * w, 0.9 * w), (length, -0.65 * w, 0.65 * w, -0.8 * w, 0.8 * w),
    )  # fmt: skip
    body: Shape = Loft(rows, round_mm=4.0)
    if ray == 5:
        body = Union((body, Capsule((3, 0, 4), (9, 0, -7), 5.5, 3.5)), 4.0)
    cortex = (
        (0, 0.9),
        (0.25 * length, 1.5),
        (0.5 * length, 2.2 * thick),
        (0.8 * length, 1.0),
        (length, 0.8),
    )
    marrow = ((0.2 * length, 0.0), (0.35 * length, 0.9), (0.7 * length, 0.9), (0.85 * length, 0.0))
    plates = ((5.5 if ray == 1 else length - 9.0, 1.3),) if child else ()
    toe = stand.then(Frame.at((0, 0, length + 1.0), turn("x", -28.0)))
    short, half = (30.0 if ray == 1 else 24.0 - ray), s * (1.15 if ray == 1 else 1.05)
    profile = ((0.0, 1.25), (0.12, 1.35), (0.5, 0.8), (0.85, 1.05), (1.0, 0.95))
    sides = tuple(
        (a * short, -half * b, half * b, -0.8 * half * b, 0.8 * half * b) for a, b in profile
    )
    phalanx = Bone(
        f"toe {ray}",
        Loft(sides, round_mm=2.5),
        toe,
        ((0, 0.9), (short / 2, 1.5), (short, 0.8)),
        gap_mm=1.8,
    )
    bones = [Bone(f"metatarsal {ray}", body, stand, cortex, marrow, 1.8, plates, 320.0)]
    flesh: list[Shape] = [
        Capsule(triple(stand.point((0, 1, 0))), triple(stand.point((0, 4, length))), 14.0, 13.0)
    ]
    if toes:
        bones.append(phalanx)
        flesh.append(
            Capsule(
                triple(stand.point((0, 3, length))),
                triple(toe.point((0, 0, short + 8.0))),
                12.5,
                8.0 + half,
            )
        )
    return bones, flesh


def _pointing(along: np.ndarray) -> np.ndarray:
    """Rotation whose z points along a direction, x stays sideways and y points down to the sole."""
    z = along / np.linalg.norm(along)
    x = np.array([1.0, 0.0, 0.0]) - z[0] * z
    x = x / np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], 1)


def _leg_flesh(leg: Frame, fat_mm: float) -> list[Shape]:
    """Lower leg: slim above the ankle, calf behind."""
    g = 0.9 * fat_mm
    outline = (
        (-30, -29, 33, -20, 24), (-8, -31 - 0.4 * g, 36 + 0.3 * g, -25 - 0.5 * g, 36),
        (15, -29 - g, 33 + g, -24 - g, 42 + g),
        (50, -27 - g, 32 + g, -23 - g, 45 + g), (90, -32 - g, 36 + g, -25 - g, 52 + g),
        (200, -45 - g, 48 + g, -28 - g, 70 + g),
    )  # fmt: skip
    a, b = leg.point((2, 8, 10)), leg.point((2, 14, 160))
    shank = Placed(Loft(outline, round_mm=8.0), leg)
    return [shank, Capsule(triple(a), triple(b), 30 + g, 42 + g)]


def _foot_flesh(foot: Frame) -> list[Shape]:
    """Heel with its pad, instep and sole."""

    def rod(a: Triple, b: Triple, r: float, s: float) -> Shape:
        return Capsule(triple(foot.point(a)), triple(foot.point(b)), r, s)

    return [
        rod((4, 38, -54), (4, 32, -68), 27, 26),
        rod((4, 34, -68), (2, 0, -62), 26, 25),
        rod((-2, 2, -30), (-6, -40, -34), 30, 24),
        rod((4, 10, -55), (8, -60, -54), 25, 20),
        rod((-8, -40, -34), (-10, -90, -46), 24, 19),
        rod((4, 40, -40), (3, 40, 10), 20, 15),
    ]


def _pads(leg: Frame, foot: Frame) -> list[Shape]:
    """Fat before the Achilles tendon, the heel's pad, the ball's pad."""
    return [
        Ellipsoid(triple(leg.point((2, 30, 12))), (13.0, 9.0, 34.0)),
        Ellipsoid(triple(foot.point((4, 34, -87))), (24.0, 26.0, 10.0)),
        Capsule(
            triple(foot.point((-22, -128, -80))), triple(foot.point((28, -116, -80))), 9.0, 8.0
        ),
    ]


def _cords(leg: Frame, foot: Frame) -> list[Shape]:
    """Achilles tendon, the extensors over the instep, the peroneals, the sole's fascia."""

    def cord(a: np.ndarray, b: np.ndarray, r: float) -> Shape:
        return Capsule(triple(a), triple(b), r, r)

    return [
        cord(foot.point((4, 54, -50)), leg.point((2, 43, 12)), 4.0),
        cord(leg.point((2, 43, 12)), leg.point((2, 38, 150)), 4.0),
        cord(leg.point((-8, -23, 20)), foot.point((-14, -50, -12)), 3.5),
        cord(leg.point((26, 24, 10)), foot.point((27, 16, -36)), 3.5),
        cord(foot.point((4, 40, -74)), foot.point((-4, -110, -74)), 3.0),
    ]
