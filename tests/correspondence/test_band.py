"""One pixel's band is its row of the pixel-level matrix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.correspondence import TissueWeight, band, correspondence
from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.volumes.volume import Volume

SIZE = (14, 11)


def scene(seed: int) -> tuple[Volume, Cameras]:
    """Uneven tissue that reaches the volume's border, and three views that cut it off."""
    draw = torch.Generator().manual_seed(seed)
    values = 600 * torch.randn(9, 8, 7, generator=draw)
    affine = torch.diag(torch.tensor([2.0, 2.5, 3.0, 1.0])).double()
    affine[:3, 3] = torch.tensor([-7.0, -9, -12])
    angles = 360 * torch.rand(3, 3, generator=draw)
    cameras = Cameras.from_angles(
        *angles, sod_mm=200, sdd_mm=260, size=SIZE, pixel_mm=1.7, isocenter=(2, -1, 1)
    )
    return Volume(values, affine), cameras


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize(
    ("weight", "normalise"), [(TissueWeight(), True), (TissueWeight(), False), (torch.abs, False)]
)
def test_a_band_is_a_row_of_the_matrix(weight, normalise: bool, seed: int):
    volume, cameras = scene(seed)
    matrix = correspondence(volume, cameras, 1, weight=weight, normalise=normalise)
    for view, row, column in ((0, 7, 5), (1, 2, 9), (2, 13, 0)):
        found = band(volume, cameras, view, (row, column), weight, normalise)
        expected = matrix[view, :, row * SIZE[1] + column].reshape(3, *SIZE)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_a_ray_through_air_matches_nothing():
    volume, cameras = scene(0)
    air = Volume(torch.full_like(volume.values, -1000.0), volume.world_from_voxel)
    assert not band(air, cameras, 0, (7, 5)).any()
    beside = cameras.crop(1000, 0, SIZE)
    assert not band(volume, beside, -1, (7, 5)).any()


@pytest.mark.parametrize(("view", "pixel"), [(3, (0, 0)), (-4, (0, 0)), (0, (14, 0)), (0, (0, -1))])
def test_a_pixel_that_does_not_exist_is_refused(view: int, pixel: tuple[int, int]):
    volume, cameras = scene(0)
    with pytest.raises(InputError, match=rf"view={view}.*14 x 11"):
        band(volume, cameras, view, pixel)
