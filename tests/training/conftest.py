"""A cheap data set for tests, and a run of it for a process that gets killed."""

import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from crossray.models.backbone import TrunkConfig
from crossray.models.matcher import MatcherConfig
from crossray.training.config import OptimizerConfig, RunConfig, TrainConfig
from crossray.training.fit import fit_matcher

# Channels in eights: with fewer, oneDNN 3.12 (torch 2.13) corrupts memory on some CPUs (seen on an EPYC with AVX2).
MATCHER = MatcherConfig(
    trunk=TrunkConfig(block="basic", stem=8, widths=(8, 8, 8), depths=(1, 1, 1)), image_size=(64, 64),
    input_stride=2, token_stride=2, width=16, layers=1, heads=2, hidden=16, descriptor=8, same_view=True,
)  # fmt: skip
CONFIG = TrainConfig(
    matcher=MATCHER,
    steps=8,
    batch=2,
    optimizer=OptimizerConfig(rate=1e-2, warmup=2, average=0.9),
    run=RunConfig(checkpoint_every=3, log_every=2, progress=False),
)


def _unchanged(number, sample):
    return sample


class Noise(Dataset):
    """Random images and a random truth, a function of the sample's number alone; `change` may alter a sample."""

    def __init__(self, change=_unchanged):
        self.change = change

    def __getitem__(self, number):
        generator = torch.Generator().manual_seed(number)
        truth = torch.rand(2, 2, 16, 16, generator=generator)
        images = torch.rand(2, 64, 64, generator=generator)
        return self.change(number, {"images": images, "correspondence": truth})


@pytest.fixture(scope="session")
def config() -> TrainConfig:
    return CONFIG


@pytest.fixture(scope="session")
def noise() -> type[Noise]:
    return Noise


if __name__ == "__main__":
    fit_matcher(CONFIG.changed(sys.argv[2:] or ["steps=5000"]), Noise(), Path(sys.argv[1]))
