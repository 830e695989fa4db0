"""crossray fracture and crossray link, one after the other."""

import json

import numpy as np
import pytest
from PIL import Image

from crossray.app import cli

pytestmark = pytest.mark.usefixtures("coarse_phantoms")


def run(*arguments: object) -> int:
    return cli.run([str(argument) for argument in arguments])


def test_a_fracture_is_made_and_its_boxes_are_linked(tmp_path, weights, capfd):
    out = tmp_path / "out"
    views = ("--primary", 0, "--primary", 90, "--primary", 45)
    assert (
        run("fracture", "--limb", "knee", "--size", 64, "--kind", "oblique", *views, "--out", out)
        == 0
    )
    told = json.loads((out / "fracture.json").read_text())
    assert told["lesions"][0]["kind"] == "oblique"
    assert [view["file"] for view in told["views"]] == ["view-0.png", "view-1.png", "view-2.png"]
    twins = [np.asarray(Image.open(out / f"{name}-0.png")) for name in ("view", "intact")]
    assert not np.array_equal(*twins)
    row, column, last_row, last_column = told["views"][0]["box"]
    assert 0 <= row < 32 < last_row <= 64  # the view is centred on it
    assert 0 <= column < 32 < last_column <= 64
    with np.load(out / "lesion.npz") as lesion:
        assert lesion["depth_mm"].shape == (3, 64, 64)
        assert lesion["correspondence"][0, 1].max() > 0.2
    capfd.readouterr()
    boxes = json.loads((out / "boxes.json").read_text())
    boxes["views"][0]["name"] = "the first"
    (out / "boxes.json").write_text(json.dumps(boxes))
    assert (
        run("link", out / "boxes.json", "--weights", weights, "--out", tmp_path / "links.json") == 0
    )
    links = json.loads((tmp_path / "links.json").read_text())
    assert len(links["pairs"]) == 3
    assert all(0 <= pair["probability"] <= 1 for pair in links["pairs"])
    assert {pair["first"]["view"] for pair in links["pairs"]} == {"the first", "view-1"}
    assert "lesion 0: the first box 0" in capfd.readouterr().out


def test_bad_input_ends_in_one_sentence(tmp_path, weights, capfd):
    def refused(*arguments):
        assert run(*arguments) == 2
        err = capfd.readouterr().err
        assert err.count("\n") == 1
        return err

    assert "oblique" in refused(
        "fracture", "--limb", "knee", "--kind", "odd", "--out", tmp_path / "a"
    )
    assert "--field-mm" in refused(
        "fracture", "--limb", "knee", "--field-mm", -1, "--out", tmp_path / "a"
    )
    assert not (tmp_path / "a").exists()
    assert "is a folder" in refused(
        "link", tmp_path / "b.json", "--weights", weights, "--out", tmp_path
    )
    assert "cannot be read" in refused("link", tmp_path / "b.json", "--out", tmp_path / "l.json")
