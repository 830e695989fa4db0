"""Hardware by mass, thickness and place: in lengths and areas known by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.projection import project
from crossray.volumes.attenuation import attenuation_from_hu
from crossray.volumes.hardware import (
    FIBREGLASS_HU,
    STEEL_HU,
    TITANIUM_HU,
    Cast,
    Implant,
    Plate,
    Rod,
    Torus,
    ring,
    sample_hardware,
    watch,
    wire,
)
from crossray.volumes.phantom import phantom
from crossray.volumes.shapes import Ellipsoid
from crossray.volumes.volume import Volume


def block(size=(24, 24, 24), spacing=(1.0, 1.0, 1.0), hu=-1000.0) -> Volume:
    """A uniform block centred at the world's origin."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(size[::-1]) - 1) / 2 * spacing
    return Volume(torch.full(size, hu), torch.from_numpy(affine), "block")


def limb(radius: float = 20.0, spacing: float = 0.5, slices: int = 8) -> Volume:
    """A cylinder of water along z."""
    along = (torch.arange(100) - 49.5) * spacing
    disc = torch.where(torch.hypot(along[:, None], along) < radius, 0.0, -1000.0)
    affine = torch.diag(torch.tensor([spacing, spacing, 2.0, 1.0]).double())
    affine[:3, 3] = torch.tensor([-49.5 * spacing, -49.5 * spacing, -(slices - 1.0)])
    return Volume(disc.repeat(slices, 1, 1), affine, "limb")


def filled(volume: Volume, hu: float, background: float = -1000.0) -> torch.Tensor:
    """Share of every voxel that something of a CT number fills."""
    return (volume.values - background) / (hu - background)


def points(*rows):
    return tuple(torch.tensor(rows, dtype=torch.float32).T.clone())


def test_rod_and_torus_by_hand():
    rod = Rod((0.0, 0.0, -5.0), (0.0, 0.0, 5.0), 2.0)
    where = points((3.0, 4.0, 1.0), (0.0, 0.0, 7.0), (0.0, 0.0, 0.0), (0.0, 1.5, 0.0))
    assert rod.distance(where).tolist() == pytest.approx([3.0, 2.0, -2.0, -0.5], abs=1e-5)
    torus = Torus((1.0, 0.0, 0.0), (0.0, 0.0, 2.0), 10.0, 1.0)
    where = points((11.0, 0.0, 0.0), (1.0, 14.0, 3.0), (1.0, 0.0, 0.0))
    assert torus.distance(where).tolist() == pytest.approx([-1.0, 4.0, 9.0], abs=1e-5)


def test_line_integral_through_a_wire_is_attenuation_times_diameter():
    volume = wire((0.0, 0.0, -8.0), (0.0, 0.0, 8.0), 3.0)(block((40, 60, 60), (0.25, 0.25, 0.5)))
    camera = Cameras.from_angles(
        0, 0, sod_mm=1000, sdd_mm=1100, size=(1, 1), pixel_mm=0.1, isocenter=volume.center
    )
    steel = float(attenuation_from_hu(torch.tensor(STEEL_HU), 60.0))
    assert float(project(volume.attenuation(60), camera)) == pytest.approx(3 * steel, rel=0.02)


@settings(max_examples=15)
@given(
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: math.hypot(*v) > 0.2),
    st.floats(1.2, 4),
    st.sampled_from([(1.0, 1.0, 1.0), (0.7, 0.9, 1.3), (1.0, 1.0, 3.27)]),
)
def test_a_wire_thinner_than_a_voxel_has_its_mass(direction, diameter, spacing):
    unit = np.array(direction) / math.hypot(*direction)
    start, end = (tuple((sign * 8 * unit).tolist()) for sign in (-1, 1))
    counts = tuple(math.ceil(26 / step) for step in spacing[::-1])
    share = filled(wire(start, end, diameter)(block(counts, spacing)), STEEL_HU)
    assert 0 <= float(share.min()) <= float(share.max()) <= 1 + 1e-6
    volume = float(share.sum()) * math.prod(spacing)
    assert volume == pytest.approx(16 * math.pi * diameter**2 / 4, rel=0.06)


def test_titanium_attenuates_as_tabulated():
    mu = float(attenuation_from_hu(torch.tensor(TITANIUM_HU), 60.0))
    assert mu == pytest.approx(0.766 * 4.51 / 10, rel=0.01)


