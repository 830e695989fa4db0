import math
from itertools import pairwise

import matplotlib as mpl
import pytest
import torch
from PIL import Image

from crossray.errors import InputError
from crossray.evaluation.figures import COLOURS, FilmView, matches_figure, telling_points

GRID = (16, 16)


def limb(rows: int = 160, columns: int = 120) -> torch.Tensor:
    image = torch.zeros(rows, columns)
    image[:, columns // 4 : 3 * columns // 4] = 0.4
    image[:, 2 * columns // 5 : 3 * columns // 5] = 0.9
    return image


def level_bands(views: int = 2) -> torch.Tensor:
    """Every patch matches the patches of its own level across the middle columns."""
    rows = torch.arange(16)
    profile = torch.exp(-0.5 * (rows[:, None] - rows).square())
    across = torch.zeros(16)
    across[5:11] = 1.0
    block = torch.einsum("rs,c,d->rcsd", profile, across, across).flatten(2).flatten(0, 1)
    return block.expand(views, views, -1, -1).clone()


def colour_share(path, colour: str) -> float:
    """Share of pixels whose hue is that of a colour."""
    with Image.open(path) as picture:
        pixels = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8)
    pixels = pixels.view(-1, 3).double()
    wanted = torch.tensor([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=torch.float64)
    centred, wanted = pixels - pixels.mean(1, keepdim=True), wanted - wanted.mean()
    cosine = torch.nn.functional.cosine_similarity(centred, wanted[None], dim=1)
    return ((cosine > 0.98) & (centred.norm(dim=1) > 25)).double().mean().item()


def test_points_spread_along_the_bone_from_top_to_bottom():
    points = telling_points(FilmView(limb()), level_bands(), GRID)
    assert len(points) == 4
    rows = [row for row, _ in points]
    assert all(later - earlier >= 20 for earlier, later in pairwise(rows))
    assert all(48 <= column <= 72 for _, column in points)


def test_no_point_where_nothing_matches():
    assert telling_points(FilmView(limb()), 0.1 * level_bands(), GRID) == []


def test_no_point_beyond_the_film():
    padded = FilmView(limb(), field=(0.0, -200.0, 160.0, 120.0))
    assert all(
        column >= 0 for _, column in telling_points(padded, torch.ones(2, 2, 256, 256), GRID)
    )


def test_every_band_is_drawn_in_its_colour(tmp_path):
    path = tmp_path / "new" / "matches.png"
    views = [
        FilmView(limb(), "AP"),
        FilmView(limb(90, 140), "lateral"),
        FilmView(limb(256, 100), "oblique"),
    ]
    matches_figure(views, level_bands(3), path)
    assert all(colour_share(path, colour) > 0.01 for colour in COLOURS)
    assert [each.name for each in path.parent.iterdir()] == ["matches.png"]


def test_what_does_not_match_is_not_drawn(tmp_path):
    views, points = [FilmView(limb()), FilmView(limb())], [(80.0, 60.0)]
    matches_figure(views, level_bands(), tmp_path / "some.png", points=points)
    matches_figure(views, 0.15 * level_bands(), tmp_path / "none.png", points=points)
    some, none = (colour_share(tmp_path / f"{name}.png", COLOURS[0]) for name in ("some", "none"))
    assert some > 0.01 > 5 * none


def test_truth_adds_a_row(tmp_path):
    views = [FilmView(limb()), FilmView(limb())]
    matches_figure(views, level_bands(), tmp_path / "one.png")
    matches_figure(views, level_bands(), tmp_path / "two.png", truth=level_bands())
    heights = []
    for name in ("one.png", "two.png"):
        with Image.open(tmp_path / name) as picture:
            heights.append(picture.height)
    assert heights[1] > 1.7 * heights[0]


def test_the_same_matches_give_the_same_picture_and_global_state_stays(tmp_path):
    backend = mpl.get_backend()
    views = [FilmView(limb()), FilmView(limb())]
    for name in ("a.png", "b.png"):
        matches_figure(views, level_bands(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert mpl.get_backend() == backend


def test_patches_and_pixels():
    view = FilmView(limb(160, 320))
    assert view.patch_of((-0.5, -0.5), GRID) == 0
    assert view.patch_of((10.0, 25.0), GRID) == 17
    assert view.patch_of((159.4, 319.4), GRID) == 255
    assert view.patch_of((160.0, 0.0), GRID) is None
    assert view.centre_of(17, GRID) == (14.5, 29.5)
    padded = FilmView(limb(160, 160), field=(-80.0, 0.0, 240.0, 160.0))
    assert padded.centre_of(0, GRID) == (-70.5, 4.5)
    assert padded.patch_of(padded.centre_of(200, GRID), GRID) == 200


def test_what_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "never.png"
    two = [FilmView(limb()), FilmView(limb())]
    with pytest.raises(InputError, match="two views or more"):
        matches_figure(two[:1], level_bands(1), path)
    with pytest.raises(InputError, match="matrices"):
        matches_figure(two, level_bands(3), path)
    with pytest.raises(InputError, match="matrices"):
        matches_figure(two, level_bands(), path, truth=level_bands(), grid=(8, 8))
    with pytest.raises(InputError, match="outside"):
        matches_figure(two, level_bands(), path, points=[(500.0, 3.0)])
    with pytest.raises(InputError, match="at most 4"):
        matches_figure(two, level_bands(), path, points=[(1.0, 1.0)] * 5)
    with pytest.raises(InputError, match="outside"):
        matches_figure(two, level_bands(), path, points=[(math.inf, 3.0)])
    assert not path.exists()
