"""Shares of materials: HU given back at the CT's energy, tissues as their tables have them, metal by its threshold."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.geometry import Cameras
from crossray.projection.materials import METAL_HU, ct_number, decompose, material_paths
from crossray.projection.spectrum import attenuation, attenuation_at, energies
from crossray.volumes.attenuation import CT_KEV
from crossray.volumes.volume import Volume


def shares(hu: float, **options) -> dict[str, float]:
    volume = Volume(torch.full((1, 1, 1), float(hu)), torch.eye(4, dtype=torch.float64))
    return {
        name: float(part.values[0, 0, 0]) for name, part in decompose(volume, **options).items()
    }


def seen_hu(hu: torch.Tensor, **options) -> np.ndarray:
    """CT numbers at the CT's energy of the mixtures made of CT numbers."""
    parts = decompose(Volume(hu[None, None], torch.eye(4, dtype=torch.float64)), **options)
    mu = sum(part.values[0, 0] * attenuation_at(name, CT_KEV) for name, part in parts.items())
    return (1000 * (mu / attenuation_at("water", CT_KEV) - 1)).numpy()


def test_gives_back_hu():
    hu = torch.linspace(-1000, 3000, 10_001)
    np.testing.assert_allclose(seen_hu(hu), hu, atol=0.05)


def test_gives_back_hu_of_drawn_metal():
    hu = torch.linspace(-1000, 35_000, 10_001)
    seen = seen_hu(hu, metal="steel", solid_hu=ct_number("steel"))
    np.testing.assert_allclose(seen, hu, rtol=1e-4, atol=0.1)


def test_corners_by_hand():
    assert shares(-1000) == {"water": 0, "bone": 0}
    assert shares(-3000) == {"water": 0, "bone": 0}
    bone = shares(ct_number("bone"))
    assert bone == pytest.approx({"water": 0, "bone": 1}, abs=1e-5)
    half = shares((ct_number("muscle") + ct_number("bone")) / 2)
    assert half["bone"] == pytest.approx(0.5 + shares(ct_number("muscle"))["bone"] / 2, abs=1e-5)


@pytest.mark.parametrize(("tissue", "error"), [("adipose", 0.02), ("muscle", 0.003)])
def test_two_bases_make_a_tissue_at_all_energies(tissue, error):
    parts = shares(ct_number(tissue))
    mixed = parts["water"] * attenuation("water") + parts["bone"] * attenuation("bone")
    kept = energies() > 20
    np.testing.assert_allclose(mixed[kept], attenuation(tissue)[kept], rtol=error)


def test_fat_is_not_thin_water_to_soft_beams():
    parts = shares(ct_number("adipose"))
    fat = parts["water"] * attenuation("water") + parts["bone"] * attenuation("bone")
    thin = (1 + ct_number("adipose") / 1000) * attenuation("water")
    assert (thin / fat)[energies() == 30.5] == pytest.approx(1.185, abs=0.01)


def test_metal_is_solid_above_its_threshold():
    assert "titanium" not in shares(METAL_HU)
    clipped = shares(3071)
    assert clipped == pytest.approx({"water": 0, "bone": 0, "titanium": 1}, abs=1e-5)
    assert shares(3071, metal="steel")["steel"] == pytest.approx(1)


def test_paths_by_hand():
    # A cube of 21 mm of bone in air, seen along y: the middle ray crosses 20 mm between the outer voxel centres.
    values = torch.full((21, 21, 21), ct_number("bone"))
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, 3] = -10
    cameras = Cameras.from_angles(0, 0, 0, sod_mm=1000, sdd_mm=1100, size=(3, 3), pixel_mm=0.1)
    paths = material_paths(decompose(Volume(values, affine)), cameras)
    assert float(paths["bone"][0, 1, 1]) == pytest.approx(20, abs=1e-3)
    assert float(paths["water"].abs().max()) < 1e-3


@settings(max_examples=10)
@given(st.integers(0, 100))
def test_an_order_of_voxels_does_not_matter(seed):
    hu = torch.empty(20000).uniform_(-1500, 4000, generator=torch.Generator().manual_seed(seed))
    order = torch.randperm(20000, generator=torch.Generator().manual_seed(seed))
    affine = torch.eye(4, dtype=torch.float64)
    plain = decompose(Volume(hu.reshape(20, 20, 50), affine))
    mixed = decompose(Volume(hu[order].reshape(20, 20, 50), affine))
    for name, part in plain.items():
        assert torch.equal(part.values.reshape(-1)[order], mixed[name].values.reshape(-1))
