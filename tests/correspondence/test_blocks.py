"""Block averages: mean of the voxels, at the place of their mean."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.correspondence.blocks import block_average
from crossray.volumes.volume import Volume


def volume(*shape: int) -> Volume:
    """Random HU on an oblique grid of three spacings."""
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = torch.tensor([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, -1]]).double()
    affine[:3, :3] *= torch.tensor([0.5, 1.0, 3.0])
    affine[:3, 3] = torch.tensor([10.0, -20.0, 30.0])
    return Volume(torch.randn(shape) * 500, affine, "piece")


def test_by_hand():
    values = torch.tensor([[[0.0, 2], [4, 6]], [[8, 10], [12, 14]]])
    piece = Volume(values, torch.diag(torch.tensor([1.0, 2, 3, 1]).double()), "cube")
    averaged = block_average(piece, (2, 2, 2))
    assert averaged.values.tolist() == [[[7.0]]]
    assert averaged.spacing == (2, 4, 6)
    assert averaged.world_from_voxel[:3, 3].tolist() == [0.5, 1.0, 1.5]
    assert averaged.name == "cube"
    assert block_average(piece, (1, 2, 1)).values.tolist() == [[[2.0, 4.0]], [[10.0, 12.0]]]


@pytest.mark.parametrize(("options", "fill"), [({}, -1000.0), ({"fill": 0.0}, 0.0)])
def test_the_far_sides_are_filled_up(options, fill):
    piece = Volume(torch.full((2, 2, 3), 100.0), torch.eye(4).double())
    averaged = block_average(piece, (2, 2, 2), **options)
    assert averaged.values.flatten().tolist() == [100.0, (100 + fill) / 2]


def test_blocks_of_one_voxel_change_nothing():
    piece = volume(3, 4, 5)
    averaged = block_average(piece, (1, 1, 1))
    assert torch.equal(averaged.values, piece.values)
    assert torch.equal(averaged.world_from_voxel, piece.world_from_voxel)


@given(st.tuples(*[st.integers(1, 7)] * 3), st.tuples(*[st.integers(1, 4)] * 3))
def test_against_a_plain_loop(shape, block):
    piece = volume(*shape)
    averaged = block_average(piece, block)
    assert averaged.values.shape == tuple(-(-n // b) for n, b in zip(shape, block, strict=True))
    for place in torch.cartesian_prod(*(torch.arange(n) for n in averaged.values.shape)).tolist():
        total, center = 0.0, torch.zeros(4, dtype=torch.float64)
        for offset in torch.cartesian_prod(*(torch.arange(b) for b in block)).tolist():
            z, y, x = (p * b + o for p, b, o in zip(place, block, offset, strict=True))
            inside = z < shape[0] and y < shape[1] and x < shape[2]
            total += float(piece.values[z, y, x]) if inside else -1000.0
            center += piece.world_from_voxel @ torch.tensor([x, y, z, 1.0]).double()
        count = block[0] * block[1] * block[2]
        assert float(averaged.values[tuple(place)]) == pytest.approx(total / count, abs=1e-2)
        found = averaged.world_from_voxel @ torch.tensor([*place[::-1], 1.0]).double()
        torch.testing.assert_close(found, center / count)
