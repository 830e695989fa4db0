"""Stored and fresh samples in one stream."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from crossray.data import synthetic
from crossray.data.mixed import MixedPairs, training_samples
from crossray.data.sample import SampleConfig
from crossray.data.shards import Shards
from crossray.data.synthetic import SyntheticConfig, SyntheticPairs
from crossray.errors import InputError
from crossray.generation.driver import generate
from crossray.generation.plan import GenerationConfig
from crossray.geometry.views import ViewSampling
from crossray.volumes.phantom import phantom

SAMPLE = SampleConfig(views=ViewSampling(size=(64, 64)), thin=2)
CONFIG = SyntheticConfig(phantoms=1, sample=SAMPLE)


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "phantom", lambda limb, seed: phantom(limb, seed, 6.0))
        yield


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    wish = GenerationConfig(phantoms=1, samples=3, sample=replace(SAMPLE, truth_block=4))
    generate(wish, folder / "set", folder / "cache", map)
    return str(folder / "set")


class Numbers(Dataset):
    """Stands for a data set: a sample is its number and whose it is."""

    def __init__(self, name):
        self.name = name

    def __getitem__(self, index):
        return {self.name: torch.tensor(index)}


@given(st.fractions(0, 1, max_denominator=20), st.integers(1, 60), st.integers(0, 40))
def test_the_ratio_holds_and_nothing_is_left_out(share, count, start):
    mixed = MixedPairs(Numbers("stored"), Numbers("fresh"), float(share))
    drawn = [mixed[i] for i in range(start + count)]
    for name in ("stored", "fresh"):
        numbers = [int(sample[name]) for sample in drawn if name in sample]
        assert numbers == list(range(len(numbers)))
    row = sum("stored" in sample for sample in drawn[start:])
    assert abs(row - count * share) < 1 + 1e-6


def test_where_samples_come_from(stored, tmp_path):
    alone = training_samples(replace(CONFIG, shards=stored), tmp_path)
    assert isinstance(alone, Shards)
    half = training_samples(replace(CONFIG, shards=stored, shards_share=0.5), tmp_path)
    fresh = training_samples(CONFIG, tmp_path)
    assert isinstance(fresh, SyntheticPairs)
    assert torch.equal(half[1]["images"], alone[0]["images"])
    assert torch.equal(half[2]["images"], fresh[1]["images"])
    assert half[1].keys() == half[2].keys()
    assert {name: value.shape for name, value in half[1].items()} == {
        name: value.shape for name, value in half[2].items()
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shards_share": 1.5}, "no share"),
        ({"shards_share": 0.5, "shown": 3}, "views=2 and those wanted views=3"),
        ({"sample": replace(SAMPLE, patch=32)}, "patch=16 and those wanted patch=32"),
        ({"sample": replace(SAMPLE, views=ViewSampling())}, r"size=\(64, 64\)"),
    ],
)
def test_what_does_not_fit_is_refused(stored, tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        training_samples(replace(CONFIG, shards=stored, **changes), tmp_path)
