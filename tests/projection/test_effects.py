"""Each effect by one number computed by hand, and by the laws it must keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.projection.effects import (
    Collimation,
    Detector,
    FocalSpot,
    Grid,
    Heel,
    Noise,
    Scatter,
    Setup,
)
from crossray.projection.spectrum import Beam

SETUP = Setup(pixel_mm=(0.1, 0.1), sdd_mm=1100.0, magnification=1.25)
EDGE = np.repeat(np.r_[np.zeros(100), np.ones(100)][None], 4, 0).astype(np.float32)


def open_field(*size: int) -> np.ndarray:
    return np.ones(size, np.float32)


def test_an_edge_spreads_over_the_geometric_unsharpness():
    # 1.2 mm * (1.25 - 1) = 0.3 mm, three pixels, of standard deviation 0.3 / sqrt(12) mm.
    cast = FocalSpot(1.2)(EDGE, SETUP)[0]
    line = np.diff(cast)
    places = 0.1 * (np.arange(199) - 99)
    assert line.sum() == pytest.approx(1, abs=1e-5)
    assert np.sqrt(np.sum(line * places**2)) == pytest.approx(0.3 / 12**0.5, rel=1e-3)
    assert np.abs(places[line > 1e-3]).max() <= 0.3 / 2 + 0.1


def test_nothing_spreads_of_a_point_or_at_the_detector():
    np.testing.assert_array_equal(FocalSpot(0.0)(EDGE, SETUP), EDGE)
    np.testing.assert_array_equal(FocalSpot(1.2)(EDGE, SETUP._replace(magnification=1.0)), EDGE)


# SpekPy 2.5.4: get_flu() of Spek(kvp=60, th=anode, x=100 tan(phi)).filter("Al", 2.5) over that on the axis, over
# cos^2(phi) for the longer way; phi in degrees away from the anode.
@pytest.mark.parametrize(
    ("anode", "relative"),
    [
        (10, {-6: 0.841, -4: 0.923, -2: 0.971, 2: 1.018, 4: 1.030, 6: 1.036}),
        (12, {-8: 0.823, -6: 0.905, -4: 0.952, -2: 0.981, 2: 1.012, 4: 1.019, 6: 1.022}),
        (14, {-8: 0.891, -6: 0.938, -4: 0.968, -2: 0.987, 2: 1.008, 4: 1.012, 6: 1.013}),
    ],
)
def test_the_heel_is_that_of_spekpy(anode, relative):
    setup = Setup((1.0, 1.0), 1000.0, 1.1)
    column = Heel(anode)(open_field(401, 1), setup)[:, 0]
    for phi, expected in relative.items():
        row = round(200 + 1000 * np.tan(np.radians(phi)))
        assert column[row] == pytest.approx(expected, abs=0.013)


def test_the_heel_by_hand_and_in_all_directions():
    setup = Setup((1.0, 1.0), 1000.0, 1.1)
    field = open_field(201, 201)
    up, right = Heel(12, 0)(field, setup), Heel(12, 90)(field, setup)
    # At 100 mm phi is 5.7106 degrees: exp(-0.02 (1 / sin(6.2894) - 1 / sin(12))).
    assert up[0, 7] == pytest.approx(0.9172, abs=1e-4)
    assert up[100, 100] == 1
    np.testing.assert_allclose(right, up.T[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(Heel(12, 180)(field, setup), up[::-1], atol=1e-6)
    assert Heel(10)(open_field(1001, 1), setup)[0, 0] == 0  # 26 degrees off: behind the anode


def test_blades_by_hand():
    # Half the width is open; the penumbra is 0.6 * (1100 - 300) / 300 = 1.6 mm, 16 pixels.
    cut = Collimation((100.0, 0.5), leakage=0.01)(open_field(3, 400), SETUP, FocalSpot(0.6))[1]
    assert cut[200] == 1
    assert cut[20] == pytest.approx(0.01)
    assert cut.sum() == pytest.approx(200 + 0.01 * 200, rel=1e-4)
    assert np.sum((cut > 0.0101) & (cut < 0.9999)) == 32
    assert cut[99] == pytest.approx(0.01 + 0.99 * (0.5 - 0.05 / 1.6), abs=1e-4)


def test_blades_turn_about_their_middle():
    field, spot = open_field(301, 301), FocalSpot(0.0)
    turned = Collimation((0.4, 0.2), turn_degrees=90)(field, SETUP, spot)
    np.testing.assert_allclose(turned, Collimation((0.2, 0.4))(field, SETUP, spot), atol=1e-4)
    # Clockwise: the upper end of an upright slit goes right.
    slit = Collimation((0.8, 0.05), turn_degrees=20)(field, SETUP, spot)
    assert slit[60].argmax() > 170


@settings(max_examples=20)
@given(st.floats(0.1, 3), st.floats(5, 30))
def test_scatter_to_primary_ratio_by_hand(ratio, spread):
    # Behind 80 mm of water everywhere: 0.8 * ratio.
    setup = SETUP._replace(pixel_mm=(1.0, 2.0))
    primary = np.full((60, 70), 0.2, np.float32)
    scatter = Scatter(ratio, spread)(primary, np.full_like(primary, 80), setup)
    np.testing.assert_allclose(scatter / primary, 0.8 * ratio, rtol=1e-4)


def test_scatter_keeps_its_sum_and_falls_in_narrow_fields():
    setup = SETUP._replace(pixel_mm=(1.0, 1.0))
    primary = np.zeros((300, 300), np.float32)
    primary[120:180, 120:180] = 0.1
    thickness = np.full_like(primary, 50)
    scatter = Scatter(2.0, 20.0)(primary, thickness, setup)
    assert scatter.sum() == pytest.approx(2.0 * 0.5 * primary.sum(), rel=0.01)
    # In the middle of a square of half-side 1.5 sigma: erf(1.5 / sqrt 2)^2 = 0.7505 of the wide field's.
    assert scatter[150, 150] / primary[150, 150] == pytest.approx(0.7505, abs=0.03)


def test_a_grid_selects():
    primary, scatter = np.full((2, 300), 0.3, np.float32), np.full((2, 300), 0.6, np.float32)
    np.testing.assert_allclose(Grid(0.7, 6.0)(primary, scatter, SETUP), 0.3 + 0.6 / 6, rtol=1e-6)
    lined = Grid(0.7, 6.0, lines_per_mm=1.0, ripple=0.02)(primary, scatter, SETUP)[0]
    assert lined.max() == pytest.approx(0.4 * 1.02, rel=0.01)
    spectrum = np.abs(np.fft.rfft(lined - lined.mean()))
    assert np.fft.rfftfreq(300, 0.1)[spectrum.argmax()] == pytest.approx(1.0)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(0.5, 20))
def test_noise_has_its_mean_and_variance(seed, mas):
    # Signal 0.25, 400 photons a mAs in the open beam, each counting alike: variance 0.25 / (400 mas).
    signal = np.full((100, 100), 0.25, np.float32)
    noisy = Noise(mas, seed)(signal, np.full_like(signal, 1 / 400))
    counts = noisy * 400 * mas
    mean = 100 * mas
    assert counts.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / 10_000))
    # The variance of 10,000 normal draws is uncertain by sqrt(2 / 10,000).
    assert counts.var() == pytest.approx(mean, rel=5 * np.sqrt(2 / 10_000))


def test_noise_repeats_and_differs_between_views():
    signal, variance = np.full((8, 8), 0.5, np.float32), np.full((8, 8), 0.01, np.float32)
    noise = Noise(1.0, 7)
    np.testing.assert_array_equal(noise(signal, variance), noise(signal, variance))
    assert (noise(signal, variance, 1) != noise(signal, variance, 0)).all()
    assert Noise(0.01, 3)(signal, 100 * variance).min() == 0


@pytest.mark.parametrize("frequency", [0.5, 1.0, 2.0])
def test_the_detector_has_its_transfer(frequency):
    places = 0.1 * np.arange(400, dtype=np.float32)
    wave = 1 + 0.5 * np.cos(2 * np.pi * frequency * places)[None].repeat(3, 0)
    seen = Detector(mtf=0.6, at_per_mm=frequency)(wave, SETUP)[1, 100:300]
    assert np.ptp(seen) / np.ptp(wave) == pytest.approx(0.6, abs=0.003)
    assert Detector(mtf=1.0)(wave, SETUP) is wave


def test_the_detector_weighs_by_absorbed_energy():
    # At 60.5 keV 0.4 mm of CsI with 3.514 / mm absorbs 1 - exp(-1.4056) = 0.755 of a photon of 60.5 keV.
    beam = Beam(80)
    weights, fluence = Detector(csi_mm=0.4).weights(beam), beam.fluence()
    assert weights[50] / fluence[50] == pytest.approx(60.5 * 0.755, rel=0.01)


@pytest.mark.parametrize("kind", [FocalSpot, Heel, Collimation, Scatter, Grid, Noise, Detector])
def test_the_same_seed_draws_the_same(kind):
    draws = [kind.sample(np.random.default_rng(seed)) for seed in (1, 1, *range(2, 20))]
    assert draws[0] == draws[1]
    assert len(set(draws)) > 1
