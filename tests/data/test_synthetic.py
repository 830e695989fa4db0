"""Training pairs: sample i depends on i alone, whoever makes it, whenever, with or without a cache."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from crossray.data import synthetic as room
from crossray.data.sample import SampleConfig
from crossray.data.synthetic import SyntheticConfig, SyntheticPairs, clean_ct, training_files
from crossray.errors import InputError
from crossray.geometry.views import ViewSampling
from crossray.volumes.io import write_volume
from crossray.volumes.phantom import phantom
from crossray.volumes.volume import Volume

SAMPLE = SampleConfig(views=ViewSampling(size=(64, 64)), patch=16, thin=2)
CONFIG = SyntheticConfig(phantoms=3, sample=SAMPLE)


@cache
def small_phantom(limb: str, seed: int) -> Volume:
    """Coarse, and in whole HU as the cache keeps them: a bone more or less would draw other poses."""
    volume = phantom(limb, seed, 6.0)
    return replace(volume, values=volume.values.round())


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "phantom", small_phantom)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_what_a_pair_is():
    pair = SyntheticPairs(CONFIG)[0]
    assert {name: tuple(value.shape) for name, value in pair.items()} == {
        "images": (2, 64, 64),
        "correspondence": (2, 2, 16, 16),
    }
    assert all(value.dtype == torch.float32 for value in pair.values())


def test_a_sample_depends_on_its_index_alone():
    pairs = SyntheticPairs(CONFIG)
    forwards = [pairs[index] for index in range(4)]
    fresh = SyntheticPairs(CONFIG)
    backwards = [fresh[index] for index in (3, 2, 1, 0)][::-1]
    assert all(same(one, other) for one, other in zip(forwards, backwards, strict=True))
    assert same(pairs[2], forwards[2])
    assert not same(forwards[0], forwards[1])
    assert not same(SyntheticPairs(replace(CONFIG, seed=1))[0], forwards[0])


def test_the_number_of_workers_changes_nothing(tmp_path: Path):
    pairs = SyntheticPairs(CONFIG, tmp_path)  # the workers find the small phantoms in the cache
    for name in pairs.names:
        pairs.source(name)
    order = [3, 0, 2, 5]
    alone = list(DataLoader(pairs, batch_size=2, sampler=order))
    # Kernels have run in this process, and numba's threads do not outlive a fork.
    shared = list(
        DataLoader(
            SyntheticPairs(CONFIG, tmp_path),
            batch_size=2,
            sampler=order,
            num_workers=2,
            multiprocessing_context="spawn",
        )
    )
    assert len(alone) == len(shared) == 2
    assert all(same(one, other) for one, other in zip(alone, shared, strict=True))
    assert torch.equal(alone[0]["images"][1], pairs[0]["images"])


@pytest.mark.parametrize("cached", [False, True])
def test_distinct_poses_come_back_with_other_looks(cached: bool, tmp_path: Path):
    config = replace(CONFIG, distinct=3)
    pairs = SyntheticPairs(config, tmp_path if cached else None)
    drawn, pose = [], pairs.pose
    pairs.pose = lambda base: drawn.append(base) or pose(base)
    visits = [[pairs[3 * visit + place] for place in range(3)] for visit in range(3)]
    assert drawn[:3] == [0, 1, 2]
    assert all(sorted(drawn[3 * visit : 3 * visit + 3]) == [0, 1, 2] for visit in range(3))
    # Mirrors and the order of the two views leave the sum of a matrix as it is.
    sums = [[float(pair["correspondence"].sum()) for pair in visit] for visit in visits]
    assert len({round(total, 2) for total in sums[0]}) == 3
    assert sorted(sums[1]) == pytest.approx(sorted(sums[0]), rel=1e-5)
    assert sorted(sums[2]) == pytest.approx(sorted(sums[0]), rel=1e-5)
    for visit in (1, 2):
        for place in range(3):
            again = visits[0][drawn[3 * visit + place]]
            assert not torch.equal(visits[visit][place]["images"], again["images"])


def test_poses_come_back_in_other_orders():
    config = replace(CONFIG, distinct=50)
    orders = [room._order(config, visit).tolist() for visit in (1, 2)]
    assert orders[0] != orders[1]
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_the_cache_changes_nothing(tmp_path: Path):
    config = replace(CONFIG, distinct=2)
    plain, kept = SyntheticPairs(config), SyntheticPairs(config, tmp_path)
    for base in range(2):
        for one, drawn, read in zip(
            plain.pose(base), kept.pose(base), kept.pose(base), strict=True
        ):
            assert torch.equal(one, drawn)
            assert torch.equal(one, read)


def test_the_cache_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = replace(CONFIG, distinct=2)
    first = SyntheticPairs(config, tmp_path)
    pairs = [first[0], first[1]]
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    poses = f"poses-{room._digest(config)}"
    assert {f"{poses}/0000000.npz", f"{poses}/0000001.npz"} <= names
    assert room._digest(replace(config, seed=1)) != room._digest(config)
    assert {name for name in names if name.startswith("volumes")} <= {
        f"volumes/phantom_{limb}_0.npz" for limb in room.LIMBS
    }
    assert not [name for name in names if name.startswith(".")]
    monkeypatch.setattr(room, "make_sample", None)
    monkeypatch.setattr(room, "phantom", None)
    again = SyntheticPairs(config, tmp_path)
    assert same(again[0], pairs[0])
    assert same(again[1], pairs[1])


def test_cached_volumes_are_the_same_volumes(tmp_path: Path):
    plain = SyntheticPairs(CONFIG)
    for _ in range(2):  # written, then read
        kept = SyntheticPairs(CONFIG, tmp_path)
        one, other = plain.source("phantom knee 0"), kept.source("phantom knee 0")
        assert torch.equal(one.volume.values, other.volume.values)
        assert torch.equal(one.volume.world_from_voxel, other.volume.world_from_voxel)
        np.testing.assert_array_equal(one.anchors, other.anchors)


def test_three_views_make_pairs_in_any_order():
    views = replace(SAMPLE, views=ViewSampling(views=3, size=(64, 64)))
    pairs = SyntheticPairs(replace(CONFIG, sample=views, distinct=1))
    totals = pairs.pose(0)[1].sum((2, 3)) / 255
    found = set()
    for visit in range(12):
        sample = pairs[visit]
        assert sample["images"].shape == (2, 64, 64)
        total = float(sample["correspondence"][0, 1].sum())
        found.add(int((totals - total).abs()[*torch.triu_indices(3, 3, 1)].argmin()))
        assert float((totals - total).abs().min()) < 1e-3 * total
    assert found == {0, 1, 2}


def test_the_shares_of_the_protocols(monkeypatch: pytest.MonkeyPatch):
    asked = []
    real = room.make_sample
    monkeypatch.setattr(
        room, "make_sample", lambda v, s, c: asked.append(c.views.protocol) or real(v, s, c)
    )
    config = replace(CONFIG, sample=replace(SAMPLE, truth=False))
    for uniform, inside, expected in (
        (0.0, 0.0, {"clinical"}),
        (1.0, 0.0, {"uniform"}),
        (0.0, 1.0, {"inside"}),
        (0.4, 0.3, {"clinical", "inside", "uniform"}),
    ):
        asked.clear()
        pairs = SyntheticPairs(replace(config, uniform_share=uniform, inside_share=inside))
        for index in range(16):
            pairs.pose(index)
        assert set(asked) == expected


def write_ct(path: Path, boxy: bool = False) -> None:
    """A cylinder, or block, of flesh with a bone in it along z."""
    along = torch.arange(16.0) - 7.5
    radius = (along[:, None] ** 2 + along**2).sqrt()
    if boxy:
        radius = torch.maximum(along[:, None].abs(), along.abs())
    hu = torch.full((16, 16), -1000.0)
    hu[radius < 4.6], hu[radius < 2] = 40, 900
    affine = torch.diag(torch.tensor([4.0, 4, 4, 1]).double())
    write_volume(path, Volume(hu[None].repeat(16, 1, 1), affine))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CTs of three people; one of them twice."""
    folder = tmp_path_factory.mktemp("ct")
    rows = [
        ("a", "ann", "train"),
        ("b", "ann", "train"),
        ("c", "bob", "val"),
        ("d", "cid", "train"),
    ]
    for name, _, _ in rows:
        write_ct(folder / f"{name}.nii.gz")
    lines = [f"{name}.nii.gz,{person},{split}" for name, person, split in rows]
    (folder / "index.csv").write_text("\n".join(["file,person,split", *lines]) + "\n")
    return folder


