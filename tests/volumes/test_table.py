"""Couch removal on scenes made by hand, and on the real CTs where they are at hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.volumes.io import list_cts, read_ct
from crossray.volumes.table import _dilated, body_box, cut_faces, remove_table
from crossray.volumes.volume import Volume

SPACING = (1.0, 1.0, 3.0)
SHAPE = (20, 80, 100)


def grid() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coordinates z, y, x in mm of every voxel."""
    axes = [torch.arange(n) * step for n, step in zip(SHAPE, SPACING[::-1], strict=True)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return z, y, x


def cylinder(x_mm: float, y_mm: float, radius: float) -> torch.Tensor:
    _, y, x = grid()
    return (x - x_mm) ** 2 + (y - y_mm) ** 2 < radius**2


def scene(*parts: tuple[torch.Tensor, float]) -> Volume:
    """Parts, later over earlier, in air."""
    values = torch.full(SHAPE, -1000.0)
    for mask, hu in parts:
        values[mask] = hu
    return Volume(values, torch.diag(torch.tensor([*SPACING, 1.0], dtype=torch.float64)), "scene")


def couch() -> torch.Tensor:
    """A shell 4 mm thick, right under a limb of radius 25 about (50, 35)."""
    _, y, _ = grid()
    return (y >= 60) & (y < 64)


def test_removes_the_couch_and_keeps_limb_and_skin() -> None:
    limb = cylinder(50, 35, 25)
    skin = cylinder(50, 35, 26) & ~limb & ~couch()
    before = scene((couch(), 200.0), (skin, -600.0), (limb, 50.0), (cylinder(50, 35, 8), 900.0))
    after = remove_table(before).values
    assert torch.equal(after[limb], before.values[limb])
    assert torch.equal(after[skin], before.values[skin])
    far = couch() & ~cylinder(50, 35, 25 + 8)
    assert float(after[far].max()) == -1000
    # what is left of it lies where limb and couch together are thick enough for the ball
    assert int((after > -300)[couch()].sum()) < 0.25 * int(couch().sum())


def test_keeps_a_second_limb_and_drops_a_cable() -> None:
    second, cable = cylinder(88, 35, 10), cylinder(8, 10, 4)
    after = remove_table(scene((cylinder(45, 35, 25), 50.0), (second, 50.0), (cable, 50.0))).values
    assert float(after[second].min()) == 50
    assert float(after[cable].max()) == -1000


def test_keeps_air_inside_the_body_and_blankets_nowhere() -> None:
    _, y, _ = grid()
    blanket = (y >= 2) & (y < 5)
    before = scene((blanket, -700.0), (cylinder(50, 40, 30), 50.0), (cylinder(50, 40, 10), -850.0))
    after = remove_table(before).values
    assert float(after[cylinder(50, 40, 10)].max()) == -850
    assert float(after[blanket].max()) == -1000


def test_a_limb_cut_by_the_volume_is_not_eroded_there() -> None:
    limb = cylinder(0, 35, 25)
    after = remove_table(scene((limb, 50.0))).values
    assert torch.equal(after > 0, limb)


def test_spacing_counts_in_mm() -> None:
    # The same voxels at 0.2 mm: a "limb" of 10 mm stays, one of 2 mm is thinner than the ball.
    small = torch.diag(torch.tensor([0.2, 0.2, 0.6, 1.0], dtype=torch.float64))
    thick, thin = cylinder(40, 35, 25), cylinder(85, 35, 5)
    values = scene((thick, 50.0), (thin, 50.0)).values
    after = remove_table(Volume(values, small)).values
    assert float(after[thick].min()) == 50
    assert float(after[thin].max()) == -1000


def test_refuses_a_volume_without_a_body() -> None:
    with pytest.raises(InputError, match="scene holds no body"):
        remove_table(scene((couch() & cylinder(50, 62, 3), 200.0)))


@given(st.integers(0, 2**31), st.floats(0.5, 3), st.floats(0.5, 3), st.floats(0, 4))
def test_ball_agrees_with_all_distances(seed: int, x: float, z: float, radius: float) -> None:
    generator = np.random.default_rng(seed)
    mask = generator.random((4, 5, 6)) < 0.1
    step = np.array([z, 1.0, x])
    there = np.argwhere(mask) * step
    everywhere = np.argwhere(np.ones_like(mask)) * step
    apart = np.linalg.norm(everywhere[:, None] - there[None], axis=2)
    wanted = (apart <= radius * (1 + 1e-9)).any(axis=1).reshape(mask.shape)
    assert np.array_equal(_dilated(mask, (x, 1.0, z), radius * (1 + 1e-9)), wanted)


def test_body_box_by_hand() -> None:
    values = torch.full((6, 7, 8), -1000.0)
    values[2, 3:5, 4] = 0.0
    volume = Volume(values, torch.diag(torch.tensor([1.0, 1, 3, 1], dtype=torch.float64)))
    assert body_box(volume) == (slice(2, 3), slice(3, 5), slice(4, 5))
    assert body_box(volume, margin_mm=3) == (slice(1, 4), slice(0, 7), slice(1, 8))
    assert body_box(volume, threshold=-1500) == (slice(0, 6), slice(0, 7), slice(0, 8))


def test_body_box_refuses_air() -> None:
    with pytest.raises(InputError, match="nothing above -300 HU"):
        body_box(scene())


def test_cut_faces_by_hand() -> None:
    values = torch.full((2, 4, 5), -1000.0)
    values[0, :2, :] = 0.0
    shares = cut_faces(Volume(values, torch.eye(4, dtype=torch.float64)))
    assert shares == pytest.approx(
        {"x_low": 0.25, "x_high": 0.25, "y_low": 0.5, "y_high": 0, "z_low": 0.5, "z_high": 0}
    )


def test_keeps_the_finger_tips_of_a_real_hand(shared: Path) -> None:
    hand = read_ct(shared / "data/ct/vhf_left_hand_1mm.nii.gz")
    after = remove_table(hand)
    bone = hand.values > 300
    assert float((after.values[bone] > 300).float().mean()) > 0.995
    assert body_box(after)[0].start <= 12


def test_removes_the_real_couch(shared: Path) -> None:
    knee = next(ct for ct in list_cts(shared / "data/ct") if ct.person == "sts_051")
    before = read_ct(knee.path)
    after = remove_table(before)
    # a strip through the couch, behind the knees
    assert float(before.values[:, 140:, :60].max()) > 0
    assert float(after.values[:, 140:, :60].max()) == -1000
    assert cut_faces(after)["y_high"] == 0
