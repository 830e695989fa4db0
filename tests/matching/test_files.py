"""What `save` leaves on disk, and that it leaves all or nothing."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from crossray.errors import InputError
from crossray.matching import Matcher
from crossray.matching.files import FILES


@pytest.fixture(scope="module")
def matcher(weights):
    return Matcher.load(weights)


@pytest.fixture
def matches(matcher, limb):
    return matcher.match([limb(200, 100), limb(180, 160), limb(90, 120)])


def test_the_files_and_what_they_hold(matches, tmp_path):
    files = matches.save(tmp_path / "deep" / "out")
    assert [file.name for file in files] == list(FILES)
    assert sorted(file.name for file in (tmp_path / "deep").iterdir()) == ["out"]
    with np.load(files[0], allow_pickle=False) as arrays:
        assert arrays["correspondence"].shape == (3, 3, 256, 256)
        assert arrays["correspondence"].dtype == np.float32
        assert arrays["grid"].tolist() == [[16, 16]] * 3
        assert arrays["image_size"].tolist() == [[200, 100], [180, 160], [90, 120]]
        assert arrays["patch_box"].shape == (3, 256, 4)
        assert np.array_equal(arrays["correspondence"], matches.correspondence.numpy())
        assert np.array_equal(arrays["patch_box"], matches.patch_box.numpy())
    summary = json.loads(files[1].read_text())
    assert summary["files"] == list(FILES)
    assert len(summary["pairs"]) == 6
    with Image.open(files[2]) as figure:
        assert figure.size[0] > 300
    assert files[3].read_text().startswith("<!doctype html>")


def test_saving_again_replaces_and_leaves_other_files(matches, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    matches.save(tmp_path)
    before = (tmp_path / "matches.npz").read_bytes()
    matches.save(tmp_path)
    assert (tmp_path / "matches.npz").read_bytes() == before
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_nothing_is_left_when_the_folder_is_a_file(matches, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="out cannot be written"):
        matches.save(tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_nothing_is_left_when_a_writer_fails(matches, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr("crossray.matching.files.page", fail)
    with pytest.raises(RuntimeError, match="no ink"):
        matches.save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_truth_of_another_shape_is_refused(matches, tmp_path):
    with pytest.raises(InputError, match="truth has shape"):
        matches.save(tmp_path / "out", truth=torch.zeros(2, 2, 256, 256))
    assert list(tmp_path.iterdir()) == []
