"""Whole exposures: hardening against a plain loop, the monochromatic limit, noise by dose, bytes that repeat."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.projection import physics, project
from crossray.projection.effects import Detector, Grid, Noise, Setup
from crossray.projection.materials import ct_number, decompose
from crossray.projection.physics import Exposure, expose, sample_exposure, setups
from crossray.projection.spectrum import Beam, attenuation, energies
from crossray.volumes.volume import Volume

SETUP = Setup(pixel_mm=(0.5, 0.5), sdd_mm=1000.0, magnification=1.1)
BARE = Exposure(scatter=None, noise=None, detector=Detector(mtf=1.0))


def paths(water: float, bone: float = 0.0, **more: float) -> dict[str, np.ndarray]:
    lengths = {"water": water, "bone": bone} | more
    return {name: np.full((4, 4), length, np.float32) for name, length in lengths.items()}


def line(exposure: Exposure, **lengths: float) -> float:
    return float(exposure(paths(**lengths), SETUP)[0, 0])


def slow_twin(beam: Beam, detector: Detector, lengths: dict[str, float]) -> float:
    """The detector's signal by a loop over the bins of 1 keV of the tables."""
    signal = air = 0.0
    for i, kev in enumerate(energies()):
        weight = beam.fluence()[i] * kev * (1 - math.exp(-detector.csi_mm * attenuation("csi")[i]))
        depth = sum(attenuation(name)[i] * length for name, length in lengths.items())
        signal, air = signal + weight * math.exp(-depth), air + weight
    return -math.log(signal / air)


def limb() -> Volume:
    """A cylinder of muscle about bone, with a pin."""
    z, y, x = torch.meshgrid(*(torch.arange(-30.0, 31) for _ in range(3)), indexing="ij")
    radius = torch.hypot(x, y)
    hu = torch.where(radius < 25, 50.0, -1000.0)
    hu = torch.where(radius < 10, 1200.0, hu)
    hu = torch.where(torch.hypot(z, y) < 1.5, 3071.0, hu)
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, 3] = -30
    return Volume(hu, affine)


def cameras(size: int = 48) -> Cameras:
    step = 96 / size
    return Cameras.from_angles(
        [0, 40], 0, 0, sod_mm=1000, sdd_mm=1100, size=(size, size), pixel_mm=step
    )


def test_one_energy_gives_mu_times_length(monkeypatch):
    monkeypatch.setattr(Beam, "fluence", lambda beam: (energies() == 60.5).astype(float))
    physics._bins.cache_clear()
    # 1 cm of water, 0.0205083 / mm at 60.5 keV; with 1 mm of copper, 1.395727 / mm, more.
    assert line(BARE, water=10) == pytest.approx(0.205083, rel=1e-3)
    assert line(BARE, water=10, copper=1) == pytest.approx(0.205083 + 1.395727, rel=1e-3)
    physics._bins.cache_clear()


@pytest.mark.parametrize("beam", [Beam(55), Beam(45, 1.5), Beam(75, 2.5, 0.1), Beam(125)])
@pytest.mark.parametrize(
    "lengths",
    [
        {"water": 10},
        {"water": 150, "bone": 25},
        {"water": 40, "bone": -1},
        {"water": 5, "steel": 1},
        {"plaster": 8},
    ],
)
def test_agrees_with_the_slow_twin(beam, lengths):
    exposure = Exposure(beam, scatter=None, noise=None, detector=Detector(mtf=1.0))
    expected = slow_twin(beam, exposure.detector, lengths)
    lengths = {"water": 0, "bone": 0} | lengths
    assert line(exposure, **lengths) == pytest.approx(expected, rel=2.5e-3)


def test_the_beam_hardens():
    # By the slow twin: water's mean attenuation at 55 kVp falls from the first cm to 15 cm.
    thin, thick = line(BARE, water=10) / 10, line(BARE, water=150) / 150
    assert thin == pytest.approx(slow_twin(Beam(), Detector(), {"water": 10.0}) / 10, rel=2e-3)
    assert thick == pytest.approx(slow_twin(Beam(), Detector(), {"water": 150.0}) / 150, rel=2e-3)
    assert thick < 0.92 * thin
    _, kev = BARE.transmitted(paths(150.0))
    assert kev[0, 0] > BARE.transmitted(paths(0.0))[1][0, 0] + 2


@settings(max_examples=30)
@given(st.floats(0, 200), st.floats(0, 40), st.floats(0.1, 30), st.sampled_from(["water", "bone"]))
def test_more_of_anything_never_brings_more_signal(water, bone, more, material):
    lengths = {"water": water, "bone": bone}
    signal = BARE.transmitted(paths(**lengths))[0]
    less = BARE.transmitted(paths(**lengths | {material: lengths[material] + more}))[0]
    assert (less < signal).all()


def test_air_is_zero_and_steel_is_the_floor():
    assert line(BARE, water=0) == pytest.approx(0, abs=1e-5)
    assert line(BARE, water=0, steel=60) == pytest.approx(16 * math.log(2))


