"""From line integrals to a display image: by hand where it is plain, by its sense where it is drawn."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.projection.appearance import Appearance, render, sample_appearance, stretch
from crossray.projection.display import Display
from crossray.projection.physics import expose
from crossray.volumes.volume import Volume

BARE = {"scatter": 0.0, "edge": 0.0, "contrast": 0.0}
RAMP = torch.linspace(0, 5, 101)[None].repeat(2, 1)


def test_stretch_by_hand():
    # Of 101 values the second and the last but one become 0 and 1.
    image = torch.arange(101.0)[torch.randperm(101)][None]
    torch.testing.assert_close(stretch(image), ((image - 1) / 98).clamp(0, 1))


def test_stretch_of_blank_images():
    assert stretch(torch.full((3, 4), 7.0)).tolist() == [[0.0] * 4] * 3
    spot = torch.full((20, 20), 2.0)
    spot[3, 4] = 5.0  # rarer than 1 %
    assert float(stretch(spot)[3, 4]) == 1.0
    assert float(stretch(spot).sum()) == 1.0


@given(st.floats(0.1, 100), st.floats(-100, 100))
def test_stretch_forgets_scale_and_offset(scale, offset):
    image = torch.rand(9, 11, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(stretch(image * scale + offset), stretch(image), atol=1e-3, rtol=0)


def test_a_bare_radiograph_is_the_stretched_line_integral():
    torch.testing.assert_close(Appearance(**BARE)(RAMP), stretch(RAMP), atol=1e-5, rtol=0)
    hard = Appearance(exposure=0.5, **BARE)
    torch.testing.assert_close(hard(RAMP), stretch(RAMP), atol=1e-5, rtol=0)


def test_gamma_and_contrast_by_hand():
    gamma = Appearance(**BARE | {"gamma": 2.0})
    torch.testing.assert_close(gamma(RAMP), stretch(RAMP) ** 2, atol=1e-5, rtol=0)
    curve = Appearance(**BARE | {"contrast": 1.0})(RAMP)
    plain = stretch(RAMP)
    expected = (torch.tanh(2 * plain - 1) / math.tanh(1) + 1) / 2
    torch.testing.assert_close(curve, expected, atol=1e-5, rtol=0)
    quarter = (plain[0] - 0.75).abs().argmin()
    assert float(curve[0, quarter]) == pytest.approx(0.8034, abs=0.01)


@settings(max_examples=40)
@given(st.floats(0.6, 1.3), st.floats(0.5, 2), st.just(0.0) | st.floats(0.01, 1))
def test_denser_is_brighter(exposure, gamma, contrast):
    look = Appearance(**BARE | {"exposure": exposure, "gamma": gamma, "contrast": contrast})
    image = look(RAMP)
    assert float(image.diff(dim=1).min()) >= 0
    inner = slice(2, -2)
    assert float(image[:, inner].diff(dim=1).min()) > 0


def test_inverted_is_the_negative():
    plain, negative = Appearance(), Appearance(inverted=True)
    torch.testing.assert_close(negative(RAMP), 1 - plain(RAMP))


def test_scatter_flattens_what_is_thick():
    lines = torch.zeros(60, 60)
    lines[24:36, 20:30], lines[24:36, 30:40] = 4, 5

    def thick_share(scatter: float) -> float:
        image = Appearance(**BARE | {"scatter": scatter})(lines)
        air, thick, thicker = (float(image[30, column]) for column in (0, 25, 35))
        return (thicker - thick) / (thick - air)

    assert thick_share(0.0) == pytest.approx(0.25, abs=1e-3)
    assert thick_share(0.02) < 0.15
    assert thick_share(0.2) < 0.5 * thick_share(0.02)


def test_noise_follows_its_seed_and_the_number_of_quanta():
    lines = torch.zeros(100, 100)
    lines[:, 50:] = 1
    lines[:3], lines[-3:] = 6, -1  # what the stretch takes for its ends
    look = {"photons": 1e4, **BARE}
    image = Appearance(**look, seed=1)(lines)
    assert torch.equal(image, Appearance(**look, seed=1)(lines))
    assert not torch.equal(image, Appearance(**look, seed=2)(lines))
    thin, thick = image[10:90, :50].std(), image[10:90, 50:].std()
    # Quanta behind a line integral of 1 are 1/e of those in air, the noise of their logarithm sqrt(e) as much.
    assert float(thick / thin) == pytest.approx(math.exp(0.5), rel=0.06)
    more = Appearance(**look | {"photons": 4e4}, seed=1)(lines)
    assert float(thin / more[10:90, :50].std()) == pytest.approx(2, rel=0.1)


def test_blur_by_hand():
    lines = torch.zeros(64, 64)
    lines[:, 32:] = 0.5
    edge = Appearance(**BARE | {"blur": 2.0})(lines)[10].diff()
    places = torch.arange(63.0)
    center = (edge * places).sum() / edge.sum()
    assert float(center) == pytest.approx(31, abs=1e-3)
    spread = ((edge * (places - center) ** 2).sum() / edge.sum()).sqrt()
    assert float(spread) == pytest.approx(2, rel=0.03)  # its kernel ends at three deviations
    flat = torch.linspace(0, 1, 64)[:, None].repeat(1, 64)
    columns = Appearance(**BARE | {"blur": 2.0})(flat)
    assert float((columns - columns[:, :1]).abs().max()) < 1e-5, (
        "nothing comes in from beyond the edges"
    )


def test_edge_enhancement_overshoots_at_edges():
    lines = torch.linspace(0, 1, 64)[None].repeat(64, 1).clone()
    lines[:, 32:] += 0.5
    signal = {
        strength: Appearance(**BARE | {"edge": strength})(lines)[30] for strength in (0.0, 1.0)
    }
    step = {strength: float(line[32] - line[31]) for strength, line in signal.items()}
    assert step[1.0] > 1.3 * step[0.0]


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([(1, 1), (5, 9), (32, 32)]), st.floats(0, 20))
def test_every_drawn_look_stays_in_range(seed, size, thickest):
    lines = torch.rand(size, generator=torch.Generator().manual_seed(seed)) * thickest
    look = sample_appearance(np.random.default_rng(seed), inverted=0.5)
    image = look(lines)
    assert image.shape == size
    assert image.dtype == torch.float32
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert torch.equal(image, look(lines))


def test_looks_are_drawn_from_the_generator_alone():
    one, again = (sample_appearance(np.random.default_rng(7)) for _ in range(2))
    assert one == again != sample_appearance(np.random.default_rng(8))
    rng = np.random.default_rng(0)
    looks = [sample_appearance(rng, inverted=0.3) for _ in range(300)]
    assert sum(look.inverted for look in looks) / 300 == pytest.approx(0.3, abs=0.1)
    assert sum(look.photons > 0 for look in looks) / 300 == pytest.approx(0.6, abs=0.1)
    assert sum(look.blur > 0 for look in looks) / 300 == pytest.approx(0.5, abs=0.1)
    rng = np.random.default_rng(0)
    assert not any(sample_appearance(rng).inverted for _ in range(50))


def limb() -> Volume:
    """A cylinder of soft tissue along z with a core of bone, 4 mm voxels."""
    along = torch.arange(20.0) - 9.5
    radius = torch.sqrt(along[:, None] ** 2 + along**2)
    slice_ = torch.full((20, 20), -1000.0)
    slice_[radius < 7], slice_[radius < 3] = 40, 1200
    affine = torch.diag(torch.tensor([4.0, 4, 4, 1]).double())
    affine[:3, 3] = -9.5 * 4
    return Volume(slice_[None].repeat(20, 1, 1), affine, "limb")


def views(number: int = 2) -> Cameras:
    angles = [0, 90, 45][:number]
    return Cameras.from_angles(angles, 0, sod_mm=1000, sdd_mm=1100, size=(30, 30), pixel_mm=3)


@pytest.mark.parametrize("seed", [None, 0, 1, 2, 3])
def test_bone_is_brighter_than_flesh_and_flesh_than_air(seed):
    for image in render(limb(), views(), seed):
        middle = image[8:22]
        air, flesh, bone = (middle[:, c : c + 2].mean() for c in (0, 8, 14))
        assert float(air) < float(flesh) - 0.05
        assert float(flesh) < float(bone) - 0.05


def test_render_is_the_same_for_the_same_seed():
    images = render(limb(), views(3), 5)
    assert images.shape == (3, 30, 30)
    assert images.dtype == torch.float32
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert torch.equal(images, render(limb(), views(3), 5))
    assert not torch.allclose(images, render(limb(), views(3), 6), atol=0.02)
    torch.testing.assert_close(images[:2], render(limb(), views(2), 5))


def test_views_look_different_unless_plain():
    twice = views(1)[[0, 0]]
    one, other = render(limb(), twice, 0)
    assert not torch.allclose(one, other, atol=0.02)
    one, other = render(limb(), twice, None)
    assert torch.equal(one, other)


def test_a_cylinder_looks_alike_from_front_and_side():
    front, side = render(limb(), views(), None)
    torch.testing.assert_close(front, side, atol=1e-3, rtol=0)


def test_what_cannot_be_rendered_is_refused():
    with pytest.raises(InputError, match="seed=-1"):
        render(limb(), views(), seed=-1)
    with pytest.raises(InputError, match="kev=500"):
        render(limb(), views(), kev=500.0)
    inside = Cameras.from_angles(0, 0, sod_mm=20, sdd_mm=1000, size=(4, 4), pixel_mm=1)
    with pytest.raises(InputError, match="inside limb"):
        render(limb(), inside)


def test_a_film_is_a_measured_exposure():
    """The tube's spectrum stands in it: the default film is the exposure's signal as an archive shows it."""
    film = render(limb(), views(), seed=None, look="film")
    measured = expose(limb(), views())
    shown = torch.stack([stretch(Display()(view)) for view in measured])
    torch.testing.assert_close(film, shown)
    drawn = render(limb(), views(), seed=3, look="film")
    assert torch.equal(drawn, render(limb(), views(), seed=3, look="film"))
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    assert not torch.equal(drawn, render(limb(), views(), seed=4, look="film"))
