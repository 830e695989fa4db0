"""A volume: where its voxels lie, and what it refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.volumes.volume import Volume


def affine(*spacing: float) -> torch.Tensor:
    return torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))


def test_spacing_is_the_length_of_a_step() -> None:
    matrix = affine(1, 1, 3)
    # x runs along (3, 4, 0) mm, that is 5 mm a voxel
    matrix[:3, 0] = torch.tensor([3.0, 4.0, 0.0])
    matrix[:3, 1] = torch.tensor([-0.4, 0.3, 0.0])
    assert Volume(torch.zeros(2, 3, 4), matrix).spacing == pytest.approx((5, 0.5, 3))


def test_center_by_hand() -> None:
    matrix = affine(1, 2, 3)
    matrix[:3, 3] = torch.tensor([10.0, 20.0, 30.0])
    # 4 x 3 x 2 voxels along x, y, z: the middle has the index (1.5, 1, 0.5)
    assert Volume(torch.zeros(2, 3, 4), matrix).center.tolist() == [11.5, 22, 31.5]


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_center_is_the_mean_of_the_voxel_centres(depth: int, height: int, width: int) -> None:
    matrix = torch.randn(4, 4, dtype=torch.float64) + 5 * torch.eye(4, dtype=torch.float64)
    matrix[3] = torch.tensor([0.0, 0, 0, 1])
    volume = Volume(torch.zeros(depth, height, width), matrix)
    ranges = [torch.arange(n, dtype=torch.float64) for n in (width, height, depth)]
    indices = torch.cartesian_prod(*ranges)
    centres = indices @ matrix[:3, :3].T + matrix[:3, 3]
    torch.testing.assert_close(volume.center, centres.mean(dim=0))


def test_voxel_from_world_undoes_world_from_voxel() -> None:
    matrix = affine(0.5, 2, 3)
    matrix[0, 1] = 0.3
    volume = Volume(torch.zeros(2, 2, 2), matrix)
    identity = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(volume.voxel_from_world @ volume.world_from_voxel, identity)


def test_attenuation_keeps_place_and_name() -> None:
    volume = Volume(torch.full((2, 2, 2), -1000.0), affine(1, 1, 2), "leg")
    volume.values[0, 0, 0] = 0
    mu = volume.attenuation(kev=60)
    assert float(mu.values[0, 0, 0]) == pytest.approx(0.02059)
    assert float(mu.values.sum()) == pytest.approx(0.02059)
    assert mu.name == "leg"
    assert mu.world_from_voxel is volume.world_from_voxel


def test_values_are_made_contiguous() -> None:
    values = torch.arange(24.0).reshape(2, 3, 4).transpose(0, 2)
    volume = Volume(values, affine(1, 1, 1))
    assert volume.values.is_contiguous()
    assert torch.equal(volume.values, values)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_refuses_values_that_are_not_finite(bad: float) -> None:
    values = torch.zeros(3, 3, 3)
    values[1, 2, 0] = bad
    with pytest.raises(InputError, match="knee holds NaN or infinite"):
        Volume(values, affine(1, 1, 1), "knee")


def test_refuses_an_affine_without_inverse() -> None:
    with pytest.raises(InputError, match="knee has no invertible"):
        Volume(torch.zeros(3, 3, 3), affine(1, 1, 0), "knee")


def test_refuses_no_voxels() -> None:
    with pytest.raises(InputError, match="three non-empty axes"):
        Volume(torch.zeros(3, 0, 3), affine(1, 1, 1))


def test_says_what_it_is() -> None:
    said = repr(Volume(torch.zeros(2, 3, 4), affine(1, 0.5, 3.27), "sts"))
    assert said == ("Volume(sts: [z, y, x] 2 x 3 x 4, spacing (x, y, z) 1 x 0.5 x 3.27 mm, 0 MB)")


def test_a_volume_moved_is_the_same_volume() -> None:
    volume = Volume(torch.rand(2, 3, 4), torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0])), "leg")
    moved = volume.to("cpu")
    assert torch.equal(moved.values, volume.values)
    assert torch.equal(moved.world_from_voxel, volume.world_from_voxel)
    assert moved.name == "leg"
