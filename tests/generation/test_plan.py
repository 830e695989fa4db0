"""What a set will hold, before it is made."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from shutil import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.generation.plan import (
    GenerationConfig,
    Plan,
    PlannedVolume,
    candidates,
    load,
    planned,
    surveyed,
)


def volume(name: str, weight: float = 1.0, **changes: str) -> PlannedVolume:
    return replace(PlannedVolume(name, name, None, None, name, weight), **changes)


def plan_of(config: GenerationConfig, cache: Path) -> Plan:
    return planned(config, [surveyed(file, config, cache) for file in candidates(config)], "here")


@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.integers(1, 500), st.integers(1, 60)
)
def test_shards_hold_every_sample_once_and_one_volume_each(weights, samples, shard):
    volumes = [(volume(str(i), weight), None) for i, weight in enumerate(weights)]
    config = GenerationConfig(samples=samples, shard=shard)
    shards = list(planned(config, volumes, "here").shards())
    assert shards[0].first == 0
    assert all(one.first + one.samples == other.first for one, other in pairwise(shards))
    assert sum(each.samples for each in shards) == samples
    assert all(1 <= each.samples <= shard for each in shards)
    for number, weight in enumerate(weights):
        share = sum(each.samples for each in shards if each.volume == number)
        assert abs(share - samples * weight / sum(weights)) < 1


def test_survey(config, tmp_path):
    plan = plan_of(config, tmp_path)
    assert [(each.name, each.person, each.split, each.terms) for each in plan.volumes] == [
        ("a.nii.gz", "ann", "train", "CC0"),
        ("b.nii.gz", "bob", "val", "CC BY 4.0"),
        ("c.nii.gz", "ann", "train", "CC0"),
    ]
    assert len({each.sha256 for each in plan.volumes}) == 3
    assert plan.refused == {}


def test_a_broken_ct_is_left_out_with_its_reason(cts, config, tmp_path):
    for file in ("a.nii.gz", "b.nii.gz"):
        copy(cts / file, tmp_path)
    (tmp_path / "a.nii.gz").write_bytes(b"no CT")
    plan = plan_of(replace(config, ct=str(tmp_path)), tmp_path / "cache")
    assert [each.name for each in plan.volumes] == ["b.nii.gz"]
    assert "a.nii.gz" in plan.refused
    assert "cannot be read" in plan.refused["a.nii.gz"]


def test_one_ct_alone_and_an_index_elsewhere(cts, config, tmp_path):
    alone = plan_of(replace(config, ct=str(cts / "a.nii.gz")), tmp_path)
    assert [each.name for each in alone.volumes] == ["a.nii.gz"]
    indexed = plan_of(replace(config, ct=str(cts / "index.csv")), tmp_path)
    assert indexed.volumes == plan_of(config, tmp_path).volumes


def test_a_ct_under_two_people_is_refused(cts, config, tmp_path):
    for name in ("a", "b"):
        copy(cts / "a.nii.gz", tmp_path / f"{name}.nii.gz")
    with pytest.raises(InputError, match="one CT under two people"):
        plan_of(replace(config, ct=str(tmp_path)), tmp_path / "cache")


def test_a_person_in_two_splits_is_refused(cts, config, tmp_path):
    copy(cts / "a.nii.gz", tmp_path)
    copy(cts / "b.nii.gz", tmp_path)
    (tmp_path / "index.csv").write_text("file,person,split\na.nii.gz,ann,train\nb.nii.gz,ann,val\n")
    with pytest.raises(InputError, match="ann into two splits, train and val"):
        candidates(replace(config, ct=str(tmp_path)))


def test_a_ct_that_changed_is_refused(cts, config, tmp_path):
    copy(cts / "a.nii.gz", tmp_path)
    config = replace(config, ct=str(tmp_path))
    plan = plan_of(config, tmp_path / "cache")
    copy(cts / "b.nii.gz", tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="another file than when"):
        load(plan.volumes[0], config, tmp_path / "other cache")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"samples": 0}, "0 samples"), ({"shard": 0}, "shards of 0")],
)
def test_unfit_wishes_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        planned(replace(GenerationConfig(), **changes), [(volume("a"), None)], "here")


def test_no_sound_ct_is_refused():
    with pytest.raises(InputError, match=r"here holds no sound CT \(it is torn\)"):
        planned(GenerationConfig(), [(volume("a"), "it is torn")], "here")


def test_a_plan_is_resumed_wherever_the_cts_lie(config, tmp_path):
    plan = planned(config, [(volume("a"), None), (volume("b"), "torn")], "here")
    moved = replace(config, ct=f"/elsewhere/{Path(config.ct).name}")
    assert Plan.resumed(plan.to_json(), moved, "there") == replace(plan, config=moved)
    with pytest.raises(InputError, match=r"there holds another set \(config.seed: 3, now 4\)"):
        Plan.resumed(plan.to_json(), replace(config, seed=4), "there")
    with pytest.raises(InputError, match=r"code: 0.0, now"):
        Plan.resumed(replace(plan, code="0.0").to_json(), config, "there")
    for text in ("", "3", "{}"):
        with pytest.raises(InputError, match="no plan of a set"):
            Plan.resumed(text, config, "there")
