"""Named projections: where the beam comes from, which way up the film hangs, and how far off it is taken."""

import math

import numpy as np
import pytest
import torch

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.geometry.projections import PROJECTIONS, RAISED, named_cameras

MIRROR = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
S = math.sqrt(0.5)


def sine(degrees: float) -> float:
    return math.sin(math.radians(degrees))


# Of a left limb in the anatomical position (left +x, back +y, head +z): the beam, and what is up in the image.
BY_HAND = {
    "hand:pa": ((0, -1, 0), (0, 0, -1)),
    "hand:oblique": ((-S, -S, 0), (0, 0, -1)),
    "hand:lateral": ((-1, 0, 0), (0, 0, -1)),
    "wrist:pa": ((0, -1, 0), (0, 0, -1)),
    "wrist:oblique": ((-S, -S, 0), (0, 0, -1)),
    "wrist:lateral": ((-1, 0, 0), (0, 0, -1)),
    "elbow:ap": ((0, 1, 0), (0, 0, 1)),
    "elbow:lateral": ((-1, 0, 0), (0, 0, 1)),
    "knee:ap": ((0, 1, 0), (0, 0, 1)),
    "knee:lateral": ((sine(85), 0, sine(5)), (-sine(5), 0, sine(85))),
    "knee:sunrise": ((0, sine(12), sine(78)), (0, -sine(78), sine(12))),
    "ankle:ap": ((0, 1, 0), (0, 0, 1)),
    "ankle:mortise": ((-sine(17.5), sine(72.5), 0), (0, 0, 1)),
    "ankle:lateral": ((1, 0, 0), (0, 0, 1)),
    "foot:ap": ((0, sine(10), -sine(80)), (0, -sine(80), -sine(10))),
    "foot:oblique": ((-sine(35), 0, -sine(55)), (0, -1, 0)),
    "foot:lateral": ((1, 0, 0), (0, 0, 1)),
}

# Where a radiologist looks for a bead: on the right (+) or left (-) of a left limb's film, or at its top.
OUTER, INNER, FRONT, BACK = (30, 0, 0), (-30, 0, 0), (0, -30, 0), (0, 30, 0)
PROXIMAL, DISTAL = (0, 0, 30), (0, 0, -30)
ON_THE_RIGHT = {
    "hand:pa": OUTER, "hand:oblique": OUTER, "hand:lateral": FRONT,  # the thumb; the palm
    "wrist:pa": OUTER, "wrist:oblique": OUTER, "wrist:lateral": FRONT,
    "elbow:ap": OUTER, "elbow:lateral": BACK,  # the radius; the olecranon
    "knee:ap": OUTER, "knee:lateral": FRONT, "knee:sunrise": OUTER,  # the fibula; the patella
    "ankle:ap": OUTER, "ankle:mortise": OUTER, "ankle:lateral": FRONT,  # the fibula; the toes
    "foot:ap": INNER, "foot:oblique": INNER, "foot:lateral": FRONT,  # the great toe
}  # fmt: skip
AT_THE_TOP = {
    name: DISTAL if name.startswith(("hand", "wrist")) else PROXIMAL for name in PROJECTIONS
} | {"knee:sunrise": FRONT, "foot:ap": FRONT, "foot:oblique": FRONT}


def beam_of(cameras: Cameras) -> torch.Tensor:
    """Unit vectors from the source at right angles to the detector."""
    normal = torch.linalg.cross(cameras.column_step, cameras.row_step)
    towards = ((cameras.first_pixel - cameras.source) * normal).sum(1, keepdim=True).sign()
    return normal * towards / normal.norm(dim=1, keepdim=True)


def place(cameras: Cameras, bead: tuple[float, ...]) -> tuple[float, float]:
    """Rows above and columns to the right of the film's middle."""
    row, column = cameras.project_points(torch.tensor([bead], dtype=torch.float64))[0, 0].tolist()
    rows, columns = cameras.size
    return (rows - 1) / 2 - row, column - (columns - 1) / 2


def test_every_projection_is_checked_here():
    assert set(PROJECTIONS) == set(BY_HAND) == set(ON_THE_RIGHT) == set(AT_THE_TOP)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", PROJECTIONS)
def test_beam_and_film_by_hand(name: str, side: str):
    camera = named_cameras([name], side, size=(40, 50))
    beam, up = (torch.tensor(v, dtype=torch.float64) for v in BY_HAND[name])
    if side == "right":
        beam, up = MIRROR * beam, MIRROR * up
    torch.testing.assert_close(beam_of(camera)[0], beam, atol=1e-12, rtol=0)
    steps = -camera.row_step[0], camera.column_step[0]
    right = torch.linalg.cross(beam, up)  # as the source sees it
    for step, direction in zip(steps, (up, right), strict=True):
        torch.testing.assert_close(step / step.norm(), direction, atol=1e-12, rtol=0)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", PROJECTIONS)
