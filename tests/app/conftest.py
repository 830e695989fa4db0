"""Weights and phantoms as small as they may be, for tests of commands."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

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


@pytest.fixture
def labels(tmp_path, monkeypatch):
    """A file of labels of four persons, and a position prior of one sample."""
    from crossray.app.commands import evaluate

    for name in ("PRIOR_VOLUMES", "PRIOR_SAMPLES"):
        monkeypatch.setattr(evaluate, name, 1)
    rng, studies = np.random.default_rng(0), []
    for person in range(4):
        files = {view: {"file": f"{person}{view}.png"} for view in "ab"}
        for film in files.values():
            grey = rng.integers(0, 255, (90, 60)).astype(np.uint8)
            Image.fromarray(grey).save(tmp_path / film["file"])
        said = [
            {"verdict": verdict, "places": {view: {"point": rng.integers(60, size=2).tolist()} for view in "ab"}}
            for verdict in ["same"] * 3 + ["different"] * 20
        ]  # fmt: skip
        studies.append(
            {"study": f"s{person}", "person": f"p{person}", "films": files, "labels": said}
        )
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"studies": studies}))
    return path