def test_a_ring_has_its_mass_and_its_hole():
    volume = ring((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 16.0, 2.0)(block())
    share = filled(volume, STEEL_HU)
    assert float(share.sum()) == pytest.approx(2 * math.pi**2 * 9 * 1, rel=0.04)
    assert float(share[:, 11:13, 11:13].max()) == 0


def test_a_watch_is_a_disc_nine_millimetres_thick():
    share = filled(watch((0.0, 0.0, 0.0), (0.0, -2.0, 0.0), 20.0)(block()), TITANIUM_HU)
    assert float(share.sum()) == pytest.approx(9 * math.pi * 100, rel=0.02)
    assert float(share[:, 13:].max()) == 0  # y points to the back, and the watch away from it


def test_a_plate_lies_on_its_bone_and_its_screws_go_in():
    plate = Plate((0.0, 0.0, 0.0), (0.0, 0.0, 3.0), (0.0, 1.0, 0.5), 40.0, 10.0, 3.0, 4, 12.0)
    share = filled(plate.implant()(block((60, 48, 24))), TITANIUM_HU)
    below, on = share[:, :24], share[:, 24:]
    assert float(below.sum()) == pytest.approx(4 * 12 * math.pi * 1.75**2, rel=0.05)
    box, heads = 40 * 10 * 3, 4 * math.pi * 3.5**2
    assert 0.93 * box < float(on.sum()) < 1.02 * (box + heads)
    assert below[:, 12:].amax((1, 2)).gt(0.5).sum() >= 4 * 3
    assert float(share[:, 24 + 5 :].max()) == 0


def test_what_lies_beside_the_volume_changes_nothing():
    volume = block()
    before = volume.values.clone()
    far = Implant(Ellipsoid((90.0, 0.0, 0.0), (3.0, 3.0, 3.0)))
    assert far(volume) is volume
    half_out = Implant(Ellipsoid((12.0, 0.0, 0.0), (4.0, 4.0, 4.0)))(volume)
    ball = 4 / 3 * math.pi * 64
    assert float(filled(half_out, STEEL_HU).sum()) == pytest.approx(ball / 2, rel=0.02)
    assert torch.equal(volume.values, before)


def test_a_cast_has_its_thickness_gap_and_ct_number():
    cast = Cast(gap_mm=4.0, thickness_mm=5.0, hu=FIBREGLASS_HU, variation=0.0)
    volume = cast(limb())
    _, rows, columns = volume.values.shape
    line = volume.values[4, rows // 2]
    share = filled(without_limb(line), FIBREGLASS_HU).flatten()
    assert float(share.sum()) * 0.5 == pytest.approx(2 * 5, rel=0.03)
    place = (torch.arange(columns) - (columns - 1) / 2) * 0.5
    right = place > 0
    middle = float((share * place)[right].sum() / share[right].sum())
    assert middle == pytest.approx(20 + 4 + 2.5, abs=0.6)
    assert volume.center.tolist() == pytest.approx(limb().center.tolist())


def without_limb(line: torch.Tensor) -> Volume:
    """A row through limb and cast with the limb taken out, as a volume."""
    bare = torch.where((line > -20), -1000.0, line)
    return Volume(bare[None, None], torch.eye(4).double())


def test_a_cast_keeps_to_its_reach_and_varies_in_density():
    whole = limb()
    volume = Cast(reach=(0.25, 0.75), variation=0.3, seed=1)(whole)
    margin = (volume.values.shape[2] - 100) // 2
    inner = volume.values[:, margin:-margin, margin:-margin]
    assert torch.equal(inner[:2], whole.values[:2])
    assert torch.equal(inner[6:], whole.values[6:])
    assert torch.equal(inner[whole.values == 0], whole.values[whole.values == 0])
    dense = volume.values[2:6][volume.values[2:6] > 100]
    assert float(dense.std()) > 100
    assert torch.equal(volume.values, Cast((0.25, 0.75), variation=0.3, seed=1)(whole).values)
    assert not torch.equal(volume.values, Cast((0.25, 0.75), variation=0.3, seed=2)(whole).values)


def test_a_cast_bridges_the_gap_between_fingers():
    whole = limb(spacing=1.0)
    y, x = torch.meshgrid(*[torch.arange(100.0) - 49.5] * 2, indexing="ij")
    fingers = torch.minimum(torch.hypot(x - 14, y), torch.hypot(x + 14, y)) < 10
    two = Volume(torch.where(fingers, 0.0, -1000.0).repeat(8, 1, 1), whole.world_from_voxel)
    volume = Cast(variation=0.0)(two)
    middle = volume.values.shape[2] // 2
    assert float(volume.values[4, :, middle].max()) > 300  # over the gap
    between = volume.values[4, volume.values.shape[1] // 2, middle - 3 : middle + 3]
    assert float(between.max()) < -900  # not in it


@pytest.mark.parametrize("seed", range(4))
def test_drawn_hardware_is_white_and_drawn_from_the_generator_alone(seed):
    volume = phantom("hand", 1, 3.0)
    pieces = sample_hardware(np.random.default_rng(seed), volume)
    again = sample_hardware(np.random.default_rng(seed), volume)
    dressed, twice = volume, volume
    for one, other in zip(pieces, again, strict=True):
        dressed, twice = one(dressed), other(twice)
    assert torch.equal(dressed.values, twice.values)
    assert dressed.values.sum() > volume.values.sum() - 1000 * (
        dressed.values.numel() - volume.values.numel()
    )
    assert -1000 <= float(dressed.values.min()) <= float(dressed.values.max()) <= STEEL_HU


def test_what_cannot_be_placed_is_refused():
    with pytest.raises(InputError, match="no limb"):
        Cast()(block())
    with pytest.raises(InputError, match="length 0"):
        wire((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))(block())
    with pytest.raises(InputError, match="no bone"):
        sample_hardware(np.random.default_rng(0), block())
