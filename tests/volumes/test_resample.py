"""Other grids for the same volume: nothing moves in the world."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.volumes.resample import crop, resample
from crossray.volumes.volume import Volume


def oblique(values: torch.Tensor, spacing: tuple[float, float, float] = (0.5, 1.0, 3.0)) -> Volume:
    """A volume turned about two axes and shifted."""
    turn = torch.tensor([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]], dtype=torch.float64)
    tilt = torch.tensor([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]], dtype=torch.float64)
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = turn @ tilt * torch.tensor(spacing, dtype=torch.float64)
    affine[:3, 3] = torch.tensor([10.0, -20, 5])
    return Volume(values, affine, "oblique")


def centres(volume: Volume) -> torch.Tensor:
    """World positions [z, y, x, 3] of all voxels."""
    depth, height, width = volume.values.shape
    axes = [torch.arange(n, dtype=torch.float64) for n in (depth, height, width)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    index = torch.stack([x, y, z], dim=-1)
    return index @ volume.world_from_voxel[:3, :3].T + volume.world_from_voxel[:3, 3]


def linear_field(volume: Volume) -> torch.Tensor:
    """A value linear in the world: linear interpolation must reproduce it."""
    return (centres(volume) @ torch.tensor([2.0, -3, 5], dtype=torch.float64) + 7).float()


def test_crop_by_hand() -> None:
    values = torch.arange(60.0).reshape(3, 4, 5)
    part = crop(
        Volume(values, torch.eye(4, dtype=torch.float64)), (slice(1, 3), slice(2), slice(3, None))
    )
    assert torch.equal(part.values, values[1:3, :2, 3:])
    assert part.world_from_voxel[:3, 3].tolist() == [3, 0, 1]


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_crop_moves_nothing(z: int, y: int, x: int) -> None:
    volume = oblique(torch.randn(5, 6, 7))
    part = crop(volume, (slice(z, z + 2), slice(y, y + 3), slice(x, None)))
    torch.testing.assert_close(centres(part), centres(volume)[z : z + 2, y : y + 3, x:])


def test_crop_refuses_nothing_and_steps() -> None:
    volume = oblique(torch.zeros(4, 4, 4))
    for bad in (slice(2, 2), slice(9, 12), slice(0, 4, 2)):
        with pytest.raises(InputError, match="oblique"):
            crop(volume, (slice(None), bad, slice(None)))


def test_resample_to_the_same_spacing_changes_nothing() -> None:
    volume = oblique(torch.randn(3, 4, 5))
    same = resample(volume, volume.spacing)
    torch.testing.assert_close(same.values, volume.values)
    torch.testing.assert_close(same.world_from_voxel, volume.world_from_voxel)


def test_resample_by_hand() -> None:
    # Two voxels of 2 mm cover -1 to 3 mm; at 1 mm their centres lie at -0.5, 0.5, 1.5, 2.5 mm.
    values = torch.tensor([0.0, 8.0]).expand(2, 2, 2)
    volume = Volume(values, torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64)))
    fine = resample(volume, 1.0)
    assert fine.values.shape == (4, 4, 4)
    assert fine.values[2, 1].tolist() == [0, 2, 6, 8]
    assert fine.world_from_voxel[:3, 3].tolist() == [-0.5, -0.5, -0.5]


@given(st.floats(0.3, 4), st.floats(0.3, 4), st.floats(0.3, 4))
def test_resample_reproduces_a_linear_field(x: float, y: float, z: float) -> None:
    volume = oblique(torch.zeros(6, 9, 12))
    volume.values.copy_(linear_field(volume))
    other = resample(volume, (x, y, z))
    assert other.spacing == pytest.approx((x, y, z))
    torch.testing.assert_close(other.center, volume.center)
    index = centres(other) @ volume.voxel_from_world[:3, :3].T + volume.voxel_from_world[:3, 3]
    last = torch.tensor([11, 8, 5])
    within = ((index > -1e-6) & (index < last + 1e-6)).all(dim=-1)
    torch.testing.assert_close(
        other.values[within], linear_field(other)[within], atol=1e-3, rtol=1e-4
    )


@given(st.floats(0.2, 5))
def test_resample_covers_the_extent(spacing: float) -> None:
    volume = oblique(torch.zeros(4, 8, 16))
    other = resample(volume, spacing)
    for axis in range(3):
        old = volume.values.shape[2 - axis] * volume.spacing[axis]
        new = other.values.shape[2 - axis] * spacing
        assert abs(new - old) <= spacing / 2 + 1e-6 or other.values.shape[2 - axis] == 1


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan"), (1.0, 0.0, 1.0)])
def test_resample_refuses_spacings(spacing: float | tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="positive"):
        resample(oblique(torch.zeros(2, 2, 2)), spacing)
