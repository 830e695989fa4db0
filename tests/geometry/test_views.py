"""Poses drawn from a seed keep to their protocol."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from crossray.errors import InputError
from crossray.geometry import Cameras, sample_cameras
from crossray.geometry.views import ViewSampling

ISOCENTER = torch.tensor([12.0, -30.0, 45.0], dtype=torch.float64)
CLINICAL = (0, 90, 45, -45)
SMALL = ViewSampling(size=(64, 64))


def draw(seed: int, sampling: ViewSampling = SMALL, **options) -> Cameras:
    return sample_cameras(np.random.default_rng(seed), ISOCENTER, sampling, **options)


def beams(cameras: Cameras) -> torch.Tensor:
    """Unit vectors from source to detector, normal to it."""
    normal = torch.linalg.cross(cameras.row_step, cameras.column_step)
    return normal / normal.norm(dim=1, keepdim=True)


def measured(cameras: Cameras) -> dict[str, torch.Tensor]:
    """What the vectors say about each view: angles in degrees, distances and field in mm, offset in fields."""
    beam = beams(cameras)
    sod = ((ISOCENTER - cameras.source) * beam).sum(1)
    sdd = ((cameras.first_pixel - cameras.source) * beam).sum(1)
    primary = torch.atan2(beam[:, 0], -beam[:, 1])
    level = torch.stack([primary.cos(), primary.sin(), torch.zeros_like(primary)], 1)
    right = cameras.column_step / cameras.column_step.norm(dim=1, keepdim=True)
    turn = (torch.linalg.cross(level, right) * beam).sum(1)
    size = torch.tensor(cameras.size, dtype=torch.float64)
    seen = torch.stack(
        [cameras[view].project_points(ISOCENTER[None])[0, 0] for view in range(len(cameras))]
    )
    return {
        "primary": primary.rad2deg(),
        "secondary": beam[:, 2].asin().rad2deg(),
        "roll": torch.atan2(turn, (level * right).sum(1)).rad2deg(),
        "sod": sod,
        "gap": sdd - sod,
        "field": cameras.column_step.norm(dim=1) * size.max() * sod / sdd,
        "offset": (seen - (size - 1) / 2) / size.max(),
    }


def within(values: torch.Tensor, low: float, high: float) -> bool:
    return bool(((values >= low - 1e-9) & (values <= high + 1e-9)).all())


@pytest.mark.parametrize("protocol", ["clinical", "inside", "uniform", "around"])
@pytest.mark.parametrize("size", [(64, 64), (32, 64)])
def test_distances_field_and_offset_keep_to_their_ranges(protocol, size):
    offsets = []
    for seed in range(60):
        found = measured(draw(seed, ViewSampling(protocol=protocol, size=size)))
        assert within(found["sod"], 900, 1100)
        assert within(found["gap"], 30, 150)
        assert within(found["field"], 90, 220)
        assert float(found["field"].std()) < 1e-6, "one field a sample"
        assert within(found["offset"], -0.25, 0.25)
        offsets.append(found["offset"])
    spread = torch.stack(offsets)  # (seed, view, axis)
    assert (spread.amax((0, 1)) > 0.2).all()
    assert (spread.amin((0, 1)) < -0.2).all()
    rows = spread[:, :, 0].numpy()
    assert abs(np.corrcoef(rows[:, 0], rows[:, 1])[0, 1]) < 0.4, "windows drawn independently"


def test_clinical_angles():
    seen = set()
    for seed in range(120):
        cameras = draw(seed)
        found = measured(cameras)
        off = (found["primary"][:, None] - torch.tensor(CLINICAL)).abs()
        assert within(off.amin(1), 0, 10)
        assert within(found["secondary"], -10, 10)
        assert within(found["roll"], -15, 15)
        one, other = beams(cameras)
        assert abs(float(one @ other)) <= math.cos(math.radians(20)) + 1e-12
        seen |= {CLINICAL[i] for i in off.argmin(1).tolist()}
    assert seen == set(CLINICAL)


def test_without_errors_clinical_views_are_exact():
    exact = ViewSampling(size=(8, 8), jitter_deg=0, roll_deg=0, offset=0)
    for seed in range(20):
        found = measured(draw(seed, exact))
        assert set(found["primary"].round(decimals=6).tolist()) < {0.0, 90.0, 45.0, -45.0}
        assert float(found["secondary"].abs().max()) < 1e-9
        assert float(found["roll"].abs().max()) < 1e-9
        assert float(found["offset"].abs().max()) < 1e-9


def test_four_views_lie_apart_in_pairs():
    beam = beams(draw(5, ViewSampling(views=4)))
    cosines = (beam @ beam.T).abs()[*torch.triu_indices(4, 4, 1)]
    assert float(cosines.max()) <= math.cos(math.radians(20)) + 1e-12


def test_uniform_directions_cover_the_sphere_evenly():
    cameras = draw(0, ViewSampling(protocol="uniform", views=800, size=(4, 4)))
    beam, roll = beams(cameras), measured(cameras)["roll"]
    # Standard errors: 0.58 / sqrt(800) = 0.020 of the mean; 0.3 / sqrt(800) = 0.011 of the square's.
    assert float(beam.mean(0).abs().max()) < 0.06
    torch.testing.assert_close(
        beam.T @ beam / len(beam), torch.eye(3).double() / 3, atol=0.04, rtol=0
    )
    for cosine in beam.T:  # Archimedes: each coordinate is uniform on [-1, 1]
        ranks = cosine.sort().values
        even = torch.linspace(-1, 1, len(ranks), dtype=torch.float64)
        assert float((ranks - even).abs().max()) < 0.1
    counts = torch.histc(roll, 6, -180, 180)
    assert float((counts / len(roll) - 1 / 6).abs().max()) < 0.05


def test_around_is_uniform_but_apart():
    """Two directions at random come nearer than 20 degrees, or to opposite, with probability 1 - cos 20 = 0.06."""
    near = 0
    for seed in range(80):
        one, other = beams(draw(seed, ViewSampling(protocol="around")))
        assert abs(float(one @ other)) <= math.cos(math.radians(20)) + 1e-12
        uniform = draw(seed, ViewSampling(protocol="uniform"))
        first, second = beams(uniform)
        close = abs(float(first @ second)) > math.cos(math.radians(20))
        near += close
        if not close:  # what need not be drawn again is the same
            torch.testing.assert_close(torch.stack([one, other]), beams(uniform))
    assert 1 <= near <= 14


def test_the_same_seed_gives_the_same_cameras():
    for protocol in ("clinical", "uniform"):
        sampling = ViewSampling(protocol=protocol)
        one, again, other = draw(3, sampling), draw(3, sampling), draw(4, sampling)
        for name in ("source", "first_pixel", "column_step", "row_step"):
            assert torch.equal(getattr(one, name), getattr(again, name))
            assert not torch.equal(getattr(one, name), getattr(other, name))


def window(cameras: Cameras) -> torch.Tensor:
    """World z of the windows' corners in the plane of the isocentre, mm, (view, corner)."""
    rows, columns = cameras.size
    corners = [(r, c) for r in (-0.5, rows - 0.5) for c in (-0.5, columns - 0.5)]
    heights = []
    for view in range(len(cameras)):
        beam = beams(cameras)[view]
        source, first = cameras.source[view], cameras.first_pixel[view]
        shrink = ((ISOCENTER - source) @ beam) / ((first - source) @ beam)
        spots = [
            first + r * cameras.row_step[view] + c * cameras.column_step[view] for r, c in corners
        ]
        heights.append(torch.stack([source + shrink * (spot - source) for spot in spots])[:, 2])
    return torch.stack(heights)