def test_poses_of_other_people_lie_in_another_folder(folder: Path, tmp_path: Path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = replace(CONFIG, ct=str(tmp_path), phantoms=0, distinct=2)
    before = room._digest(config)
    assert room._digest(replace(config, distinct=3)) == before
    index, lines = tmp_path / "index.csv", "file,person,split\na.nii.gz,ann,{}\nc.nii.gz,bob,{}\n"
    found = [before]
    for splits in (("train", "val"), ("val", "train")):
        index.write_text(lines.format(*splits))
        found.append(room._digest(config))
    with (tmp_path / "c.nii.gz").open("ab") as file:
        file.write(b"more")
    assert len({*found, room._digest(config)}) == 4


def test_only_the_people_of_the_split(folder: Path):
    people = {
        split: {
            file.person for file in training_files(replace(CONFIG, ct=str(folder), split=split))
        }
        for split in ("train", "val")
    }
    assert people == {"train": {"ann", "cid"}, "val": {"bob"}}
    pairs = SyntheticPairs(replace(CONFIG, ct=str(folder), phantoms=0))
    assert pairs.names == ["a.nii.gz", "b.nii.gz", "d.nii.gz"]
    assert pairs.weights.tolist() == pytest.approx([1 / 3] * 3)


def test_a_folder_without_splits_gives_all(folder: Path, tmp_path: Path):
    for name in "ab":
        (tmp_path / f"{name}.nii.gz").write_bytes((folder / f"{name}.nii.gz").read_bytes())
    found = training_files(replace(CONFIG, ct=str(tmp_path), split="val"))
    assert [file.path.name for file in found] == ["a.nii.gz", "b.nii.gz"]
    assert training_files(CONFIG) == []


def test_phantoms_take_their_share(folder: Path):
    pairs = SyntheticPairs(replace(CONFIG, ct=str(folder), split="val", phantoms=4))
    assert pairs.names == [
        "c.nii.gz",
        *(f"phantom {name}" for name in ("hand 0", "knee 0", "ankle 0", "hand 1")),
    ]
    assert pairs.weights.tolist() == pytest.approx([0.7, *[0.3 / 4] * 4])
    assert SyntheticPairs(CONFIG).weights.tolist() == pytest.approx([1 / 3] * 3)


def test_pairs_from_a_ct(folder: Path, tmp_path: Path):
    config = replace(CONFIG, ct=str(folder), phantoms=0)
    pair = SyntheticPairs(config)[0]
    assert float(pair["correspondence"].max()) > 0.5
    assert same(pair, SyntheticPairs(config, tmp_path)[0])
    assert same(pair, SyntheticPairs(config, tmp_path)[0])


def test_a_ct_is_cut_to_the_body(folder: Path):
    volume = clean_ct(folder / "a.nii.gz")
    assert volume.values.shape == (16, 10, 10)  # |offset| < 4.6 voxels: 3 to 12
    assert volume.world_from_voxel[:3, 3].tolist() == [12, 12, 0]


def test_whole_limbs_weigh_more_than_pieces_of_trunk(tmp_path: Path, monkeypatch):
    write_ct(tmp_path / "limb.nii.gz")
    write_ct(tmp_path / "trunk.nii.gz")
    cuts = {"limb.nii.gz": 0.0, "trunk.nii.gz": 0.5}
    monkeypatch.setattr(room, "lateral_cut", lambda volume: cuts[volume.name])
    weights = SyntheticPairs(replace(CONFIG, ct=str(tmp_path), phantoms=0)).weights
    assert weights.tolist() == pytest.approx([1 / 1.25, 0.25 / 1.25])


def test_pieces_cut_on_all_sides_still_count(tmp_path: Path):
    write_ct(tmp_path / "a.nii.gz", boxy=True)
    write_ct(tmp_path / "b.nii.gz", boxy=True)
    weights = SyntheticPairs(replace(CONFIG, ct=str(tmp_path), phantoms=0)).weights
    assert weights.tolist() == [0.5, 0.5]


def test_nothing_to_learn_from_is_refused(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match="phantoms=0; give one or the other"):
        SyntheticPairs(replace(CONFIG, phantoms=0))
    with pytest.raises(InputError, match=r"no CT of split 'test' and phantoms=0"):
        SyntheticPairs(replace(CONFIG, ct=str(folder), split="test", phantoms=0))
    with pytest.raises(InputError, match="does not exist"):
        SyntheticPairs(replace(CONFIG, ct=str(tmp_path / "nowhere")))


def test_no_person_of_the_real_data_is_on_both_sides(shared: Path):
    config = SyntheticConfig(ct=str(shared / "data" / "ct"))
    train, val = (training_files(replace(config, split=split)) for split in ("train", "val"))
    assert train
    assert val
    assert not {file.person for file in train} & {file.person for file in val}


def test_films_show_a_pose_in_new_windows():
    config = replace(CONFIG, films=True, distinct=1)
    pairs = SyntheticPairs(config)
    lines, matrix = pairs.pose(0)
    assert lines.shape == (2, 48, 48)  # 64 pixels and 16 on either side, at half the rays
    assert matrix.shape == (2, 2, 36, 36)
    windows = [pairs[visit]["correspondence"] for visit in range(8)]
    assert {tuple(each.shape) for each in windows} == {(2, 2, 16, 16)}
    assert len({round(float(each.sum()), 3) for each in windows}) > 4


def test_limbs_of_one_ct_are_sources_of_their_own(tmp_path: Path):
    _, y, x = torch.meshgrid(*(torch.arange(n) for n in (16, 20, 44)), indexing="ij")
    values = torch.full(x.shape, -1000.0)
    for middle in (10, 32):
        radius = torch.hypot(y - 10.0, x - middle)
        values[radius < 8] = 40
        values[radius < 3] = 900
    affine = torch.diag(torch.tensor([4.0, 4, 4, 1], dtype=torch.float64))
    write_volume(tmp_path / "legs.nii.gz", Volume(values, affine))
    whole = replace(CONFIG, ct=str(tmp_path), phantoms=0)
    assert SyntheticPairs(whole).names == ["legs.nii.gz"]
    pairs = SyntheticPairs(replace(whole, split_limbs=True), tmp_path / "cache")
    assert pairs.names == ["legs.nii.gz limb 1", "legs.nii.gz limb 2"]
    right, left = (pairs.source(name).volume for name in pairs.names)
    assert right.values.shape == left.values.shape == (16, 15, 15)
    assert float(right.center[0]) == pytest.approx(40, abs=3)
    assert float(left.center[0]) == pytest.approx(128, abs=3)


def test_a_stranger_matches_nothing():
    config = replace(CONFIG, distinct=12, shown=3, strangers=0.5)
    config = replace(config, sample=replace(SAMPLE, views=replace(SAMPLE.views, views=3)))
    pairs, plain = SyntheticPairs(config), SyntheticPairs(replace(config, strangers=0.0))
    matched = 0
    for index in range(12):
        sample = pairs[index]
        said = sample["correspondence"].amax((2, 3)) > 0
        assert said[0, 1]
        assert (said[2, :2] == said[0, 2]).all()
        matched += int(said[0, 2])
        assert (
            pairs.drawn(pairs._stranger(index, np.random.default_rng(0)))[0]
            != pairs.drawn(index)[0]
        )
        if said[0, 2]:
            torch.testing.assert_close(
                sample["correspondence"].sum(), plain[index]["correspondence"].sum()
            )
    assert 2 <= matched <= 10
