"""One sample from a seed: images and truth share their geometry, and every option does what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crossray.correspondence import correspondence
from crossray.data.sample import (
    Sample,
    SampleConfig,
    enlarge,
    lateral_cut,
    make_sample,
    prepare,
    stretched,
)
from crossray.errors import InputError
from crossray.geometry.views import ViewSampling
from crossray.projection import project
from crossray.volumes.phantom import phantom
from crossray.volumes.volume import Volume

CONFIG = SampleConfig(views=ViewSampling(size=(64, 64)), patch=8)


@pytest.fixture(scope="module")
def hand() -> Volume:
    return phantom("hand", 0, 4.0)


def grid(values: torch.Tensor, spacing: float = 2.0) -> Volume:
    affine = torch.diag(torch.tensor([spacing, spacing, spacing, 1]).double())
    affine[:3, 3] = torch.tensor([-50.0, 20.0, 30.0])
    return Volume(values, affine, "piece")


def same(one: Sample, other: Sample) -> None:
    for name in ("images", "correspondence", "lines"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    for name in ("source", "first_pixel", "column_step", "row_step"):
        assert torch.equal(getattr(one.cameras, name), getattr(other.cameras, name))


def test_what_a_sample_is(hand: Volume):
    sample = make_sample(hand, 1, CONFIG)
    assert sample.images.shape == sample.lines.shape == (2, 64, 64)
    assert sample.correspondence.shape == (2, 2, 64, 64)
    assert sample.images.dtype == sample.correspondence.dtype == torch.float32
    assert float(sample.correspondence.min()) == 0
    assert 0.9 < float(sample.correspondence.max()) <= 1
    assert torch.equal(sample.correspondence[0, 1], sample.correspondence[1, 0].T)
    assert not sample.correspondence[0, 0].any()
    assert not sample.correspondence[1, 1].any()


def test_the_seed_decides_everything(hand: Volume):
    sample = make_sample(hand, 1, CONFIG)
    same(sample, make_sample(hand, 1, CONFIG))
    same(sample, make_sample(prepare(hand, CONFIG), 1, CONFIG))
    other = make_sample(hand, 2, CONFIG)
    assert not torch.equal(sample.cameras.source, other.cameras.source)
    assert not torch.equal(sample.images, other.images)


@pytest.mark.parametrize("protocol", ["clinical", "uniform"])
@pytest.mark.parametrize("seed", range(6))
def test_a_bright_block_lights_the_patches_that_the_matrix_names(protocol: str, seed: int):
    """The one thing in the volume shows in both images; the matrix joins just the patches it shows in."""
    hu = torch.full((60, 60, 60), -1000.0)
    hu[28:33, 27:32, 26:31] = 1500
    piece = grid(hu)
    config = SampleConfig(ViewSampling(protocol, size=(64, 64), offset=0.1), patch=8, fade_mm=0)
    sample = make_sample(piece, seed, config)
    per_patch = sample.lines.reshape(2, 8, 8, 8, 8).amax((2, 4)).flatten(1)
    named = [sample.correspondence[0, 1].amax(1), sample.correspondence[1, 0].amax(1)]
    for shown, matched in zip(per_patch, named, strict=True):
        assert shown.any()
        assert torch.equal(shown > 0, matched > 0)
    center = torch.tensor([[26 + 2.0, 27 + 2, 28 + 2]]).double() * 2 + piece.world_from_voxel[:3, 3]
    row_column = sample.cameras.project_points(center)[:, 0]
    one, other = (int(r + 0.5) // 8 * 8 + int(c + 0.5) // 8 for r, c in row_column.tolist())
    assert float(sample.correspondence[0, 1, one, other]) > 0.9
    for image, patch in zip(sample.images, (one, other), strict=True):
        bright = image.reshape(8, 8, 8, 8).amax((1, 3)).flatten()
        assert float(bright[patch]) > 0.9


def test_lines_and_truth_are_those_of_the_prepared_volume(hand: Volume):
    source = prepare(hand, CONFIG)
    sample = make_sample(source, 3, CONFIG)
    assert torch.equal(sample.lines, project(source.volume.attenuation(60.0), sample.cameras))
    whole = correspondence(source.volume, sample.cameras, patch=8)
    torch.testing.assert_close(sample.correspondence[0, 1], whole[0, 1])
    other = make_sample(hand, 3, replace(CONFIG, kev=100.0))
    assert float(other.lines.max()) < 0.9 * float(sample.lines.max())


def test_thin_spares_rays_and_nothing_else(hand: Volume):
    full, thin = make_sample(hand, 4, CONFIG), make_sample(hand, 4, replace(CONFIG, thin=2))
    assert thin.lines.shape == (2, 32, 32)
    assert thin.images.shape == (2, 64, 64)
    assert torch.equal(thin.images[:, ::2, ::2], thin.images[:, 1::2, 1::2])
    assert torch.equal(thin.cameras.first_pixel, full.cameras.first_pixel)
    assert torch.equal(thin.correspondence, full.correspondence)
    pooled = torch.nn.functional.avg_pool2d(full.lines[None], 2)[0]
    assert float((pooled - thin.lines).abs().mean()) < 0.1 * float(pooled.mean())


def test_thin_that_does_not_divide_the_image_is_refused(hand: Volume):
    for thin in (0, 3):
        with pytest.raises(InputError, match=f"thin={thin}"):
            make_sample(hand, 0, replace(CONFIG, thin=thin))


def test_enlarge_by_hand():
    small = torch.tensor([[[1.0, 2]]])
    assert enlarge(small, 2).tolist() == [[[1, 1, 2, 2], [1, 1, 2, 2]]]
    assert torch.equal(enlarge(small, 1), small)


def test_options_of_the_truth(hand: Volume):
    exact = make_sample(hand, 5, CONFIG)
    none = make_sample(hand, 5, replace(CONFIG, truth=False))
    assert none.correspondence.shape == exact.correspondence.shape
    assert not none.correspondence.any()
    coarse = make_sample(hand, 5, replace(CONFIG, truth_block=2))
    paper = make_sample(hand, 5, replace(CONFIG, definition="paper"))
    for sample in (none, coarse, paper):
        assert torch.equal(sample.images, exact.images)
    assert not torch.equal(coarse.correspondence, exact.correspondence)
    both = torch.stack(
        [coarse.correspondence[0, 1].flatten(), exact.correspondence[0, 1].flatten()]
    )
    assert float(torch.corrcoef(both)[0, 1]) > 0.9
    expected = correspondence(prepare(hand, CONFIG).volume, paper.cameras, 8, "paper")
    torch.testing.assert_close(paper.correspondence[0, 1], expected[0, 1])


def test_truth_blocks_average_within_slices(hand: Volume):
    source = prepare(hand, replace(CONFIG, truth_block=2))
    depth, height, width = source.volume.values.shape
    assert source.truth.values.shape == (depth, -(-height // 2), -(-width // 2))
    for config in (CONFIG, replace(CONFIG, truth_block=2, definition="paper")):
        plain = prepare(hand, config)
        assert plain.truth is plain.volume


def test_truth_on_fewer_pixels_is_that_of_a_coarser_detector(hand: Volume):
    source = prepare(hand, CONFIG)
    sample = make_sample(source, 5, replace(CONFIG, truth_thin=2))
    rows, columns = CONFIG.views.size
    coarse = correspondence(
        source.truth,
        sample.cameras.regrid((rows // 2, columns // 2)),
        CONFIG.patch // 2,
        itself=False,
    )
    assert torch.equal(sample.correspondence, coarse)
    assert torch.equal(sample.images, make_sample(source, 5, CONFIG).images)
    with pytest.raises(InputError, match="truth_thin=3 does not divide patches"):
        make_sample(source, 5, replace(CONFIG, truth_thin=3))


def test_ends_fade_by_hand():
    flesh = grid(torch.zeros(8, 2, 2))  # slices of 2 mm
    faded = prepare(flesh, SampleConfig(fade_mm=4)).volume.values[:, 0, 0]
    # Over two slices, whose centres lie a quarter and three quarters in.
    assert faded.tolist() == [-750, -250, 0, 0, 0, 0, -250, -750]
    assert prepare(flesh, SampleConfig(fade_mm=0)).volume is flesh
    # Never more than a quarter of the slices at each end.
    short = prepare(grid(torch.zeros(4, 2, 2)), SampleConfig(fade_mm=10)).volume.values[:, 0, 0]
    assert short.tolist() == [-500, 0, 0, -500]


def test_reach_is_where_the_slices_lie():
    piece = grid(torch.zeros(8, 2, 2))
    assert prepare(piece, CONFIG).reach_mm == (30, 44)
    upside_down = piece.world_from_voxel.clone()
    upside_down[2, 2] = -2
    assert prepare(replace(piece, world_from_voxel=upside_down), CONFIG).reach_mm == (16, 30)


def test_stretched_by_hand():
    source = prepare(grid(torch.full((10, 6, 4), 500.0)))
    long = stretched(source, np.array([1.0, 0.5, 2.0]))
    for one, other in (
        (source.attenuation, long.attenuation),
        (source.volume, long.volume),
        (source.truth, long.truth),
    ):
        assert torch.equal(one.values, other.values)
        assert other.spacing == (2.0, 1.0, 4.0)
    assert long.reach_mm == (60.0, 60.0 + 9 * 4.0)
    assert np.allclose(long.anchors, source.anchors * [1.0, 0.5, 2.0])


def test_stretching_follows_the_voxel_grid():
    """A turned limb stays a box: its axes keep their directions."""
    volume = grid(torch.full((10, 6, 4), 500.0))
    turn = torch.eye(4, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    source = prepare(Volume(volume.values, turn @ volume.world_from_voxel, "turned"))
    long = stretched(source, np.array([1.1, 0.9, 1.2])).volume
    assert long.spacing == pytest.approx((2.2, 1.8, 2.4))
    before, after = source.volume.world_from_voxel[:3, :3], long.world_from_voxel[:3, :3]
    assert torch.allclose(before / before.norm(dim=0), after / after.norm(dim=0))


def test_a_stretched_sample_is_that_of_the_stretched_volume(hand: Volume):
    config = replace(CONFIG, stretch=0.2)
    sample = make_sample(hand, 1, config)
    source = stretched(prepare(hand, config), 1.2 ** np.random.default_rng(1).uniform(-1, 1, 3))
    assert torch.equal(sample.lines, project(source.attenuation, sample.cameras))
    assert torch.equal(
        sample.correspondence,
        correspondence(source.truth, sample.cameras, config.patch, itself=False),
    )


def test_views_are_anchored_in_bone(hand: Volume):
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = torch.tensor([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]]).double()
    oblique = replace(hand, world_from_voxel=turn @ hand.world_from_voxel)
    anchors = prepare(oblique, CONFIG).anchors
    voxels = anchors @ oblique.voxel_from_world[:3, :3].numpy().T
    voxels = voxels + oblique.voxel_from_world[:3, 3].numpy()
    index = np.rint(voxels).astype(int)
    np.testing.assert_allclose(voxels, index, atol=1e-6)
    assert (hand.values.numpy()[index[:, 2], index[:, 1], index[:, 0]] > 250).all()
    assert (
        len(np.unique(index, axis=0)) == len(anchors) == min(4096, int((hand.values > 250).sum()))
    )
    assert len(prepare(grid(torch.full((20, 20, 20), 300.0)), CONFIG).anchors) == 4096


def test_views_are_anchored_in_flesh_without_bone_and_in_the_middle_without_flesh():
    hu = torch.full((6, 6, 6), -1000.0)
    empty = grid(hu)
    np.testing.assert_allclose(prepare(empty, CONFIG).anchors, [empty.center.numpy()])
    hu = hu.clone()
    hu[1, 2, 3], hu[4, 4, 4] = 0, 900
    anchors = prepare(grid(hu), CONFIG).anchors
    np.testing.assert_allclose(anchors, [[-44, 24, 32], [-42, 28, 38]])


def test_lateral_cut_by_hand(hand: Volume):
    assert lateral_cut(hand) == 0
    hu = torch.full((4, 4, 4), -1000.0)
    hu[0], hu[-1] = 40, 40  # the ends alone, half of every side
    assert lateral_cut(grid(hu)) == pytest.approx(0.5)
    hu = torch.full((4, 4, 4), -1000.0)
    hu[:, :, 0] = 40  # one side, and a quarter of its two neighbours
    assert lateral_cut(grid(hu)) == pytest.approx((1 + 0.25 + 0.25) / 4)
    assert lateral_cut(grid(torch.zeros(4, 4, 4))) == 1


def test_a_patch_that_does_not_divide_the_image_is_refused(hand: Volume):
    with pytest.raises(InputError, match="patch=7"):
        make_sample(hand, 0, replace(CONFIG, patch=7))


def test_a_negative_seed_is_refused(hand: Volume):
    with pytest.raises(InputError, match="seed=-1"):
        make_sample(hand, -1, CONFIG)
