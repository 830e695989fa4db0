"""`crossray reproduce table2` on films of noise: rows that have weights, rows that have none, and its three files."""

import json

import numpy as np
import pytest
from PIL import Image

from crossray.app import cli
from crossray.evaluation.films import FilmBench

pytest.importorskip("kornia", reason="the extra baselines is not installed")
pytest.importorskip("transformers", reason="the extra baselines is not installed")
pytestmark = pytest.mark.usefixtures("coarse_phantoms")


@pytest.fixture
def landmarks(labels):
    """Films of a person of whom the labels tell nothing."""
    study = json.loads(labels.read_text())["studies"][0]
    path = labels.with_name("landmarks.json")
    path.write_text(json.dumps({"studies": [{**study, "person": "somebody else"}]}))
    return path


@pytest.fixture
def command(tmp_path, labels, landmarks, weights):
    known = ("--labels", labels, "--init", weights, "--landmarks", landmarks, "--draws", 1)
    peers = ("--loftr", "nowhere", "--dinov2", "random")
    folders = ("--runs", tmp_path / "runs", "--out", tmp_path / "out")
    options = ("steps=2", "batch=2", "run.progress=false", "run.checkpoint_every=1")
    return [str(word) for word in ("reproduce", "table2", *known, *peers, *folders, *options)]


def test_a_small_table(capfd, tmp_path, labels, command):
    truth = np.zeros((2, 2, 256, 256), np.float16)
    truth[0, 1, 7, 9] = truth[1, 0, 9, 7] = 1
    np.savez(labels.with_name("truth.npz"), **{f"s{person}": truth for person in range(4)})
    assert cli.run(command) == 0
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


def test_rows_are_kept(tmp_path, command, monkeypatch):
    """The second run, which may score no more than one row, takes up the others and writes the same table."""
    assert cli.run(command) == 0
    rows = json.loads((tmp_path / "out/table2.json").read_text())["rows"]
    kept = sorted((tmp_path / "runs/rows").iterdir())
    assert [file.name.rsplit("-", 1)[0] for file in kept] == [
        "dinov2",
        "dinov2_head",
        "ours",
        "ours_tuned",
    ]
    kept[2].write_text("{")  # damaged: scored again
    asked, scores = [], FilmBench.scores
    monkeypatch.setattr(
        FilmBench,
        "scores",
        lambda *words, title, published: (asked.append(title), scores(*words, title, published))[1],
    )
    assert cli.run(command) == 0
    assert asked == ["crossray"]
    assert json.loads((tmp_path / "out/table2.json").read_text())["rows"] == rows
    assert cli.run([*command, "--draws", "2"]) == 0
    assert len(asked) == 5  # of other options nothing was kept


def test_landmarks_of_whom_the_training_learns_are_refused(capfd, landmarks, command):
    (known,) = json.loads(landmarks.read_text())["studies"]
    studies = [{**known, "study": f"l{n}", "person": f"p{n}"} for n in range(4)]
    landmarks.write_text(json.dumps({"studies": studies}))
    assert cli.run(command) == 2
    assert "landmarks.json has films of p" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["--labels", "--landmarks"])
def test_labels_that_are_not_there(capsys, labels, option):
    command = ["reproduce", "table2", "--labels", str(labels), option, "nowhere.json"]
    assert cli.run(command) == 2
    assert "nowhere.json cannot be read" in capsys.readouterr().err
