"""Beams and attenuation against the programs that the tables come from, and against NIST's own table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.projection.spectrum import Beam, attenuation, attenuation_at, energies
from crossray.volumes.attenuation import bone_attenuation, water_attenuation

# SpekPy 2.5.4, Spek(kvp, th=12, dk=0.5).filter("Al", ...).filter("Cu", ...):
# kVp, mm Al, mm Cu, get_emean() in keV, get_hvl1() in mm Al, get_flu() / 100 in photons per mm^2 and mAs at 1 m.
SPEKPY = [
    (40, 1.0, 0.0, 25.194, 0.8155, 447843.6),
    (55, 2.5, 0.0, 34.124, 1.9189, 582170.3),
    (60, 2.5, 0.1, 40.143, 3.3212, 373830.4),
    (72.5, 2.5, 0.0, 40.295, 2.4792, 1201915.4),
    (80, 3.0, 0.0, 43.828, 3.0289, 1376799.6),
    (125, 4.0, 0.2, 65.580, 8.3538, 2023934.5),
]


@pytest.mark.parametrize(("kvp", "aluminium", "copper", "mean", "layer", "photons"), SPEKPY)
def test_beams_are_those_of_spekpy(kvp, aluminium, copper, mean, layer, photons):
    beam = Beam(kvp, aluminium, copper)
    assert beam.mean_kev() == pytest.approx(mean, rel=0.005)
    assert beam.half_value_layer_mm() == pytest.approx(layer, rel=0.005)
    assert beam.fluence().sum() == pytest.approx(photons, rel=0.01)


@pytest.mark.parametrize(
    ("material", "kev", "mu"),
    [
        # XrayDB 4.5.8: mu_elam(element, eV) * density / 10, and material_mu.
        ("aluminium", 30.5, 0.291882),
        ("copper", 60.5, 1.395727),
        ("titanium", 50.5, 0.532789),
        ("water", 60.5, 0.0205083),
        ("csi", 50.5, 5.65532),
    ],
)
def test_attenuation_is_that_of_xraydb(material, kev, mu):
    assert attenuation_at(material, kev) == pytest.approx(mu, rel=0.002)


@pytest.mark.parametrize("kev", [20, 30, 40, 50, 60, 80, 100])
def test_agrees_with_the_table_of_nist(kev):
    assert attenuation_at("water", kev) == pytest.approx(water_attenuation(kev), rel=0.01)
    assert attenuation_at("bone", kev) == pytest.approx(bone_attenuation(kev), rel=0.02)


def test_the_edges_of_the_scintillator_stand_out():
    # K edges: iodine 33.17 keV, caesium 35.98 keV.
    mu, kev = attenuation("csi"), energies()
    assert set(kev[1:][np.diff(mu) > 0]) == {33.5, 34.5, 36.5}  # two bins share 33.17 to 34


def test_no_photon_exceeds_the_voltage():
    kev, fluence = energies(), Beam(72.5).fluence()
    assert fluence[kev > 73].sum() == 0
    assert fluence[(kev > 65) & (kev < 72)].min() > 0


@given(
    st.floats(40, 125), st.floats(1, 10), st.floats(0, 0.5), st.floats(0.1, 5), st.floats(0.01, 0.5)
)
def test_more_filter_hardens_and_dims(kvp, aluminium, copper, more, more_copper):
    beam = Beam(kvp, aluminium, copper)
    for other in (Beam(kvp, aluminium + more, copper), Beam(kvp, aluminium, copper + more_copper)):
        assert other.mean_kev() > beam.mean_kev()
        assert other.half_value_layer_mm() > beam.half_value_layer_mm()
        assert other.fluence().sum() < beam.fluence().sum()


@pytest.mark.parametrize("values", [(39, 2.5, 0), (126, 2.5, 0), (55, 0.5, 0), (55, 2.5, -1)])
def test_refuses_beams_outside_the_table(values):
    with pytest.raises(InputError, match="give"):
        Beam(*values)


def test_refuses_unknown_materials():
    with pytest.raises(InputError, match="'cheese'"):
        attenuation("cheese")
