"""Why a patch matches nothing: a scene built by hand, and what must hold of any."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.correspondence import Visibility, correspondence, visibility
from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.volumes.volume import Volume

SEEN, OUTSIDE, AIR = Visibility


def test_beads_by_hand():
    """Two beads; the first view shows both, the second, cut four pixels higher, only the upper one.

    The source is far, so world mm are pixels. The upper bead (z = 10) lies in row 2 of the first view and in row 6 of
    the second, the lower one (z = 2) in row 10 of the first, below the second's last row. All lie in column 6.
    """
    values = torch.zeros(13, 13, 13)
    values[10, 6, 6] = values[2, 6, 6] = 1.0
    volume = Volume(values, torch.eye(4))
    cameras = Cameras.from_angles(
        [0, 90], 0, sod_mm=1e5, sdd_mm=1e5, size=(12, 12), pixel_mm=1.0, isocenter=(6, 6, 6)
    ).crop(0.5, 0.5, (12, 12))
    cameras = Cameras.stack([cameras[0].crop(-1, -1, (12, 12)), cameras[1].crop(-5, -1, (12, 12))])
    codes = visibility(correspondence(volume, cameras, 4, weight=None)).view(2, 2, 3, 3)
    expected = torch.full((2, 2, 3, 3), AIR, dtype=torch.int8)
    expected[0, 0, 0, 1] = expected[0, 0, 2, 1] = expected[1, 1, 1, 1] = SEEN
    expected[0, 1, 0, 1], expected[0, 1, 2, 1] = SEEN, OUTSIDE
    expected[1, 0, 1, 1] = SEEN
    assert torch.equal(codes, expected)


def scene(seed: int) -> tuple[Volume, Cameras]:
    """A few beads, and two views that show some of them."""
    draw = torch.Generator().manual_seed(seed)
    values = torch.rand(12, 12, 12, generator=draw)
    values[torch.rand(12, 12, 12, generator=draw) < 0.995] = 0
    cameras = Cameras.from_angles(
        *(360 * torch.rand(3, 2, generator=draw)), sod_mm=100, sdd_mm=120, size=(12, 12),
        pixel_mm=0.8, isocenter=(3, 4, 7),
    )  # fmt: skip
    return Volume(values, torch.eye(4)), cameras


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.2]))
@settings(max_examples=25)
def test_a_detector_large_enough_sees_all_but_air(seed: int, above: float):
    volume, cameras = scene(seed)
    codes = visibility(correspondence(volume, cameras, 3, weight=None), above)
    wide = correspondence(volume, cameras.crop(-24, -24, (60, 60)), 3, weight=None)
    inner = visibility(wide, above).view(2, 2, 20, 20)[:, :, 8:12, 8:12].flatten(2)
    assert (inner[codes != AIR] == SEEN).all()
    if above == 0:
        assert (inner[codes == AIR] == AIR).all()


@given(st.integers(0, 10_000))
@settings(max_examples=10)
def test_no_patch_lies_outside_its_own_view(seed: int):
    volume, cameras = scene(seed)
    codes = visibility(correspondence(volume, cameras, 3, weight=None))
    assert not (codes.diagonal() == OUTSIDE).any()


def test_a_matrix_without_its_own_blocks_is_refused():
    volume, cameras = scene(0)
    matrix = correspondence(volume, cameras, 3, weight=None, itself=False)
    with pytest.raises(InputError, match="itself=True"):
        visibility(matrix)


def test_an_empty_volume_is_air_everywhere():
    volume, cameras = scene(0)
    empty = Volume(torch.zeros_like(volume.values), volume.world_from_voxel)
    assert (visibility(correspondence(empty, cameras, 3, weight=None)) == AIR).all()
