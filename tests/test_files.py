"""Files that appear whole or not at all."""

import os

import pytest

from crossray.files import written_whole


def test_the_disk_has_a_file_before_it_takes_its_place(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda _: done.append("fsync"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *a: (done.append("replace"), replace(*a)))
    with written_whole(tmp_path / "new" / "a.json") as partial:
        partial.write_text("whole")
    assert done == ["fsync", "replace"]
    assert [path.read_text() for path in (tmp_path / "new").iterdir()] == ["whole"]


def test_what_fails_leaves_everything_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("before")

    def fail():
        with written_whole(path) as partial:
            partial.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
