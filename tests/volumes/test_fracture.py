"""Fractures of a cylinder of bone, by hand, and what holds for every fracture."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.volumes.fracture import (
    Fracture,
    FractureConfig,
    Site,
    apply_fracture,
    break_bone,
    draw_fracture,
    find_bones,
)
from crossray.volumes.fracture.drawing import Kind
from crossray.volumes.phantom import phantom
from crossray.volumes.volume import Volume

SOFT_HU, BONE_HU = 60.0, 860.0
FIRST, LAST = 20, 99  # slices of the bone
AIR = 15  # voxels about a volume made ready


def rod(spacing: float = 1.0, radius: float = 8.0) -> Volume:
    """A rod of bone along z in soft tissue, centred at the world's origin in x and y."""
    y, x = torch.meshgrid(*[(torch.arange(48) - 23.5) * spacing] * 2, indexing="ij")
    values = torch.full((120, 48, 48), SOFT_HU)
    values[FIRST : LAST + 1, torch.hypot(x, y) < radius] = BONE_HU
    affine = torch.diag(torch.tensor([spacing, spacing, spacing, 1.0]).double())
    affine[:2, 3] = -23.5 * spacing
    return Volume(values, affine, "rod")


@pytest.fixture(scope="module")
def bones():
    return find_bones(rod())


@pytest.fixture(scope="module")
def hand():
    return find_bones(phantom("hand", 0, 2.0), 2.0)


def inside(volume: Volume) -> torch.Tensor:
    """Without the air about it."""
    return volume.values[:, AIR:-AIR, AIR:-AIR]


PLANE = Fracture(
    "transverse", 0.5, center=(0.0, 0.0, 60.0), axis=(0.0, 0.0, 1.0), across=(1.0, 0.0, 0.0), radius_mm=8.0
)  # fmt: skip


def test_a_bone_that_touches_another_breaks_alone():
    single = rod()
    values = torch.cat([single.values, single.values], 2)
    values[LAST - 8 : LAST + 1, 20:28, 24:72] = BONE_HU
    pair = find_bones(replace(single, values=values))
    assert int(pair.labels.max()) == 1
    broken = apply_fracture(pair, replace(PLANE, gap_mm=4.0, fade_mm=20.0))
    changed = inside(broken.volume) != inside(broken.intact)
    assert changed[..., :40].any()
    assert not changed[..., 60:].any()
    assert not broken.lesion.values[..., 60 + AIR - broken.box[2].start :].any()


def test_the_rods_places_lie_on_its_axis(bones):
    assert len(bones.sites) > 100
    for site in bones.sites:
        assert np.hypot(*site.center[:2]) < 0.8
        assert abs(site.axis[2]) > 0.99
        assert site.radius_mm == pytest.approx(8, abs=1)
        assert site.alone
        assert site.reach_mm[1] <= site.reach_mm[0]  # towards the nearer end
        end = LAST if site.axis[2] > 0 else FIRST
        assert site.reach_mm[1] == pytest.approx(abs(end - site.center[2]), abs=2.5)


def test_a_site_is_kept_as_numbers(bones):
    site = bones.sites[3]
    again = Site.from_row(np.array([site.row, site.row])[1])
    assert again.row == site.row
    assert (again.bone, again.alone) == (site.bone, site.alone)


def test_a_gap_parts_the_rod_and_keeps_its_mass(bones):
    broken = apply_fracture(bones, replace(PLANE, gap_mm=4.0))
    before, after = inside(broken.intact), inside(broken.volume)
    excess = [float((values - SOFT_HU).sum()) for values in (before, after)]
    assert excess[1] == pytest.approx(excess[0], rel=1e-3)
    assert torch.equal(after[:58, 20:28, 20:28], before[:58, 20:28, 20:28])
    assert torch.allclose(after[66:104], before[62:100], atol=0.01)  # it moved by four slices
    assert float(after[61:64].max()) == pytest.approx(SOFT_HU, abs=1)  # the gap shows blood
    assert float(after[LAST + 4, 24, 24]) == pytest.approx(BONE_HU, abs=0.1)
    assert float(after[LAST + 5, 24, 24]) == pytest.approx(SOFT_HU, abs=0.1)


def test_ends_driven_into_each_other_are_twice_as_dense(bones):
    broken = apply_fracture(bones, replace(PLANE, kind="impacted", gap_mm=-3.0))
    after = inside(broken.volume)[:, 24, 24]
    overlap = after > BONE_HU + 1
    assert 2 <= int(overlap.sum()) <= 4
    assert float(after.max()) == pytest.approx(2 * BONE_HU - SOFT_HU, abs=1)
    excess = [float((inside(volume) - SOFT_HU).sum()) for volume in (broken.intact, broken.volume)]
    assert excess[1] == pytest.approx(excess[0], rel=1e-3)


def test_a_held_fragment_leaves_the_other_side_as_it_was(bones):
    moved = replace(PLANE, gap_mm=1.0, shift_mm=(3.0, 0.0, 0.0), fade_mm=25.0)
    broken = apply_fracture(bones, moved)
    before, after = inside(broken.intact), inside(broken.volume)
    assert torch.equal(after[:59], before[:59])
    assert torch.equal(after[90:], before[90:])  # and so does what lies beyond the fading
    columns = torch.arange(48.0)
    middles = [
        float((row * columns).sum() / row.sum())
        for row in (after[64, 24] - SOFT_HU, after[56, 24] - SOFT_HU)
    ]
    fading = 1 - (4 / 25) ** 2 * (3 - 2 * 4 / 25)
    assert middles[0] - middles[1] == pytest.approx(3 * fading, abs=0.1)


