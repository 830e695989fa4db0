"""Samples in shards: the same bytes for the same sample, and back without loss but of rounding."""

import io
import json
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from crossray.data.sample import Sample
from crossray.data.shards import (
    MANIFEST,
    Shards,
    decode,
    encode,
    read_sample,
    write_shard,
)
from crossray.errors import InputError
from crossray.files import sha256
from crossray.geometry import Cameras


def sample_of(number: int, views: int = 2) -> Sample:
    generator = torch.Generator().manual_seed(number)
    images = torch.rand(views, 32, 48, generator=generator)
    blocks = torch.rand(views, views, 6, 6, generator=generator)
    blocks = (blocks * (blocks > 0.6)).triu() if number % 2 else blocks * 0
    for view in range(views):
        blocks[view, : view + 1] = 0
    angles = torch.arange(views) * 90.0
    cameras = Cameras.from_angles(
        angles, angles * 0, angles * 0, sod_mm=1000, sdd_mm=1100, size=(32, 48), pixel_mm=1.0
    )
    return Sample(images, blocks + blocks.permute(1, 0, 3, 2), cameras, images)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_a_sample_comes_back(number, views):
    sample = sample_of(number, views)
    members = encode(sample, {"sample": number})
    back = decode(members)
    torch.testing.assert_close(back["images"], sample.images, rtol=0, atol=0.51 / 65535)
    assert torch.equal(back["correspondence"], sample.correspondence.half().float())
    assert members == encode(sample_of(number, views), {"sample": number})


def test_other_programs_read_the_members(tmp_path):
    sample = sample_of(1)
    write_shard(tmp_path / "a.tar", [("000", encode(sample, {"seed": 5}))])
    with tarfile.open(tmp_path / "a.tar") as tar:
        names = tar.getnames()
        content = {name: tar.extractfile(name).read() for name in names}
        assert all(tar.getmember(name).mtime == 0 for name in names)
    assert names == ["000.0.png", "000.1.png", "000.matrix.npz", "000.json"]
    image = Image.open(io.BytesIO(content["000.1.png"]))
    assert image.mode == "I;16"
    assert np.array(image)[3, 4] == round(sample.images[1, 3, 4].item() * 65535)
    matrix = np.load(io.BytesIO(content["000.matrix.npz"]))
    assert matrix["start"].tolist() == [0]
    p, q = divmod(int(matrix["index"][0]), 6)
    assert matrix["value"][0] == np.float16(sample.correspondence[0, 1, p, q])
    about = json.loads(content["000.json"])
    assert about["seed"] == 5
    assert about["cameras"]["source"] == sample.cameras.source.tolist()


def make_set(folder: Path, counts: list[int], splits: list[str | None]) -> Path:
    shards, first = [], 0
    (folder / "shards").mkdir(parents=True)
    for k, (count, split) in enumerate(zip(counts, splits, strict=True)):
        name, numbers = f"shards/{k:06d}.tar", range(first, first + count)
        checksum = write_shard(
            folder / name, [(f"{i:09d}", encode(sample_of(i), {})) for i in numbers]
        )
        shards.append({
            "name": name, "samples": count, "split": split, "sha256": checksum,
            "bytes": (folder / name).stat().st_size, "person": str(k),
        })  # fmt: skip
        first += count
    form = {"views": {"views": 2, "size": [32, 48]}, "patch": 16, "definition": "exact"}
    (folder / MANIFEST).write_text(json.dumps({"shards": shards, "config": {"sample": form}}))
    return folder


def number_of(sample: dict[str, torch.Tensor], count: int) -> int:
    """Which of the set's samples it is."""
    found = [i for i in range(count) if (sample["images"] - sample_of(i).images).abs().max() < 1e-4]
    return found[0]


