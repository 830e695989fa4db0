"""Oracles on a limb along the rows whose brightness tells the level: the truth can be read off the images."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossray.correspondence.ground_truth import correspondence
from crossray.errors import InputError
from crossray.evaluation.metrics import PositionPrior
from crossray.evaluation.slope import SlopePair, band_rows, real_slope_pairs, slope, tissue_patches
from crossray.geometry import Cameras
from crossray.projection import project
from crossray.volumes.volume import Volume

SIZE, GRID, PATCH = 128, (16, 16), 8
THICKNESS = 1.1
"""Standard deviation of a band, in patches."""


def limb(rows: int, first_level: float = 0.0, columns: int = SIZE) -> torch.Tensor:
    """Brightness rises along the rows, 0.0005 per pixel from 0.3; air on both sides."""
    image = torch.zeros(rows, columns)
    level = 0.3 + 0.0005 * (first_level + torch.arange(rows))
    image[:, columns // 4 : 3 * columns // 4] = level[:, None]
    return image


def levels(image: torch.Tensor) -> torch.Tensor:
    """Level in pixels of each row of patches, read off the brightness."""
    middle = image[:, SIZE // 2]
    return (middle.view(GRID[0], -1).mean(1) - 0.3) / 0.0005


def follows(images: torch.Tensor) -> torch.Tensor:
    """The perfect matcher: a band at the same level, right across the limb."""
    return torch.stack([bands(levels(fixed), levels(window)) for fixed, window in images])


def bands(fixed: torch.Tensor, window: torch.Tensor, share: float = 1.0) -> torch.Tensor:
    """Two-view correspondence with level bands across the limb that follow `share` of the shift."""
    shift = (fixed - window) / PATCH
    rows = torch.arange(GRID[0])
    target = rows + share * shift
    profile = torch.exp(-0.5 * ((rows[None] - target[:, None]) / THICKNESS).square())
    across = torch.zeros(GRID[1])
    across[4:12] = 1.0
    block = torch.einsum("rs,c,d->rcsd", profile, across, across).flatten(2).flatten(0, 1)
    matrix = torch.zeros(2, 2, 256, 256)
    matrix[0, 1], matrix[1, 0] = block, block.T
    return matrix


def synthetic_pair(first_level: float = 30.0, person: str = "A") -> SlopePair:
    fixed, wide = limb(SIZE, first_level), limb(SIZE + 60)

    def truth_at(start: int) -> torch.Tensor:
        return bands(levels(fixed), levels(wide[start : start + SIZE]))

    return SlopePair(person, fixed, wide, tuple(range(0, 61, 7)), truth_at)


def test_the_truth_scores_one():
    result = slope(follows, [synthetic_pair()])
    assert result.slope == pytest.approx(1.0, abs=0.01)
    assert result.row_error == pytest.approx(0.0, abs=0.01)
    assert result.edge_share == 0.0
    assert result.patches > 0


def test_a_constant_matcher_scores_exactly_zero():
    prior = PositionPrior.from_truths([follows(synthetic_pair().images())[4]])
    result = slope(prior, [synthetic_pair()])
    assert result.slope == 0.0
    assert result.row_error > 1.0


def test_an_empty_prediction_scores_zero():
    assert (
        slope(lambda images: torch.zeros(len(images), 2, 2, 256, 256), [synthetic_pair()]).slope
        == 0.0
    )


@pytest.mark.parametrize("share", [0.25, 0.6])
def test_a_matcher_that_follows_a_part_of_the_shift_scores_that_part(share):
    def partly(images: torch.Tensor) -> torch.Tensor:
        return torch.stack(
            [bands(levels(fixed), levels(window), share) for fixed, window in images]
        )

    assert slope(partly, [synthetic_pair()]).slope == pytest.approx(share, abs=0.02)


def test_a_faint_floor_does_not_pull_the_band_to_the_middle():
    assert slope(
        lambda images: follows(images).clamp(min=0.3), [synthetic_pair()]
    ).slope == pytest.approx(1.0, abs=0.01)


def test_noise_scores_about_zero():
    assert (
        abs(slope(lambda images: torch.rand(len(images), 2, 2, 256, 256), [synthetic_pair()]).slope)
        < 0.05
    )


@given(st.floats(0, 60), st.lists(st.integers(0, 60), min_size=3, max_size=6, unique=True))
@settings(deadline=None, max_examples=25)
def test_the_truth_scores_one_wherever_the_windows_lie(first_level, offsets):
    assume(max(offsets) - min(offsets) >= 4 * PATCH)
    base = synthetic_pair(first_level)
    pair = SlopePair("A", base.fixed, base.wide, tuple(offsets), base.truth_at)
    result = slope(follows, [pair])
    assert result.patches == 0 or result.slope == pytest.approx(1.0, abs=0.05)


def test_patches_whose_band_leaves_the_window_are_left_out():
    far_off = SlopePair(
        "A", limb(SIZE, 400.0), limb(SIZE + 60), (0, 30, 60), synthetic_pair(400.0).truth_at
    )
    result = slope(follows, [far_off])
    assert result.patches == 0
    assert math.isnan(result.slope)
    assert math.isnan(result.edge_share)


def test_without_truth_the_middle_rows_of_the_tissue_count():
    base = synthetic_pair()
    pair = SlopePair("A", base.fixed, base.wide, base.offsets)
    result = slope(follows, [pair])
    assert result.patches == 8 * 8
    assert result.slope == pytest.approx(1.0, abs=0.03)
    assert math.isnan(result.row_error)


def test_pairs_pool_and_persons_give_an_interval():
    prior = PositionPrior.from_truths([follows(synthetic_pair().images())[4]])

    def half_of_them(images: torch.Tensor) -> torch.Tensor:
        return follows(images) if images[0, 0, 0, SIZE // 2] > 0.3151 else prior(images)

    pairs = [synthetic_pair(30.0 + (number % 2), str(number)) for number in range(6)]
    result = slope(half_of_them, pairs)
    assert [round(pair.slope) for pair in result.pairs] == [0, 1] * 3
    assert result.slope == pytest.approx(0.5, abs=0.03)
    assert result.low < 0.3
    assert result.high > 0.7
    assert math.isnan(slope(half_of_them, pairs[:1]).low)


def test_band_rows_by_hand():
    band = torch.tensor(
        [[0.0, 0.1, 0.0], [0.8, 0.0, 0.3], [0.4, 0.0, 0.0], [0.0, 0.0, 0.39]]
    ).flatten()
    row, touches = band_rows(band, (4, 3))
    assert row.item() == 1.0  # all others are at most half of 0.8
    flat = torch.tensor([0.0, 0.6, 0.8, 0.2])
    assert band_rows(flat, (4, 1))[0].item() == pytest.approx((0.2 * 1 + 0.4 * 2) / 0.6)
    assert not touches
    assert band_rows(torch.zeros(12), (4, 3))[0] == 1.5
    assert band_rows(torch.eye(12)[11], (4, 3))[1]


def test_tissue_is_what_stands_out_from_the_background():
    mask = tissue_patches(limb(SIZE) + 0.2, GRID).view(GRID)
    assert mask[:, 4:12].all()
    assert not mask[:, :4].any()
    assert not mask[:, 12:].any()


def test_real_films_of_one_limb_follow_or_stay():
    film = limb(400, columns=300)
    pairs = real_slope_pairs(film, film, "A", size=(SIZE, SIZE))
    assert [pair.fixed.shape for pair in pairs] == [(SIZE, SIZE)] * 2
    for pair in pairs:
        assert pair.wide.shape[1] == SIZE
        assert max(pair.offsets) == pair.wide.shape[0] - SIZE >= SIZE // 4

    def brightness_matcher(images: torch.Tensor) -> torch.Tensor:
        scale = 128 / 300  # pixels of the matcher per pixel of the film
        return torch.stack([bands(levels(a) * scale, levels(b) * scale) for a, b in images])

    assert slope(brightness_matcher, pairs).slope == pytest.approx(1.0, abs=0.03)


def test_real_films_are_cut_at_one_physical_scale():
    film = limb(400, columns=300)
    fine = torch.nn.functional.interpolate(film[None, None], (800, 600), mode="bilinear")[0, 0]
    for pixel_mm in ((0.4, 0.2), None):
        first, second = real_slope_pairs(film, fine, "A", pixel_mm=pixel_mm, size=(SIZE, SIZE))
        assert torch.allclose(first.fixed, second.fixed, atol=0.01)
    wide_film = limb(400, columns=300)
    first, _ = real_slope_pairs(film, wide_film, "A", pixel_mm=(0.4, 0.2), size=(SIZE, SIZE))
    # the second film is half as large: it limits the window to 60 mm, three quarters of its 80 mm
    gain = first.fixed[-1, SIZE // 2] - first.fixed[0, SIZE // 2]
    assert gain.item() == pytest.approx(0.0005 * 60 / 0.4, rel=0.03)


def test_a_level_brings_shifted_films_together():
    long = limb(500, columns=300)
    first, second = real_slope_pairs(
        long[:400], long[100:], "A", level=(250.0, 150.0), size=(SIZE, SIZE)
    )
    for pair in (first, second):
        middle = (pair.offsets[0] + pair.offsets[-1]) // 2
        at_same_level = pair.wide[middle : middle + SIZE]
        assert torch.allclose(pair.fixed, at_same_level, atol=0.002)


def test_what_does_not_fit_is_refused():
    film = limb(SIZE)
    with pytest.raises(InputError, match="two different offsets"):
        SlopePair("A", film, limb(SIZE + 9), (3, 3))
    with pytest.raises(InputError, match="leaves the wide image"):
        SlopePair("A", film, limb(SIZE + 9), (0, 10))
    with pytest.raises(InputError, match="4 patches"):
        slope(
            lambda images: torch.zeros(len(images), 2, 2, 4, 4),
            [SlopePair("A", film, limb(SIZE + 9), (0, 9))],
        )
    with pytest.raises(InputError, match="32 x 32"):
        real_slope_pairs(torch.zeros(20, 90), film, "A")
    with pytest.raises(InputError, match="finite"):
        real_slope_pairs(film * math.nan, film, "A")
    with pytest.raises(InputError, match="no room to slide"):
        real_slope_pairs(film, film, "A", level=(64.0, 127.0))
    with pytest.raises(InputError, match="positive"):
        real_slope_pairs(film, film, "A", pixel_mm=(0.1, 0.0))


def test_the_true_matrices_of_a_rendered_limb_score_one():
    z, y, x = torch.meshgrid(
        torch.arange(60.0), torch.arange(16.0), torch.arange(20.0), indexing="ij"
    )
    inside = ((x - 9.5 - 2 * torch.sin(z / 9)) / 8).square() + ((y - 7.5) / 6).square() < 1
    affine = torch.diag(torch.tensor([4.0, 4.0, 4.0, 1.0], dtype=torch.float64))
    volume = Volume(torch.where(inside, 60.0, -1000.0), affine, "rod")
    angles = {"sod_mm": 1000.0, "sdd_mm": 1100.0, "pixel_mm": 1.2, "isocenter": volume.center}
    fixed = Cameras.from_angles(
        primary=[0.0], secondary=[0.0], roll=[0.0], size=(128, 128), **angles
    )
    wide = Cameras.from_angles(
        primary=[75.0], secondary=[5.0], roll=[8.0], size=(176, 128), **angles
    )

    def truth_at(start: int) -> torch.Tensor:
        window = wide.crop(start, 0, (128, 128))
        names = ("source", "first_pixel", "column_step", "row_step")
        both = {name: torch.cat([getattr(fixed, name), getattr(window, name)]) for name in names}
        return correspondence(volume, Cameras(**both, size=(128, 128)), patch=8)

    images = [project(volume.attenuation(60.0), cameras)[0] / 10 for cameras in (fixed, wide)]
    pair = SlopePair("A", images[0], images[1], (0, 10, 20, 30, 40, 48), truth_at)
    truths = torch.stack([truth_at(start) for start in pair.offsets])
    result = slope(lambda images: truths, [pair])
    assert result.patches >= 20
    assert result.slope == pytest.approx(1.0, abs=0.03)
