"""Limbs of one scan parted from each other, on phantoms side by side and on solids made by hand."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from crossray.errors import InputError
from crossray.volumes.io import read_ct
from crossray.volumes.limbs import split_limbs
from crossray.volumes.phantom import phantom
from crossray.volumes.table import remove_table
from crossray.volumes.volume import AIR_HU, Volume


def two_legs(gap: int, seed: int = 0) -> tuple[Volume, torch.Tensor]:
    """A knee and its mirror image so many voxels of 4 mm apart, and where the first one's voxels lie."""
    knee = phantom("knee", seed, 4.0).values
    columns = (knee > -300).any(dim=0).any(dim=0).nonzero()
    knee = knee[:, :, int(columns[0]) : int(columns[-1]) + 1]
    slices, rows, width = knee.shape
    values = torch.full((slices, rows, 2 * width + gap), AIR_HU)
    values[:, :, :width] = knee
    values[:, :, width + gap :] = torch.maximum(values[:, :, width + gap :], knee.flip(2))
    first = torch.zeros_like(values, dtype=torch.bool)
    first[:, :, :width] = knee > -300
    affine = torch.diag(torch.tensor([4.0, 4.0, 4.0, 1.0], dtype=torch.float64))
    return Volume(values, affine, "legs"), first


def cylinders(*middles_mm: float, radius: float = 30, bone: float = 8) -> Volume:
    """Legs 180 mm long in a grid of 3 mm, each with a bone of a radius (0 for none), at places along x."""
    _, y, x = torch.meshgrid(*(3.0 * torch.arange(n) for n in (60, 40, 90)), indexing="ij")
    values = torch.full(x.shape, AIR_HU)
    for middle in middles_mm:
        values[torch.hypot(x - middle, y - 60) < radius] = 40
    for middle in middles_mm:
        values[torch.hypot(x - middle, y - 60) < bone] = 900
    affine = torch.diag(torch.tensor([3.0, 3.0, 3.0, 1.0], dtype=torch.float64))
    return Volume(values, affine, "scan")


@pytest.mark.parametrize("gap", [8, 0, -2], ids=["apart", "touching", "pressed"])
def test_two_legs_are_parted(gap: int) -> None:
    both, first = two_legs(gap)
    right, left = split_limbs(both)
    assert (right.name, left.name) == ("legs, limb 1 of 2", "legs, limb 2 of 2")
    assert float(right.center[0]) < float(left.center[0])
    tissue = both.values > -300
    found = [int((limb.values > -300).sum()) for limb in (right, left)]
    assert sum(found) == int(tissue.sum())  # every voxel goes to one limb
    assert found[0] == pytest.approx(int(first.sum()), rel=0.03)


def test_limbs_keep_their_place_and_values() -> None:
    both, _ = two_legs(8)
    for limb in split_limbs(both):
        shift = both.voxel_from_world @ limb.world_from_voxel
        z, y, x = (int(i) for i in shift[:3, 3].round().flip(0))
        depth, height, width = limb.values.shape
        there = both.values[z : z + depth, y : y + height, x : x + width]
        assert torch.equal(limb.values, there)


def test_sides_are_by_position_whichever_way_the_grid_runs() -> None:
    both, _ = two_legs(0)
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    mirrored = Volume(both.values, flip @ both.world_from_voxel, "legs")
    first, second = split_limbs(mirrored)
    assert float(first.center[0]) < float(second.center[0])


@pytest.mark.parametrize("limb", ["hand", "knee", "ankle"])
def test_one_limb_stays_whole(limb: str) -> None:
    before = phantom(limb, 3, 3.0)
    (after,) = split_limbs(before)
    assert after.name == before.name
    assert int((after.values > -300).sum()) == int((before.values > -300).sum())


def test_a_bone_in_the_middle_of_a_broad_part_is_not_parted() -> None:
    # Two thirds of their width overlap: one body with two bones, such as a pelvis.
    (whole,) = split_limbs(cylinders(100, 140))
    assert whole.name == "scan"


def test_three_limbs() -> None:
    names = [limb.name for limb in split_limbs(cylinders(40, 98, 220))]
    assert names == [f"scan, limb {i} of 3" for i in (1, 2, 3)]


def test_flesh_without_bone_beside_a_limb_is_left_out_and_said() -> None:
    limb, flesh = cylinders(60), cylinders(200, radius=15, bone=0)
    both = Volume(torch.maximum(limb.values, flesh.values), limb.world_from_voxel, "scan")
    (after,) = split_limbs(both)
    assert after.name == "scan"
    assert "1 piece(s) beside the limb that no bone runs along" in after.notes[0]
    assert int((after.values > -300).sum()) == int((limb.values > -300).sum())


def test_nothing_but_flesh_is_kept() -> None:
    before = cylinders(60, 200, bone=0)
    (after,) = split_limbs(before)
    assert int((after.values > -300).sum()) == int((before.values > -300).sum())


def test_spacing_counts_in_mm() -> None:
    both = cylinders(70, 128)
    affine = both.world_from_voxel @ torch.diag(
        torch.tensor([0.5, 0.5, 1.0, 1.0], dtype=torch.float64)
    )
    fine = functional.interpolate(both.values[None, None], scale_factor=(1, 2, 2))[0, 0]
    assert len(split_limbs(both)) == len(split_limbs(Volume(fine, affine, "fine"))) == 2


def test_refuses_air() -> None:
    with pytest.raises(InputError, match="nothing above"):
        split_limbs(Volume(torch.full((4, 4, 4), AIR_HU), torch.eye(4, dtype=torch.float64)))


def test_the_other_knee_is_parted_from_a_real_one(shared: Path) -> None:
    both = remove_table(read_ct(shared / "data/ct/sts_013_femur_knee.nii.gz"))
    (knee,) = split_limbs(both)
    assert "no bone runs along" in knee.notes[0]
    # of 7.5 litres, 6.3 are the leg in the middle
    kept = float((knee.values > -300).sum() / (both.values > -300).sum())
    assert kept == pytest.approx(0.835, abs=0.01)
