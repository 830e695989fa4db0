"""`crossray inspect` on good and bad input."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from crossray.app import cli
from crossray.volumes.io import list_cts, read_ct, write_volume
from crossray.volumes.phantom import phantom
from crossray.volumes.volume import Volume


@pytest.fixture(scope="module")
def knee(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ct") / "knee.nii.gz"
    write_volume(path, phantom("knee", 0, 4.0))
    return path


def run(*arguments: object) -> int:
    return cli.run([str(argument) for argument in arguments])


def test_says_what_there_is(capfd, knee):
    assert run("inspect", knee) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.startswith("knee.nii.gz\n")
    for words in ("of 4 x 4 x 4 mm", "LPS: axes run to left, back, head", "likely knee", "couch        none",
                  "metal        none", "side unknown", "What will be done:"):  # fmt: skip
        assert words in out


def test_writes_a_picture_and_the_facts(knee, tmp_path):
    assert run("inspect", knee, "--out", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "inspect.json",
        "inspect.png",
    ]
    facts = json.loads((tmp_path / "out/inspect.json").read_text())
    assert facts["limbs"][0]["likely"] == "knee"
    assert facts["spacing_mm"] == [4, 4, 4]
    with Image.open(tmp_path / "out/inspect.png") as picture:
        assert min(picture.size) > 400


def test_repairs_are_said(caplog, capfd, tmp_path):
    limb = phantom("knee", 0, 4.0)
    write_volume(tmp_path / "raw.nii.gz", Volume(limb.values + 1024, limb.world_from_voxel))
    assert run("inspect", tmp_path / "raw.nii.gz") == 0
    assert "lack the rescale intercept" in caplog.text
    assert "lack the rescale intercept" in capfd.readouterr().out


def test_bad_input(capfd, tmp_path):
    write_volume(
        tmp_path / "air.nii.gz",
        Volume(torch.full((9, 9, 9), -1000.0), torch.eye(4, dtype=torch.float64)),
    )
    (tmp_path / "empty").mkdir()
    for path, words in (
        (tmp_path / "missing.nii", "does not exist"),
        (tmp_path / "empty", "no DICOM series"),
        (tmp_path / "air.nii.gz", "no body"),
    ):
        assert run("inspect", path, "--out", tmp_path / "out") == 2
        err = capfd.readouterr().err
        assert err.startswith("crossray: ")
        assert err.count("\n") == 1
        assert words in err
    assert not (tmp_path / "out").exists()


def test_real_cts_need_no_repair(shared):
    for ct in list_cts(shared / "data/ct")[::6]:
        assert read_ct(ct.path).notes == ()
