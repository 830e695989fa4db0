"""What a voxel weighs, and how an image divides into patches."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.correspondence.patches import BONE_WEIGHT, TissueWeight, patch_grid
from crossray.errors import InputError


def test_weights_by_hand():
    hu = torch.tensor([-1000, -500.01, -500, -150, 50, 250, 3000])
    expected = [
        0,
        0,
        1 / (1 + math.exp(1.75)),
        0.5,
        1 / (1 + math.exp(-1)),
        1 / (1 + math.exp(-2)),
        1,
    ]
    torch.testing.assert_close(TissueWeight()(hu), torch.tensor(expected), atol=1e-6, rtol=0)


def test_bone_weight_by_hand():
    hu = torch.tensor([-1.0, 0, 250, 300])
    expected = [0, 1 / (1 + math.exp(5)), 0.5, 1 / (1 + math.exp(-1))]
    torch.testing.assert_close(BONE_WEIGHT(hu), torch.tensor(expected), atol=1e-6, rtol=0)


def test_weights_leave_their_input_alone():
    hu = torch.tensor([[-1000.0, 0.0]])
    assert TissueWeight()(hu).shape == (1, 2)
    assert hu.tolist() == [[-1000.0, 0.0]]


tissue = st.builds(
    TissueWeight, st.floats(-300, 300), st.floats(0.002, 0.05), st.floats(-800, -400)
)


@given(tissue, st.lists(st.floats(-1024, 3000, width=32), min_size=2))
def test_more_hu_weigh_no_less(weight: TissueWeight, hu):
    weights = weight(torch.tensor(hu).sort().values)
    assert bool((weights.diff() >= 0).all())
    assert 0 <= float(weights.min()) <= float(weights.max()) <= 1


@given(tissue)
def test_the_logistic_says_the_same(weight: TissueWeight):
    midpoint, slope, lowest = weight.logistic()
    at = torch.tensor([midpoint, midpoint + 1 / slope, lowest - 1, lowest + 1], dtype=torch.float64)
    found = weight(at)
    assert float(found[0]) == pytest.approx(0.5)
    assert float(found[2]) == 0 < float(found[3])
    torch.testing.assert_close(found[1], 1 / (1 + torch.exp(slope * (midpoint - at[1]))))


def test_patch_grids():
    assert patch_grid((256, 256), 16) == (16, 16)
    assert patch_grid((32, 48), 16) == (2, 3)
    assert patch_grid((5, 7), 1) == (5, 7)


@pytest.mark.parametrize(("size", "patch"), [((32, 40), 16), ((40, 32), 16), ((8, 8), 16)])
def test_patches_that_do_not_divide_the_image_are_refused(size, patch):
    with pytest.raises(InputError, match=f"patch=16 .* {size[0]} x {size[1]} .*common divisor"):
        patch_grid(size, patch)


@pytest.mark.parametrize("patch", [0, -4])
def test_patches_without_pixels_are_refused(patch):
    with pytest.raises(InputError, match=f"patch={patch}"):
        patch_grid((16, 16), patch)
