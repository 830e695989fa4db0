"""Attenuation against numbers computed by hand, and the laws the map must keep."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.volumes.attenuation import (
    CT_KEV,
    attenuation_from_hu,
    bone_attenuation,
    water_attenuation,
)

ENERGIES = st.floats(20, 150)


def mu(hu: float, kev: float) -> float:
    return float(attenuation_from_hu(torch.tensor([hu], dtype=torch.float64), kev)[0])


def slow_twin(hu: float, kev: float) -> float:
    """The three lines of the docstring, one value at a time."""
    water, bone = water_attenuation(kev), bone_attenuation(kev)
    bone_hu = 1000 * (bone_attenuation(CT_KEV) / water_attenuation(CT_KEV) - 1)
    if hu <= 0:
        return max(0.0, water * (1 + hu / 1000))
    if hu <= bone_hu:
        return water + hu / bone_hu * (bone - water)
    return bone * (1000 + hu) / (1000 + bone_hu)


def test_tabulated_energies_by_hand() -> None:
    assert water_attenuation(60) == pytest.approx(0.02059)
    assert bone_attenuation(60) == pytest.approx(0.3148 * 1.92 / 10)
    assert water_attenuation(20) == pytest.approx(0.08096)
    assert bone_attenuation(150) == pytest.approx(0.028416)


def test_interpolation_is_log_log() -> None:
    # Halfway in log E between 60 and 80 keV lies sqrt(60 * 80) = 69.28 keV.
    assert water_attenuation(math.sqrt(60 * 80)) == pytest.approx(math.sqrt(0.2059 * 0.1837) / 10)


def test_air_water_and_bone() -> None:
    bone_hu = 1000 * (bone_attenuation(70) / water_attenuation(70) - 1)
    assert 1500 < bone_hu < 1700
    assert mu(-1000, 60) == 0
    assert mu(-1024, 60) == 0
    assert mu(0, 60) == pytest.approx(0.02059)
    assert mu(-100, 60) == pytest.approx(0.9 * 0.02059)
    assert mu(bone_hu, 60) == pytest.approx(0.0604416)
    assert mu(bone_hu / 2, 60) == pytest.approx((0.02059 + 0.0604416) / 2)


@given(st.floats(-1000, 3000))
@settings(deadline=None)
def test_reproduces_hu_at_the_energy_of_the_ct(hu: float) -> None:
    water = water_attenuation(CT_KEV)
    assert 1000 * (mu(hu, CT_KEV) / water - 1) == pytest.approx(hu, abs=1e-6)


@given(st.floats(-2000, 4000), st.floats(0, 500), ENERGIES)
@settings(deadline=None)
def test_rises_and_never_jumps(hu: float, step: float, kev: float) -> None:
    low, high = mu(hu, kev), mu(hu + step, kev)
    steepest = max(bone_attenuation(kev), water_attenuation(kev)) / 1000
    assert -1e-15 <= high - low <= steepest * step + 1e-15


@given(st.lists(st.floats(-1500, 4000), min_size=1, max_size=20), ENERGIES)
@settings(deadline=None)
def test_agrees_with_the_slow_twin(values: list[float], kev: float) -> None:
    got = attenuation_from_hu(torch.tensor(values, dtype=torch.float64), kev).tolist()
    assert got == pytest.approx([slow_twin(value, kev) for value in values], abs=1e-14)


def test_more_voxels_than_one_chunk_and_a_strided_view() -> None:
    hu = torch.linspace(-1200, 3000, 2 * 70 * 2000).reshape(2, 70, 2000).transpose(0, 2)
    got = attenuation_from_hu(hu, 60)
    assert got.shape == hu.shape
    for index in [(0, 0, 0), (1999, 69, 1), (1000, 35, 0), (17, 3, 1)]:
        assert float(got[index]) == pytest.approx(slow_twin(float(hu[index]), 60), abs=1e-8)


def test_leaves_its_input_alone() -> None:
    hu = torch.tensor([-1000.0, 0.0, 1000.0])
    attenuation_from_hu(hu, 60)
    assert hu.tolist() == [-1000, 0, 1000]


def test_gradient() -> None:
    hu = torch.tensor([-1500.0, -500, 300, 2500], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: attenuation_from_hu(x, 60), hu, eps=1e-3, atol=1e-9)
    with torch.no_grad():
        plain = attenuation_from_hu(hu, 60)
    torch.testing.assert_close(attenuation_from_hu(hu, 60).detach(), plain)


@pytest.mark.parametrize("kev", [19.9, 151, float("nan")])
def test_refuses_energies_outside_the_table(kev: float) -> None:
    with pytest.raises(InputError, match="20 to 150 keV"):
        attenuation_from_hu(torch.zeros(1), kev)
