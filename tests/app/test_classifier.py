"""From studies on the disk to a calibrated probability and its evidence, by the commands alone."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crossray.app import cli
from crossray.models.backbone import ResidualTrunk
from crossray.models.classifier import ClassifierConfig, ClassifierNetwork
from crossray.models.storage import load_network, save_network
from crossray.volumes.io import write_volume
from crossray.volumes.phantom import phantom

QUICK = ["run.progress=false", "steps=40", "data.val_share=0.25"]


@pytest.fixture(scope="session")
def studies(tmp_path_factory):
    """Forty patients; on the films of every second one lies a bright bar, in AP and lateral."""
    folder = tmp_path_factory.mktemp("studies")
    rng = np.random.default_rng(0)
    with (folder / "studies.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "study", "patient", "view", "label"])
        for patient in range(40):
            for view in ("AP", "LAT"):
                values = rng.integers(0, 90, (64, 64), dtype=np.uint8)
                if patient % 2:
                    values[20:44, 24:40] = 255
                name = f"{patient}-{view}.png"
                Image.fromarray(values).save(folder / name)
                table.writerow([name, f"s{patient}", f"p{patient}", view, patient % 2])
    return f"csv:{folder / 'studies.csv'}"


def train(studies, out, *words):
    return cli.run(
        ["train", "classifier", "--data", studies, "--preset", "tiny", "--out", str(out), *words]
    )


def evaluate(weights, studies, *words):
    return cli.run(["evaluate", "classifier", "--weights", str(weights), "--data", studies, *words])


@pytest.fixture(scope="session")
def run(studies, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    assert train(studies, out, *QUICK) == 0
    return out


def test_it_learns_and_is_scored_on_patients_it_never_saw(run, studies, tmp_path, capsys):
    scores = tmp_path / "scores.json"
    assert evaluate(run, studies, "--json", str(scores)) == 0
    told = json.loads(scores.read_text())
    assert told["studies"] == told["patients"] == 12
    assert told["auc"] > 0.9
    low, high = told["intervals"]["auc"]
    assert low <= told["auc"] <= high
    assert {"accuracy", "precision", "recall", "kappa", "ece"} <= set(told)
    _, words = load_network(run / "classifier.safetensors", ClassifierNetwork)
    assert len(patients(words)) == 28
    assert json.loads(words["calibration"])["scale"] > 0
    with (run / "metrics.csv").open() as file:
        assert "studies_per_second" in next(csv.reader(file))


def words_of(run):
    return load_network(run / "classifier.safetensors", ClassifierNetwork)[1]


def patients(words):
    told = json.loads(words["seen"])
    return {patient for seen in told for patient in seen["patients"] + seen["calibrated"]}


def test_whom_it_was_begun_with_counts_too(run, studies, tmp_path, capsys):
    again = ["--init", str(run), "run.progress=false", "steps=2"]
    assert train(studies, tmp_path / "other", *again, "data.seed=5") == 2
    assert "has learned from patient" in capsys.readouterr().err
    assert train(studies, tmp_path / "same", *again, "data.val_share=0.25") == 0
    assert patients(words_of(run)) == patients(words_of(tmp_path / "same"))
    assert len(json.loads(words_of(tmp_path / "same")["seen"])) == 2


def test_weights_that_do_not_tell_whom_they_saw_are_not_scored(studies, tmp_path, capsys):
    network = ClassifierNetwork(ClassifierConfig.preset("tiny"))
    save_network(tmp_path / "silent.safetensors", network, {})
    assert evaluate(tmp_path / "silent.safetensors", studies) == 2
    assert "do not tell whom they have seen" in capsys.readouterr().err


def test_learning_from_simulated_fractures(studies, tmp_path, capsys):
    (tmp_path / "cts").mkdir()
    write_volume(tmp_path / "cts/hand.nii.gz", phantom("hand", 0, 3.0))
    simulated = [f"data.simulated={tmp_path / 'cts'}", "data.twins=1", "batch=2", "steps=2"]
    assert train(studies, tmp_path / "run", *simulated, "run.progress=false") == 0
    said = capsys.readouterr().out
    assert f"simulated ones of {tmp_path / 'cts'} for train" in said
    (films, people) = json.loads(words_of(tmp_path / "run")["seen"])
    assert (films["kind"], people["kind"]) == ("csv", "simulated")
    assert {"hand", "phantom hand 0"} <= set(people["patients"])
    assert evaluate(tmp_path / "run", studies) == 0  # of the table's own, `val` alone is known
    assert f"{40 - len(films['calibrated'])} studies" in capsys.readouterr().out
    rows = Path(studies.partition(":")[2]).read_text().splitlines()
    home = Path(studies.partition(":")[2]).parent
    named = [row.replace(",p1,", ",hand,") for row in rows[1:]]
    (tmp_path / "named.csv").write_text("\n".join([rows[0], *(f"{home}/{row}" for row in named)]))
    held = [*simulated, "data.test_share=0.9"]
    assert train(f"csv:{tmp_path / 'named.csv'}", tmp_path / "no", *held) == 2
    assert "is a patient of" in capsys.readouterr().err


def test_the_run_is_kept_and_another_is_refused(run, studies, capsys):
    before, words = load_network(run / "classifier.safetensors", ClassifierNetwork)
    assert train(studies, run, *QUICK) == 0
    assert "already finished" in capsys.readouterr().out
    after, again = load_network(run / "classifier.safetensors", ClassifierNetwork)
    assert words == again
    assert all(
        torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items()
    )
    assert train(studies, run, *QUICK, "data.views=1") == 2
    assert "another run (data.views: 2 -> 1)" in capsys.readouterr().err


def test_patients_of_the_training_are_no_test(run, studies, tmp_path, capsys):
    folder = tmp_path / "other"
    folder.mkdir()
    source = studies.partition(":")[2]
    lines = Path(source).read_text().splitlines()
    home = source.rsplit("/", 1)[0]
    rows = [lines[0], *(f"{home}/{line}" for line in lines[1:])]
    (folder / "again.csv").write_text("\n".join(rows) + "\n")
    assert evaluate(run, f"csv:{folder / 'again.csv'}") == 2
    assert "was trained on" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 2])
def test_classify(run, studies, tmp_path, capsys, count):
    home = studies.partition(":")[2].rsplit("/", 1)[0]
    said = {}
    for patient in (0, 1):
        films = [f"{home}/{patient}-{view}.png" for view in ("AP", "LAT")][:count]
        out = tmp_path / str(patient)
        assert cli.run(["classify", *films, "--weights", str(run), "--out", str(out)]) == 0
        assert "not a medical device" in capsys.readouterr().out
        said[patient] = json.loads((out / "reading.json").read_text())
        with Image.open(out / "evidence.png") as picture:
            assert picture.size[0] > 400 * count
    assert said[0]["probability"] < 0.5 < said[1]["probability"]
    assert said[1]["calibrated"]
    assert bool(said[1]["links"]) == (count == 2)
    for link in said[1]["links"]:
        assert all(0 <= edge <= 64 for box in link["boxes"] for edge in box)


def test_guided_from_a_matcher(weights, studies, tmp_path, capsys):
    words = [
        "--init",
        str(weights),
        "--guidance",
        "--matcher",
        str(weights),
        "run.progress=false",
        "steps=4",
    ]
    assert train(studies, tmp_path, *words) == 0
    assert "new: alpha 1, class_token 1, head 2, position 1." in capsys.readouterr().out
    network, words = load_network(tmp_path / "classifier.safetensors", ClassifierNetwork)
    assert network.alpha.abs().max() > 0
    assert words["guide"] == str(weights)
    home = studies.partition(":")[2].rsplit("/", 1)[0]
    films = [f"{home}/1-AP.png", f"{home}/1-LAT.png"]
    assert (
        cli.run(["classify", *films, "--weights", str(tmp_path), "--out", str(tmp_path / "out")])
        == 0
    )
    words = ["--fusion", "late", "--guidance", "run.progress=false"]
    assert train(studies, tmp_path / "late", *words) == 2
    assert "Guidance acts where views meet early" in capsys.readouterr().err


def test_begun_with_a_resnet_of_a_file(studies, tmp_path, capsys):
    from safetensors.torch import save_file

    weights = ResidualTrunk(ClassifierConfig.preset("tiny").trunk).state_dict()
    weights["conv1.weight"] = weights["conv1.weight"].repeat(1, 3, 1, 1)
    save_file(
        {name: value.contiguous() for name, value in weights.items()},
        tmp_path / "resnet.safetensors",
    )
    words = ["--init", str(tmp_path / "resnet.safetensors"), "run.progress=false", "steps=1"]
    assert train(studies, tmp_path / "run", *words) == 0
    assert f"trunk {len(weights)}; new:" in capsys.readouterr().out
    assert train(studies, tmp_path / "no", "--init", "imagenet") == 2
    assert "no published ResNet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--init", "none.safetensors"], "There are no weights none.safetensors"),
        (["data.veiws=2"], "data.veiws is no option"),
        (["classifier.fusion=middle"], "must be one of single, late, early"),
        (["data.test_share=1"], "are shares"),
        (["data.without=[casts]"], "names 'casts'; studies have the flags cast, metal"),
        (["data.val_share=0", "data.seed=-1"], "a seed is 0 or more"),
        (["classifier.image_size=[64, 128]"], "studies are shown in squares"),
    ],
)
def test_training_refused(studies, tmp_path, capsys, words, said):
    assert train(studies, tmp_path / "run", *words) == 2
    assert said in capsys.readouterr().err


def test_classify_refused(tmp_path, capsys, weights):
    film = tmp_path / "film.png"
    Image.fromarray(np.eye(64, dtype=np.uint8) * 255).save(film)
    assert cli.run(["classify", str(film), "--weights", str(weights)]) == 2
    assert "holds no crossray classifier" in capsys.readouterr().err
    save_network(
        tmp_path / "it.safetensors", ClassifierNetwork(ClassifierConfig.preset("tiny")), {}
    )
    assert (
        cli.run(["classify", *[str(film)] * 7, "--weights", str(tmp_path / "it.safetensors")]) == 2
    )
    assert "1 to 6 views" in capsys.readouterr().err


def test_a_small_table(studies, weights, tmp_path, monkeypatch, capsys):
    words = [
        "reproduce", "table3", "--data", studies, "--budget", "quick", "--seeds", "2", "--matcher", str(weights),
        "--runs", str(tmp_path / "runs"), "run.progress=false", "steps=2",
    ]  # fmt: skip
    rows = [word for name in ("early", "pretrained", "guided", "cnn") for word in ("--row", name)]
    assert cli.run([*words, *rows, "--out", str(tmp_path / "out")]) == 0
    table = json.loads((tmp_path / "out/table3.json").read_text())
    ((name, told),) = table["sets"].items()
    assert name.startswith("studies")
    assert (told["studies"], told["patients"], told["prevalence"]) == (40, 40, 0.5)
    assert list(told["rows"]) == ["early", "pretrained", "guided", "cnn"]
    assert all(len(row["auc_of_each_seed"]) == 2 for row in told["rows"].values())
    pairs = {(each["row"], each["less"]): each for each in told["differences"]}
    assert set(pairs) == {("pretrained", "early"), ("guided", "pretrained"), ("guided", "cnn")}
    value = told["rows"]["pretrained"]["auc"][0] - told["rows"]["early"]["auc"][0]
    assert pairs["pretrained", "early"]["auc"][0] == pytest.approx(value)
    assert "plain CNN" in (tmp_path / "out/table3.md").read_text()
    kept = next((tmp_path / "runs").rglob("early-1-1/last.ckpt"))
    before = kept.stat().st_mtime_ns
    assert cli.run([*words, "--row", "early", "--out", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again/table3.json").read_text())["sets"][name]["rows"]["early"]
    assert again["auc"] == pytest.approx(told["rows"]["early"]["auc"])
    assert kept.stat().st_mtime_ns == before
    for bad, said in (
        (["--row", "oracle"], "Table 3 has no row 'oracle'"),
        (["--data", studies], "Two sets would be called"),
        (["--keep", str(tmp_path / "best.safetensors")], "give a graz: source"),
    ):
        assert cli.run([*words, *bad]) == 2
        assert said in capsys.readouterr().err


def test_the_best_row_is_kept(studies, tmp_path, capsys):
    home = Path(studies.partition(":")[2])
    with home.open() as file:
        films = list(csv.DictReader(file))
    table = tmp_path / "index.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            ["file", "study_id", "view", "patient_id", "laterality", "fracture_visible", "cast", "metal"]
        )  # fmt: skip
        for film in films:
            place = home.parent / film["file"]
            rows.writerow([place, film["study"], film["view"], film["patient"], "L", film["label"], 0, 0])  # fmt: skip
    keep, runs = tmp_path / "kept/best.safetensors", tmp_path / "runs"
    words = [
        "reproduce", "table3", "--data", f"graz:{table}", "--budget", "quick", "--seeds", "1", "--row", "early",
        "--row", "late", "--runs", str(runs), "--out", str(tmp_path / "out"), "--keep", str(keep), "run.progress=false",
    ]  # fmt: skip
    assert cli.run(words) == 0
    told = json.loads((tmp_path / "out/table3.json").read_text())
    assert told["graz_weights"] == keep.as_posix()
    scores = next(iter(told["sets"].values()))["rows"]
    assert told["graz_row"] == max(scores, key=lambda row: scores[row]["auc"][0])
    (whole,) = runs.rglob(f"{told['graz_row']}-all/classifier.safetensors")
    assert keep.stat().st_size < 0.8 * whole.stat().st_size
    _, words = load_network(keep, ClassifierNetwork)
    assert len(patients(words)) == 40
    assert set(json.loads(words["calibration"])) == {"scale", "offset"}
    assert evaluate(keep, f"graz:{table}") == 2
    assert "have seen every patient" in capsys.readouterr().err
