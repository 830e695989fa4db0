"""A folder of small CTs, one of them broken, and a set that takes a second to make."""

from dataclasses import replace
from pathlib import Path

import pytest

from crossray.data.sample import SampleConfig
from crossray.generation.plan import GenerationConfig
from crossray.geometry.views import ViewSampling
from crossray.volumes.io import write_volume
from crossray.volumes.phantom import phantom

SAMPLE = SampleConfig(views=ViewSampling(size=(64, 64)))
INDEX = """file,person,split,terms
a.nii.gz,ann,train,CC0
b.nii.gz,bob,val,CC BY 4.0
c.nii.gz,ann,train,CC0
"""


@pytest.fixture(scope="session")
def cts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cts")
    for name, limb in zip("abc", ("knee", "ankle", "hand"), strict=True):
        volume = phantom(limb, 0, 6.0)
        write_volume(folder / f"{name}.nii.gz", replace(volume, values=volume.values.round()))
    (folder / "index.csv").write_text(INDEX)
    return folder


@pytest.fixture
def config(cts: Path) -> GenerationConfig:
    return GenerationConfig(ct=str(cts), samples=9, shard=2, seed=3, sample=SAMPLE)
