"""The truth of each label alone."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.correspondence import (
    BONE_WEIGHT,
    TissueWeight,
    correspondence,
    correspondence_by_label,
    pixel_correspondence,
    weights_by_label,
)
from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.volumes.volume import Volume


def scene(seed: int) -> tuple[Volume, Volume, Cameras]:
    """Tissue, labels 0, 3 and 4 strewn over it, and two views that cut it off."""
    draw = torch.Generator().manual_seed(seed)
    affine = torch.diag(torch.tensor([2.0, 2.5, 3.0, 1.0])).double()
    volume = Volume(600 * torch.randn(8, 9, 7, generator=draw), affine)
    labels = torch.tensor([0.0, 3.0, 4.0])[torch.randint(3, (8, 9, 7), generator=draw)]
    angles = 360 * torch.rand(3, 2, generator=draw)
    cameras = Cameras.from_angles(
        *angles, sod_mm=200, sdd_mm=260, size=(12, 8), pixel_mm=2.0, isocenter=volume.center
    )
    return volume, Volume(labels, affine, "labels"), cameras


@given(st.integers(0, 10_000), st.sampled_from([TissueWeight(), BONE_WEIGHT, torch.sigmoid]))
@settings(max_examples=8)
def test_labels_divide_the_truth(seed: int, weight):
    volume, labels, cameras = scene(seed)
    parts = correspondence_by_label(volume, labels, cameras, 4, weight)
    assert list(parts) == [0, 3, 4]
    whole = correspondence(volume, cameras, 4, weight=weight)
    largest = torch.stack(list(parts.values())).amax(0)
    torch.testing.assert_close(largest, whole, rtol=0, atol=1e-6)


def test_beads_by_hand():
    """Bead 1 stands in the middle of both views, bead 2 four pixels below: 1 matches 1, and 2 matches 2."""
    values, names = torch.full((13, 13, 13), -1000.0), torch.zeros(13, 13, 13)
    values[6, 6, 6], values[2, 6, 6] = 3000.0, 3000.0
    names[6, 6, 6], names[2, 6, 6] = 1, 2
    volume, labels = Volume(values, torch.eye(4)), Volume(names, torch.eye(4))
    cameras = Cameras.from_angles(
        [0, 90], 0, sod_mm=1e4, sdd_mm=1e4, size=(13, 13), pixel_mm=1.0, isocenter=(6, 6, 6)
    )
    middle, below = 6 * 13 + 6, 10 * 13 + 6
    whole = correspondence(volume, cameras, 1)[0, 1]
    parts = correspondence_by_label(volume, labels, cameras, 1)
    assert parts[0].max() == 0
    assert parts[1][0, 1, middle, middle] == whole[middle, middle] == pytest.approx(1.0)
    assert parts[2][0, 1, below, below] == whole[below, below] == pytest.approx(1.0)
    assert parts[1][0, 1, below, below] == parts[2][0, 1, middle, middle] == 0
    assert parts[1][0, 1, middle, below] == parts[2][0, 1, middle, below] == 0


def test_a_labels_weights_serve_every_function():
    volume, labels, cameras = scene(2)
    parts = correspondence_by_label(volume, labels, cameras, 1)
    for label, weights in weights_by_label(volume, labels):
        sparse = pixel_correspondence(weights, cameras, 0, 1, weight=None, above=0)
        torch.testing.assert_close(sparse.to_dense(), parts[label][0, 1])


def test_labels_that_do_not_fit_are_refused():
    volume, labels, cameras = scene(0)
    with pytest.raises(InputError, match=r"labels has shape \(7, 9, 7\)"):
        correspondence_by_label(volume, replace(labels, values=labels.values[:7]), cameras, 4)
    moved = labels.world_from_voxel.clone()
    moved[0, 3] += 0.1
    with pytest.raises(InputError, match="labels lies elsewhere"):
        weights_by_label(volume, replace(labels, world_from_voxel=moved))
    stretched = labels.world_from_voxel.clone()
    stretched[2, 2] *= 1.01
    with pytest.raises(InputError, match="labels lies elsewhere"):
        weights_by_label(volume, replace(labels, world_from_voxel=stretched))
    for values in (labels.values - 1, labels.values + 0.5):
        with pytest.raises(InputError, match="no labels"):
            weights_by_label(volume, replace(labels, values=values))


def test_labels_read_from_single_precision_fit():
    volume, labels, _ = scene(1)
    affine = volume.world_from_voxel + 0.1 / 3
    volume = replace(volume, world_from_voxel=affine)
    labels = replace(labels, world_from_voxel=affine.float())
    assert [label for label, _ in weights_by_label(volume, labels)] == [0, 3, 4]
