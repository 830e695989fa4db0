"""Weights and phantoms as small as they may be, for tests of commands."""

import pytest
import torch

from crossray.volumes.volume import Volume


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    from crossray.models.matcher import MatcherConfig, MatcherNetwork
    from crossray.models.storage import save_network

    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_network(path, MatcherNetwork(MatcherConfig.preset("tiny")), {"data": "none"})
    return path


@pytest.fixture
def coarse_phantoms(monkeypatch):
    """Phantoms in voxels of 5 mm, so that a test takes seconds."""
    from crossray.volumes import phantom as home

    original = home.phantom

    def coarse(limb: str, seed: int = 0, spacing_mm: float = 1.0) -> Volume:
        return original(limb, seed, 5.0)

    from crossray.app.commands import demo, render
    from crossray.data import synthetic
    from crossray.evaluation import protocol

    for module in (home, demo, render, synthetic, protocol):
        monkeypatch.setattr(module, "phantom", coarse)