@pytest.mark.parametrize("together", [1, 2, 3, 16])
def test_every_pass_shows_every_sample_once(tmp_path, together):
    shards = Shards(make_set(tmp_path / "set", [3, 1, 4, 2], [None] * 4), together=together)
    assert len(shards) == 10
    orders = [[number_of(shards[10 * visit + i], 10) for i in range(10)] for visit in range(2)]
    assert [sorted(order) for order in orders] == [list(range(10))] * 2
    assert orders[0] != orders[1]


def test_workers_and_order_of_asking_change_nothing(tmp_path):
    shards = Shards(make_set(tmp_path / "set", [3, 3], [None, None]))
    here = [shards[i]["images"] for i in range(12)]
    again = pickle.loads(pickle.dumps(shards))
    assert all(torch.equal(again[i]["images"], here[i]) for i in reversed(range(12)))
    loader = DataLoader(
        shards, batch_sampler=[[0, 7], [3, 11]], num_workers=1, multiprocessing_context="spawn"
    )
    batches = [batch["images"] for batch in loader]
    assert torch.equal(torch.cat(batches), torch.stack([here[i] for i in (0, 7, 3, 11)]))


def test_a_split_alone(tmp_path):
    folder = make_set(tmp_path / "set", [2, 3, 1], ["train", "val", "train"])
    val = Shards(folder, split="val")
    assert sorted(number_of(val[i], 6) for i in range(3)) == [2, 3, 4]
    with pytest.raises(InputError, match="no samples of split 'test'; it has train, val"):
        Shards(folder, split="test")
    assert len(Shards(make_set(tmp_path / "none", [2], [None]), split="train")) == 2


def test_a_set_elsewhere(tmp_path):
    import fsspec

    folder = make_set(tmp_path / "set", [2, 2], [None, None])
    url = f"memory://{tmp_path}/set"
    fsspec.filesystem("memory").put(str(folder), f"{tmp_path}/set", recursive=True)
    here, there = Shards(folder), Shards(url, cache=tmp_path / "cache")
    assert all(torch.equal(here[i]["images"], there[i]["images"]) for i in range(4))
    assert len(list((tmp_path / "cache").rglob("*.tar"))) == 2


def test_a_shard_made_again_is_read_again(tmp_path):
    for first in (1, 2):
        samples = [(str(number), encode(sample_of(number), {})) for number in range(first, 5)]
        write_shard(tmp_path / "a.tar", samples)
        expected = decode(samples[1][1])["images"]
        assert torch.equal(read_sample(tmp_path / "a.tar", 1)["images"], expected)


def test_a_damaged_shard_is_named(tmp_path):
    folder = make_set(tmp_path / "set", [2], [None])
    shard = folder / "shards" / "000000.tar"
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(InputError, match=r"shards/000000.tar of .* cannot be read"):
        Shards(folder)[0]


@pytest.mark.parametrize("name", ["json", "0.png", "matrix.npz"])
def test_damaged_members_are_named(name):
    members = encode(sample_of(1), {})
    for damaged in ({**members, name: b"no"}, {k: v for k, v in members.items() if k != name}):
        with pytest.raises(ValueError, match="a sample is damaged"):
            decode(damaged)


def test_no_sample_of_that_number(tmp_path):
    write_shard(tmp_path / "a.tar", [("000", encode(sample_of(1), {}))])
    with pytest.raises(ValueError, match="1 samples, none of number 1"):
        read_sample(tmp_path / "a.tar", 1)


@pytest.mark.parametrize("text", ["", "[]", '{"shards": [{}]}', '{"shards": []}'])
def test_no_manifest_of_ours(tmp_path, text):
    with pytest.raises(InputError, match="finished"):
        Shards(tmp_path)
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InputError, match="no manifest of crossray"):
        Shards(tmp_path)


def test_checksum(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")


def test_more_patches_than_16_bits_can_number():
    sample = sample_of(1)
    large = torch.zeros(2, 2, 300, 300)
    large[0, 1, 299, 299] = large[1, 0, 299, 299] = 0.5
    back = decode(encode(replace(sample, correspondence=large), {}))
    assert torch.equal(back["correspondence"], large)