def test_clinical_windows_keep_within_reach():
    for seed in range(80):
        # The isocentre may lie anywhere in the limb, also at its very end.
        low = float(ISOCENTER[2]) - np.random.default_rng(seed).uniform(0, 400)
        cameras = draw(seed, reach_mm=(low, low + 400))
        slack = 0.05 * float(measured(cameras)["field"][0])
        assert within(window(cameras), low - slack, low + 400 + slack)


def test_inside_the_field_shrinks_to_fit_but_not_below_its_limit():
    """178 mm hold a window of 100 mm with its offsets: 2 x (0.64 + 0.25) fields."""
    inside = ViewSampling(protocol="inside", size=(64, 64))
    fields = [
        float(measured(draw(s, inside, reach_mm=(0.0, 178.0)))["field"][0]) for s in range(40)
    ]
    assert 90 <= min(fields) < 93
    assert 97 < max(fields) <= 100 + 1e-9
    # Measured at the isocentre asked for, a little off the one moved.
    short = draw(0, inside, reach_mm=(0.0, 50.0))
    assert float(measured(short)["field"][0]) == pytest.approx(90, abs=1)


def test_a_limb_too_short_for_the_field_is_shown_from_its_middle():
    level = ViewSampling(size=(64, 64), jitter_deg=0, roll_deg=0, offset=0)
    for seed in range(20):
        assert window(draw(seed, level, reach_mm=(10.0, 70.0))).mean().item() == pytest.approx(40)


def test_windows_stay_independent_on_a_short_limb():
    """Framed alike, they would let a matcher score by predicting the same height."""
    level = ViewSampling(size=(64, 64), jitter_deg=0, roll_deg=0)
    centers = torch.stack([window(draw(s, level, reach_mm=(0.0, 60.0))).mean(1) for s in range(60)])
    apart = centers[:, 0] - centers[:, 1]
    assert centers.mean().item() == pytest.approx(30, abs=8)
    assert (
        26 < apart.std().item() < 40
    )  # two uniform draws of a quarter of 90 to 220 mm either way: 33
    assert abs(torch.corrcoef(centers.T)[0, 1].item()) < 0.3


def test_a_long_limb_and_uniform_views_are_left_alone():
    torch.testing.assert_close(draw(2).first_pixel, draw(2, reach_mm=(-1e4, 1e4)).first_pixel)
    free = ViewSampling(protocol="uniform")
    assert torch.equal(draw(2, free).first_pixel, draw(2, free, reach_mm=(0.0, 50.0)).first_pixel)


def test_a_film_holds_every_window():
    sampling = ViewSampling(size=(64, 48), field_mm=(100.0, 100.0), offset=0.2)
    film = sampling.film(16)
    assert film.size == (64 + 2 * 16, 48 + 2 * 16)  # 12.8 and 9.6 pixels, in whole steps of 16
    assert film.offset == 0.0
    window, wide = (
        sample_cameras(np.random.default_rng(3), torch.zeros(3, dtype=torch.float64), each)
        for each in (replace(sampling, offset=0.0), film)
    )
    inner = wide.crop(16, 16, (64, 48))
    torch.testing.assert_close(inner.first_pixel, window.first_pixel)
    torch.testing.assert_close(inner.row_step, window.row_step)


def test_what_cannot_be_drawn_is_refused():
    sampling = ViewSampling()
    object.__setattr__(sampling, "protocol", "lateral")  # past the tests' own check of types
    with pytest.raises(
        InputError, match="'lateral' is unknown; choose one of clinical, inside, uniform, around"
    ):
        sampling.__post_init__()
    with pytest.raises(InputError, match="views=0"):
        ViewSampling(views=0)
    with pytest.raises(InputError, match="12 clinical views lie 20"):
        draw(0, ViewSampling(views=12))
