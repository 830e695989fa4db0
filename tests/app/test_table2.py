"""`crossray reproduce table2` on films of noise: rows that have weights, rows that have none, and its three files."""

import json

import numpy as np
import pytest
from PIL import Image

from crossray.app import cli

pytest.importorskip("kornia", reason="the extra baselines is not installed")
pytest.importorskip("transformers", reason="the extra baselines is not installed")
pytestmark = pytest.mark.usefixtures("coarse_phantoms")


def test_a_small_table(capfd, tmp_path, labels, weights):
    truth = np.zeros((2, 2, 256, 256), np.float16)
    truth[0, 1, 7, 9] = truth[1, 0, 9, 7] = 1
    np.savez(labels.with_name("truth.npz"), **{f"s{person}": truth for person in range(4)})
    landmarks = labels.with_name("landmarks.json")
    landmarks.write_text(json.dumps({"studies": json.loads(labels.read_text())["studies"][:1]}))
    command = (
        "reproduce",
        "table2",
        "--labels",
        labels,
        "--init",
        weights,
        "--landmarks",
        landmarks,
    )
    peers = ("--loftr", "nowhere", "--dinov2", "random", "--draws", 1)
    folders = ("--runs", tmp_path / "runs", "--out", tmp_path / "out")
    options = ("steps=2", "batch=2", "run.progress=false", "run.checkpoint_every=1")
    assert cli.run([str(word) for word in (*command, *peers, *folders, *options)]) == 0
    printed = capfd.readouterr().out
    assert "LoFTR: the weights nowhere cannot be had here" in printed
    table = json.loads((tmp_path / "out/table2.json").read_text())
    rows = {row["title"]: row for row in table["rows"]}
    assert [row["missing"] != "" for row in rows.values()] == [True] * 3 + [False] * 4
    for row in (row for row in rows.values() if not row["missing"]):
        assert row["labelled"]["prevalence"] == pytest.approx(3 / 23)
        assert row["whole"]["prevalence"] == pytest.approx(1 / 256**2)
        assert row["hits"]["chance"] == 0.1
        assert len(row["landmark_hits"]["studies"]) == 1
        assert row["landmarks"]["pairs"] == 1
    assert rows["LoFTR"]["labelled"] is None
    assert rows["LoFTR"]["published"] == 0.094
    text = (tmp_path / "out/table2.md").read_text()
    assert "position prior" in text
    assert "not to be had" in text
    with Image.open(tmp_path / "out/table2.png") as figure:
        assert figure.size[0] > 500


@pytest.mark.parametrize("option", ["--labels", "--landmarks"])
def test_labels_that_are_not_there(capsys, labels, option):
    command = ["reproduce", "table2", "--labels", str(labels), option, "nowhere.json"]
    assert cli.run(command) == 2
    assert "nowhere.json cannot be read" in capsys.readouterr().err
