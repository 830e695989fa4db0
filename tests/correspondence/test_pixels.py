"""The pixel level: one pixel's band, and the sparse matrix of two views, are what the dense matrix holds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.correspondence import TissueWeight, band, correspondence, pixel_correspondence
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
        torch.testing.assert_close(
            found, expected, rtol=0, atol=3e-6 * max(1.0, float(matrix.max()))
        )


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


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.2, 0.7]))
@settings(max_examples=12)
@pytest.mark.parametrize(("view", "other"), [(0, 1), (2, -2), (1, 1)])
@pytest.mark.parametrize("weight", [TissueWeight(), lambda hu: hu.clamp(0, 1000) / 500])
def test_the_sparse_matrix_is_the_dense_one_without_small_entries(
    weight, view: int, other: int, seed: int, above: float
):
    volume, cameras = scene(seed)
    dense = correspondence(volume, cameras, 1, weight=weight)[view, other]
    sparse = pixel_correspondence(volume, cameras, view, other, weight, above)
    assert (sparse.values() > above).all()
    near = (dense - above).abs() < 3e-6 if above else torch.zeros_like(dense).bool()
    expected = dense.where((dense > above) & ~near, 0.0)
    found = sparse.to_dense().where(~near, 0.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-6)  # single precision, twice


@given(st.integers(0, 10_000))
@settings(max_examples=5)
def test_swapping_views_transposes_the_sparse_matrix(seed: int):
    volume, cameras = scene(seed)
    one = pixel_correspondence(volume, cameras, 0, 1, above=0)
    two = pixel_correspondence(volume, cameras, 1, 0, above=0)
    torch.testing.assert_close(one.to_dense(), two.to_dense().T)


def larger_scene() -> tuple[Volume, Cameras]:
    """64 voxels and 72 pixels a side: several blocks of detector rows, voxels on the fast paths."""
    draw = torch.Generator().manual_seed(0)
    values = 500 * torch.randn(64, 64, 64, generator=draw) - 700
    cameras = Cameras.from_angles(
        [10, 95], [-20, 15], [30, 80], sod_mm=300, sdd_mm=350, size=(72, 72), pixel_mm=1.1,
        isocenter=(31, 30, 33),
    )  # fmt: skip
    return Volume(values, torch.eye(4)), cameras


def test_rows_of_a_larger_sparse_matrix_are_bands():
    volume, cameras = larger_scene()
    matrix = pixel_correspondence(volume, cameras, 0, 1)
    assert matrix.crow_indices().dtype == torch.int32
    assert matrix._nnz() > 100_000
    for pixel in range(35, 72 * 72, 451):
        row = band(volume, cameras, 0, divmod(pixel, 72))[1].flatten()
        torch.testing.assert_close(matrix[pixel].to_dense(), row.where(row > 0.2, 0.0))


def test_the_sparse_matrix_is_the_same_for_any_number_of_threads_and_rows_at_once(monkeypatch):
    from numba import set_num_threads

    from crossray.correspondence import ground_truth

    volume, cameras = scene(3)
    whole = pixel_correspondence(volume, cameras, 0, 1)
    monkeypatch.setattr(ground_truth, "_ROWS_AT_ONCE", 3)
    pieces = pixel_correspondence(volume, cameras, 0, 1)
    set_num_threads(1)
    alone = pixel_correspondence(volume, cameras, 0, 1)
    for part in ("crow_indices", "col_indices", "values"):
        assert torch.equal(getattr(whole, part)(), getattr(pieces, part)())
        assert torch.equal(getattr(whole, part)(), getattr(alone, part)())


def test_a_sparse_matrix_that_does_not_exist_is_refused():
    volume, cameras = scene(0)
    with pytest.raises(InputError, match="other=3: there are 3 views"):
        pixel_correspondence(volume, cameras, 0, 3)
    for above in (-0.1, float("nan")):
        with pytest.raises(InputError, match=f"above={above}"):
            pixel_correspondence(volume, cameras, 0, 1, above=above)
