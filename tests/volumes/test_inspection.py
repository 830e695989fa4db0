"""What an inspection says of scenes whose facts are known."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.volumes.anatomy import likely_anatomy
from crossray.volumes.inspection import inspect_ct
from crossray.volumes.phantom import phantom
from crossray.volumes.resample import along_patient
from crossray.volumes.volume import AIR_HU, Volume

SIDES = ["feet", "head"]


def scene() -> Volume:
    """Two legs of 30 mm radius with bones, metal of 4 x 4 x 8 mm in the patient's left one, and a couch, in 2 mm."""
    _, y, x = torch.meshgrid(*(2.0 * torch.arange(n) for n in (60, 60, 90)), indexing="ij")
    values = torch.full(x.shape, AIR_HU)
    for middle in (50, 130):
        for reach, hu in ((30, 40), (9, 900), (5, -50)):
            values[torch.hypot(x - middle, y - 40) < reach] = hu
    values[(y >= 90) & (y < 94)] = 200
    values[30:34, 10:12, 60:62] = 3000
    affine = torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-90.0, -40, -60])
    return Volume(values, affine, "legs")


def turned(volume: Volume, order: tuple[int, int, int], flips: list[int]) -> Volume:
    """The same patient with the file's axes in another order and direction."""
    shape = torch.tensor(volume.values.shape)
    values = volume.values.permute(order).flip(flips)
    change = torch.zeros(4, 4, dtype=torch.float64)
    change[3, 3] = 1
    for new, old in enumerate(order):
        sign = -1 if new in flips else 1
        change[2 - old, 2 - new] = sign
        change[2 - old, 3] = shape[old] - 1 if sign < 0 else 0
    return Volume(values, volume.world_from_voxel @ change, volume.name)


def test_the_facts_of_a_scene() -> None:
    facts = inspect_ct(scene()).facts
    assert facts.shape == (90, 60, 60)
    assert facts.spacing_mm == (2, 2, 2)
    assert facts.field_mm == (180, 120, 120)
    assert facts.axes == ("LPS", 0.0)
    assert facts.hu == (-1000, 900)
    # circles of 30 mm about voxel centres, open at the rim: 29 voxels each, 40 apart
    assert facts.body == ((0, 60), (6, 35), (11, 80))
    assert facts.body_mm == (138, 58, 120)
    assert facts.couch_cm3 == pytest.approx(180 * 4 * 120 / 1000)
    (metal,) = facts.metal
    assert metal.volume_cm3 == pytest.approx(4 * 4 * 8 / 1000)
    assert metal.position_mm == pytest.approx((31, -19, 3))
    assert [limb.side for limb in facts.limbs] == ["right", "left"]
    assert [limb.box for limb in facts.limbs] == [
        ((0, 60), (6, 35), (11, 40)),
        ((0, 60), (6, 35), (51, 80)),
    ]
    assert list(facts.cut) == SIDES
    assert facts.notes == ()


@given(st.permutations((0, 1, 2)), st.lists(st.sampled_from((0, 1, 2)), unique=True))
def test_the_files_axes_do_not_matter(order: list[int], flips: list[int]) -> None:
    affine = torch.tensor([[2.0, 0, 0, 5], [0, 3, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    before = Volume(torch.randn(3, 4, 5), affine)
    again = along_patient(turned(before, (order[0], order[1], order[2]), flips))
    assert torch.equal(again.values, before.values)
    torch.testing.assert_close(again.world_from_voxel, before.world_from_voxel)


def test_axes_are_named_and_measured() -> None:
    before = turned(scene(), (1, 0, 2), [0])
    assert inspect_ct(before).facts.axes == ("LSA", 0.0)
    tilt = torch.eye(4, dtype=torch.float64)
    tilt[:2, :2] = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    code, degrees = inspect_ct(Volume(scene().values, tilt @ scene().world_from_voxel)).facts.axes
    assert code == "LPS"
    assert degrees == pytest.approx(36.87, abs=0.01)


def test_one_limb_has_no_side() -> None:
    (limb,) = inspect_ct(phantom("knee", 0, 4.0)).facts.limbs
    assert limb.side == "unknown"
    assert limb.likely == "knee"
    assert "joint in" in limb.evidence


def test_metal_and_couch_are_not_invented() -> None:
    facts = inspect_ct(phantom("hand", 1, 2.0)).facts
    assert facts.metal == ()
    assert facts.couch_cm3 == 0


def test_notes_of_reading_are_kept() -> None:
    before = scene()
    noted = Volume(before.values, before.world_from_voxel, "legs", ("legs: something was mended.",))
    assert inspect_ct(noted).facts.notes == noted.notes


def test_refuses_air() -> None:
    with pytest.raises(InputError, match="no body"):
        inspect_ct(Volume(torch.full((4, 4, 4), AIR_HU), torch.eye(4, dtype=torch.float64)))


@pytest.mark.parametrize("limb", ["hand", "knee", "ankle"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_phantoms_are_recognised(limb: str, seed: int) -> None:
    assert likely_anatomy(phantom(limb, seed, 2.0))[0] == limb


def tube(*rings: tuple[float, float, float], radius: float = 60) -> Volume:
    """A limb of 180 mm with bones (x, y, radius in mm) all along, in voxels of 1.5 x 1.5 x 6 mm."""
    _, y, x = torch.meshgrid(torch.arange(30.0), *[1.5 * torch.arange(100.0)] * 2, indexing="ij")
    values = torch.full(x.shape, AIR_HU)
    values[torch.hypot(x - 75, y - 75) < radius] = 40
    for middle_x, middle_y, bone in rings:
        values[torch.hypot(x - middle_x, y - middle_y) < bone] = 900
    affine = torch.diag(torch.tensor([1.5, 1.5, 6, 1], dtype=torch.float64))
    return Volume(values, affine, "tube")


def test_what_simple_limbs_are_called() -> None:
    assert likely_anatomy(tube((75, 75, 14)))[0] == "thigh"
    assert likely_anatomy(tube((60, 75, 12), (95, 75, 6), radius=50))[0] == "lower leg"
    assert likely_anatomy(tube())[0] == "unknown"
    label, evidence = likely_anatomy(tube((60, 75, 12), (95, 75, 11)))
    assert label == "unknown"  # two alike: a forearm, or both legs cut out together
    assert "many in 100%" in evidence