def test_a_greenstick_opens_on_one_side(bones):
    broken = apply_fracture(bones, replace(PLANE, kind="greenstick", angle_deg=10.0, fade_mm=35.0))
    after = inside(broken.volume)
    opened, hinge = after[55:66, 24, 30], after[55:66, 24, 18]
    assert float(opened.min()) < SOFT_HU + 100
    assert float(hinge.min()) > 0.6 * BONE_HU


def test_a_buckle_bulges_and_parts_nothing(bones):
    broken = apply_fracture(bones, replace(PLANE, kind="buckle", bulge_mm=2.0, fade_mm=25.0))
    after = inside(broken.volume)
    width = (after[:, 24] > 0.5 * (SOFT_HU + BONE_HU)).sum(1)
    assert int(width[60]) - int(width[40]) in (1, 2, 3)
    assert int(width[45]) == int(width[40])
    assert float(after[FIRST : LAST + 1, 24, 24].min()) == pytest.approx(BONE_HU, abs=1)


def test_loose_pieces_keep_their_mass(bones):
    shattered = replace(PLANE, kind="comminuted", gap_mm=2.0, wedge_mm=10.0, severity=1.0, seed=5)
    broken = apply_fracture(bones, shattered)
    excess = [float((inside(volume) - SOFT_HU).sum()) for volume in (broken.intact, broken.volume)]
    assert excess[1] == pytest.approx(excess[0], rel=0.02)
    assert float((inside(broken.volume) - inside(broken.intact)).abs().max()) > 500


@settings(max_examples=12)
@given(
    kind=st.sampled_from([kind for kind in get_args(Kind) if kind != "comminuted"]),
    slope=st.floats(0, 60),
    pitch=st.sampled_from([0.0, 30.0]),
    rough=st.floats(0, 1),
    seed=st.integers(0, 1000),
    fade=st.sampled_from([0.0, 20.0]),
)
def test_a_break_that_moves_nothing_changes_nothing(bones, kind, slope, pitch, rough, seed, fade):
    still = replace(
        PLANE, kind=kind, slope_deg=slope, pitch_mm=pitch, rough_mm=rough, seed=seed, fade_mm=fade
    )
    broken = apply_fracture(bones, still)
    assert torch.equal(broken.volume.values, broken.intact.values)
    assert float(broken.lesion.values.max()) > 0


@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_a_seed_is_a_fracture(hand, seed):
    first, again = break_bone(hand, seed), break_bone(hand, seed)
    assert first.fracture == again.fracture
    assert torch.equal(first.volume.values, again.volume.values)
    assert torch.equal(first.lesion.values, again.lesion.values)
    assert torch.isfinite(first.volume.values).all()
    assert 0 < float(first.lesion.values.max()) <= 1
    outside = torch.ones_like(first.intact.values, dtype=torch.bool)
    outside[first.box] = False
    assert torch.equal(first.volume.values[outside], first.intact.values[outside])
    assert not torch.equal(first.volume.values, break_bone(hand, seed + 1).volume.values)


def test_severity_and_kinds_are_kept(hand):
    config = FractureConfig(kinds=("spiral", "buckle"), severity=(0.2, 0.4))
    drawn = [draw_fracture(np.random.default_rng(i), hand, config) for i in range(40)]
    assert {fracture.kind for fracture in drawn} == {"spiral", "buckle"}
    assert all(0.2 <= fracture.severity <= 0.4 for fracture in drawn)


def test_ends_of_an_oblique_break_slide_along_it(bones):
    config = FractureConfig(kinds=("oblique",), severity=(1.0, 1.0))
    for seed in range(40):
        drawn = draw_fracture(np.random.default_rng(seed), bones, config)
        axis, across = np.array(drawn.axis), np.array(drawn.across)
        moved = np.array(drawn.shift_mm) + drawn.gap_mm * axis
        slope = np.radians(drawn.slope_deg)
        opened = moved @ (np.cos(slope) * axis - np.sin(slope) * across)
        assert 0 < opened < 2.5  # though they lie aside by up to 12 mm


def test_the_lesion_lies_where_the_volume_has_it(bones):
    broken = apply_fracture(bones, replace(PLANE, gap_mm=1.0, fade_mm=20.0))
    z, y, x = (broken.lesion.values > 0.5).nonzero().float().mean(0).tolist()
    world = broken.lesion.world_from_voxel @ torch.tensor([x, y, z, 1.0]).double()
    assert world[:3].tolist() == pytest.approx([0, 0, 60.5], abs=1)


def test_bad_input_is_refused(bones):
    soft = Volume(torch.full((40, 40, 40), 40.0), torch.eye(4).double(), "jelly")
    with pytest.raises(InputError, match="jelly holds no long bone"):
        break_bone(soft, 0)
    with pytest.raises(InputError, match="seed=-1"):
        break_bone(bones, -1)
    with pytest.raises(InputError, match="choose from transverse"):
        FractureConfig(kinds=())
    with pytest.raises(InputError, match="severity"):
        FractureConfig(severity=(0.5, 2.0))
    with pytest.raises(InputError, match="no bone at"):
        apply_fracture(bones, replace(PLANE, center=(22.0, 22.0, 5.0), radius_mm=2.0))