def test_scatter_flattens_and_a_grid_takes_it_away():
    free, scattered = BARE, Exposure(noise=None)
    gridded = Exposure(noise=None, grid=Grid(selectivity=6.0))
    lines = [line(e, water=100) for e in (free, scattered, gridded)]
    # Scatter over primary is 1.4 behind 100 mm, and 1.4 / 6 behind the grid.
    assert lines[0] - lines[1] == pytest.approx(math.log(2.4), abs=1e-4)
    assert lines[0] - lines[2] == pytest.approx(math.log(1 + 1.4 / 6), abs=1e-4)


def test_noise_follows_dose_distance_and_grid():
    open_kev = BARE.open_kev(SETUP)
    near, fine = SETUP._replace(sdd_mm=500.0), SETUP._replace(pixel_mm=(0.25, 0.5))
    assert BARE.open_kev(near) == pytest.approx(4 * open_kev)
    assert BARE.open_kev(fine) == pytest.approx(open_kev / 2)
    assert Exposure(grid=Grid(primary=0.6)).open_kev(SETUP) == pytest.approx(0.6 * open_kev)
    # 5.79e5 photons per mm^2 and mAs at 1 m on a quarter of a mm^2; some nine in ten leave their 34.2 keV.
    assert open_kev == pytest.approx(5.79e5 / 4 * 34.2 * 0.9, rel=0.05)


def test_noise_is_that_of_a_sum_of_poisson_counts():
    """Photons of each bin drawn one by one; the spread of their energy against that of the image."""
    rng = np.random.default_rng(0)
    water, mas = 60.0, 0.02
    exposure = Exposure(scatter=None, noise=Noise(mas, 1), detector=Detector(mtf=1.0))
    absorbed = exposure.detector.weights(exposure.beam) / energies() * 0.25 * mas
    counts = rng.poisson(absorbed * np.exp(-water * attenuation("water")), (20_000, len(absorbed)))
    energy = counts @ energies()
    big = {name: np.full((150, 150), path[0, 0], np.float32) for name, path in paths(water).items()}
    signal = np.exp(-exposure(big, SETUP))
    expected = energy.std() / energy.mean()
    assert signal.std() / signal.mean() == pytest.approx(expected, rel=0.03)


def test_views_know_their_distances():
    one, two = setups(cameras(), torch.zeros(3, dtype=torch.float64))
    assert one.pixel_mm == pytest.approx((2, 2))
    assert one.sdd_mm == pytest.approx(1100)
    assert two.magnification == pytest.approx(1.1)


def test_a_limb_is_close_to_its_line_integrals_at_the_effective_energy():
    volume = limb()
    volume.values.clamp_(max=1200)
    lines = expose(volume, cameras(), BARE)
    mono = project(volume.attenuation(36.0), cameras())
    inside = mono > 0.5
    assert float((lines[inside] / mono[inside]).std()) < 0.06
    assert float((lines[inside] / mono[inside]).mean()) == pytest.approx(1, abs=0.1)


def test_metal_is_white():
    lines = expose(limb(), cameras(), BARE)
    assert float(lines[0, 24, 24]) > float(lines[0, 10, 24]) + 1


def test_drawn_materials_and_a_volume_agree():
    volume, shot = limb(), Exposure()
    assert torch.equal(expose(volume, cameras()), expose(decompose(volume), cameras(), shot))
    steel = decompose(volume, metal="steel", solid_hu=ct_number("steel"))
    assert not torch.equal(expose(steel, cameras()), expose(volume, cameras()))


@settings(max_examples=8)
@given(st.integers(0, 10_000))
def test_any_exposure_repeats_and_is_finite(seed):
    one, two = (sample_exposure(np.random.default_rng(seed)) for _ in range(2))
    assert one == two
    lengths = {"water": np.linspace(0, 150, 35 * 50, dtype=np.float32).reshape(35, 50)}
    lengths["bone"] = lengths["water"].T.reshape(35, 50) / 5
    first, second = one(lengths, SETUP), two(lengths, SETUP)
    assert first.tobytes() == second.tobytes()
    assert np.isfinite(first).all()
    assert first.max() <= 16 * math.log(2) + 1e-5


def test_threads_change_no_byte():
    import numba

    volume, shot = limb(), sample_exposure(np.random.default_rng(3))
    threads, numba_threads = torch.get_num_threads(), numba.get_num_threads()
    outcomes = []
    for count in (1, 2):
        torch.set_num_threads(count)
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
        outcomes.append(expose(volume, cameras(96), shot).numpy().tobytes())
    torch.set_num_threads(threads)
    numba.set_num_threads(numba_threads)
    assert outcomes[0] == outcomes[1]


def test_one_exposure_a_view():
    soft, hard = Exposure(Beam(45), noise=None), Exposure(Beam(75), noise=None)
    both = expose(limb(), cameras(), [soft, hard])
    assert torch.equal(both[0], expose(limb(), cameras()[0], soft)[0])
    assert torch.equal(both[1], expose(limb(), cameras()[1], hard)[0])
    with pytest.raises(InputError, match="3 exposures do not fit 2 views"):
        expose(limb(), cameras(), [soft] * 3)
