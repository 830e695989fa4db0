"""The fixed tests: drawn from the seed alone, spread evenly, and with a slope of one for the truth itself."""

import pytest
import torch

from crossray.data.sample import SampleConfig
from crossray.errors import InputError
from crossray.evaluation.metrics import PositionPrior
from crossray.evaluation.protocol import (
    UNSEEN,
    Bench,
    BenchVolume,
    ct_volumes,
    phantom_volumes,
)
from crossray.geometry.views import ViewSampling
from crossray.volumes.volume import Volume


def leg(name="leg", shift=0.0):
    """A bone in soft tissue with a knob at one level, 120 mm long, 3 mm voxels."""
    values = torch.full((40, 20, 20), -1000.0)
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="ij")
    radius = ((y - 9.5) ** 2 + (x - 9.5 - shift) ** 2).sqrt()
    values[:, radius < 8] = 40.0
    values[:, radius < 3] = 900.0
    values[18:22, radius < 6] = 900.0
    affine = torch.diag(torch.tensor([3.0, 3.0, 3.0, 1.0], dtype=torch.float64))
    return BenchVolume(name, f"{name} of {shift}", lambda: Volume(values, affine, name))


CONFIG = SampleConfig(
    views=ViewSampling(size=(64, 64), field_mm=(50.0, 60.0)), patch=8, fade_mm=0.0
)


@pytest.fixture(scope="module")
def bench():
    return Bench([leg("a"), leg("b", 1.0)], CONFIG)


def test_samples_are_spread_over_the_volumes_and_repeat(bench):
    first = list(bench.samples(5, seed=3))
    again = list(Bench([leg("a"), leg("b", 1.0)], CONFIG).samples(5, seed=3))
    assert [person for person, _, _ in first] == ["a", "a", "a", "b", "b"]
    for (_, _, one), (_, _, two) in zip(first, again, strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.correspondence, two.correspondence)
    other = next(bench.samples(1, seed=4))[2]
    assert not torch.equal(first[0][2].images, other.images)


def test_more_pairs_keep_the_first(bench):
    few = {name: sample.images for _, name, sample in bench.samples(2, seed=0)}
    many = {}
    for _, name, sample in bench.samples(4, seed=0):
        many.setdefault(name, sample.images)
    for name, images in few.items():
        assert torch.equal(images, many[name])


def test_the_truth_itself_has_slope_one(bench):
    """What slides is the window; the true band moves against it, so the regression must give 1."""
    for pair in bench.slope_pairs(2, seed=1):
        assert pair.wide.shape[0] == 64 + 6 * 8
        assert pair.offsets == (0, 12, 24, 36, 48)
        from crossray.evaluation.slope import pair_slope

        truths = iter([torch.stack([pair.truth_at(start) for start in pair.offsets])])
        measured = pair_slope(lambda _, truths=truths: next(truths), pair)
        if measured.patches:
            assert measured.slope == pytest.approx(1.0, abs=0.25)
            assert measured.row_error == pytest.approx(0.0, abs=1e-6)


def test_slope_pairs_show_one_scene(bench):
    """Windows are cut from one rendering: neighbours share their pixels."""
    pair = next(bench.slope_pairs(1, seed=0))
    images = pair.images()
    assert torch.equal(images[0, 1, 12:], images[1, 1, :-12])
    assert torch.equal(images[0, 0], images[-1, 0])


def test_truths_make_a_prior_and_are_other_samples(bench):
    truths = list(bench.truths(3, seed=0))
    drawn = [sample.correspondence for _, _, sample in bench.samples(3, seed=0)]
    assert not any(torch.equal(truth, other) for truth in truths for other in drawn)
    prior = PositionPrior.from_truths(truths).matrix()
    assert prior.shape == (2, 2, 64, 64)
    assert 0 < prior.max() <= 1


def test_phantoms_for_tests_are_unseen_persons():
    volumes = phantom_volumes(5)
    assert [volume.name for volume in volumes[:4]] == [
        f"phantom {limb} {UNSEEN + n}"
        for limb, n in (("hand", 0), ("knee", 0), ("ankle", 0), ("hand", 1))
    ]
    assert len({volume.person for volume in volumes}) == 5


def test_people_of_a_split(shared):
    validation = ct_volumes(shared / "data/ct", "val")
    training = ct_volumes(shared / "data/ct", "train")
    assert len({volume.person for volume in validation}) == 8
    assert not {v.person for v in validation} & {v.person for v in training}
    with pytest.raises(InputError, match="no CT of split 'test'"):
        ct_volumes(shared / "data/ct", "test")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        ct_volumes(tmp_path / "nowhere", "val")