def test_beads_lie_where_a_radiologist_expects_them(name: str, side: str):
    camera = named_cameras([name], side)
    outwards = 1 if side == "left" else -1

    def bead(at: tuple[float, float, float]) -> tuple[float, float, float]:
        return outwards * at[0], at[1], at[2]

    up, _ = place(camera, bead(AT_THE_TOP[name]))
    assert up > 20
    _, right = place(camera, bead(ON_THE_RIGHT[name]))
    assert outwards * right > 20
    assert place(camera, (0, 0, 0)) == pytest.approx((0, 0), abs=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_mortise_brings_the_malleoli_level(side):
    """The lateral malleolus lies behind the medial one; turned inwards, both are equally far from the detector."""
    camera = named_cameras(["ankle:mortise"], side)
    outwards = 1 if side == "left" else -1
    lateral = torch.tensor([outwards * 30 * sine(72.5), 30 * sine(17.5), 0], dtype=torch.float64)
    assert float(beam_of(camera)[0] @ lateral) == pytest.approx(0, abs=1e-9)
    straight = named_cameras(["ankle:ap"], side)
    assert float(beam_of(straight)[0] @ lateral) == pytest.approx(30 * sine(17.5))


@pytest.mark.parametrize("side", ["left", "right"])
def test_obliques_lift_the_lateral_side(side):
    cameras = named_cameras(["hand:oblique", "wrist:oblique", "foot:oblique"], side)
    lateral = torch.tensor([1.0 if side == "left" else -1.0, 0, 0], dtype=torch.float64)
    lifts = (beam_of(cameras) @ lateral).tolist()
    assert lifts == pytest.approx([-sine(45), -sine(45), -sine(35)])


def test_what_lies_on_the_detector_is_magnified_least():
    """In a lateral wrist the ulnar side lies on the detector; in a lateral ankle the outer side does."""
    for name, near, far in (("wrist:lateral", INNER, OUTER), ("ankle:lateral", OUTER, INNER)):
        camera = named_cameras([name], "left")
        spread = [place(camera, (at[0], -10, 0))[1] for at in (near, far)]
        assert 0 < spread[0] < spread[1]


def test_field_and_distances():
    camera = named_cameras(["knee:ap"], "left", (10, 20, 30), size=(100, 50))
    assert camera.size == (100, 50)
    assert camera.source[0].tolist() == pytest.approx((10, 20 - 890, 30))
    # 280 mm at the isocentre are 280 * 1000 / 890 on the detector, 100 pixels long.
    assert camera.row_step[0].tolist() == pytest.approx((0, 0, -2.8 * 1000 / 890))
    closer = named_cameras(["knee:ap"], "left", size=(100, 50), field_mm=140)
    assert closer.row_step[0].tolist() == pytest.approx((0, 0, -1.4 * 1000 / 890))


def test_a_raised_hand_gives_the_same_film():
    """Fingers up in the world, like the phantom's: the thumb of a left hand then lies at -x."""
    bead = torch.tensor([13.0, -7, -40], dtype=torch.float64)
    hanging = named_cameras(["hand:pa", "hand:oblique"], "left")
    raised = named_cameras(["hand:pa", "hand:oblique"], "left", world_from_limb=RAISED)
    torch.testing.assert_close(
        raised.project_points((RAISED @ bead)[None]), hanging.project_points(bead[None])
    )
    assert place(raised[0], (-30, 0, 0))[1] > 20, "the thumb on the right"
    assert place(raised[0], (0, 0, 30))[0] > 20, "fingers up"


def test_errors_have_the_spread_they_say():
    many = named_cameras(["knee:ap"] * 250, "left", rng=np.random.default_rng(1))
    errors = PROJECTIONS["knee:ap"].errors
    beams = beam_of(many)
    found = {
        "turn_deg": beams[:, 0].asin().rad2deg(),
        "tilt_deg": beams[:, 2].asin().rad2deg(),
        "roll_deg": (many.column_step[:, 2] / many.column_step.norm(dim=1)).asin().rad2deg(),
        "distance_mm": many.source.norm(dim=1),
    }
    per_mm = 512 / 280
    places = [place(many[view], (0, 0, 0)) for view in range(len(many))]
    found["center_mm"] = torch.tensor(places).flatten() / per_mm
    for name, values in found.items():  # a standard deviation of 250 draws is 4 % off
        assert float(values.std()) == pytest.approx(getattr(errors, name), rel=0.15), name
    assert float(found["distance_mm"].mean()) == pytest.approx(890, abs=5)


def test_the_same_seed_gives_the_same_cameras():
    one, again = (
        named_cameras(["foot:ap"], "left", rng=np.random.default_rng(3)) for _ in range(2)
    )
    assert torch.equal(one.first_pixel, again.first_pixel)
    assert not torch.equal(one.first_pixel, named_cameras(["foot:ap"], "left").first_pixel)


def test_what_is_no_projection_is_refused():
    with pytest.raises(InputError, match=r"knee:pa is no projection; choose from hand:pa"):
        named_cameras(["knee:ap", "knee:pa"], "left")
    with pytest.raises(InputError, match="No name"):
        named_cameras([], "left")
    with pytest.raises(InputError, match="rotation"):
        named_cameras(["knee:ap"], "left", world_from_limb=torch.diag(MIRROR))
