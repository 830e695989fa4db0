"""What the commands leave behind: render, train, evaluate and demo, on phantoms as coarse as they may be."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crossray.app import cli
from crossray.volumes.io import write_volume
from crossray.volumes.phantom import phantom, phantom_side

pytestmark = pytest.mark.usefixtures("coarse_phantoms")


def run(*arguments: object) -> int:
    return cli.run([str(argument) for argument in arguments])


def refused(capfd, *arguments: object) -> str:
    assert run(*arguments) == 2
    err = capfd.readouterr().err
    assert err.startswith("crossray: ")
    assert err.count("\n") == 1
    return err


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_render_a_phantom(capfd, tmp_path):
    arguments = ("render", "--limb", "knee", "--size", 64, "--primary", 0, "--primary", -45)
    assert run(*arguments, "--seed", 3, "--out", tmp_path / "out") == 0
    assert entries(tmp_path) == ["out"]
    assert entries(tmp_path / "out") == [
        "cameras.json",
        "correspondence.npz",
        "sheet.png",
        "view-0.png",
        "view-1.png",
    ]
    with Image.open(tmp_path / "out/view-1.png") as image:
        pixels = np.asarray(image)
    assert pixels.dtype == np.uint16
    assert pixels.shape == (64, 64)
    assert len(np.unique(pixels)) > 500
    with np.load(tmp_path / "out/correspondence.npz", allow_pickle=False) as arrays:
        matrix = arrays["correspondence"]
        assert matrix.shape == (2, 2, 16, 16)
        visibility = arrays["visibility"]
        assert visibility.shape == (2, 2, 16)
        assert np.array_equal(visibility == 0, (matrix > 0.2).any(-1))
        assert arrays["grid"].tolist() == [[4, 4], [4, 4]]
        assert np.allclose(matrix[0, 1], matrix[1, 0].T)
    cameras = json.loads((tmp_path / "out/cameras.json").read_text())
    assert len(cameras["views"]) == 2
    assert cameras["made_from"]["primary"] == [0.0, -45.0]
    # AP: the source lies 1000 mm behind the patient (posterior is +y) of the isocentre.
    expected = np.add(cameras["isocenter"], [0, 1000, 0])
    assert np.allclose(cameras["views"][0]["source"], expected, atol=1e-6)
    assert "2 views of phantom knee 3" in capfd.readouterr().out


def test_render_projections_by_name(capfd, tmp_path):
    names = ("--projection", "hand:pa", "--projection", "hand:lateral")
    arguments = ("render", "--limb", "hand", "--size", 64, "--seed", 1, *names)
    assert run(*arguments, "--out", tmp_path / "out") == 0
    made = json.loads((tmp_path / "out/cameras.json").read_text())
    assert made["made_from"]["projections"] == ["hand:pa", "hand:lateral"]
    assert made["made_from"]["side"] == phantom_side("hand", 1) == "left"
    # PA: from behind, 980 mm away. Fingers up at +z: a column of the film runs to -z.
    assert np.allclose(np.subtract(made["views"][0]["source"], made["isocenter"]), [0, 980, 0])
    assert made["views"][0]["row_step"][2] < 0
    # Lateral, from the thumb's side: -x of a left hand that is held up.
    assert np.allclose(np.subtract(made["views"][1]["source"], made["isocenter"]), [-950, 0, 0])

    hand = ("render", "--limb", "hand", *names, "--out", tmp_path / "none")
    assert "own angles" in refused(capfd, *hand, "--primary", 0)
    assert "own angles" in refused(capfd, *hand, "--sod-mm", 900)
    assert "hand:ap is no projection" in refused(capfd, *hand, "--projection", "hand:ap")
    assert entries(tmp_path) == ["out"]


def test_a_ct_does_not_know_its_side(capfd, tmp_path):
    import SimpleITK

    hu = np.full((20, 20, 20), 40, dtype=np.int16)
    hu[:, :4] = -1000
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(hu), path := str(tmp_path / "ct.mha"))
    knee = ("render", path, "--projection", "knee:lateral", "--out", tmp_path / "out")
    assert "--side" in refused(capfd, *knee)


def test_render_again_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        assert run("render", "--limb", "ankle", "--size", 64, "--out", tmp_path / name) == 0
    for file in entries(tmp_path / "a"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_render_refuses(capfd, tmp_path):
    out = ("--out", tmp_path / "out")
    assert "either a CT or a phantom" in refused(capfd, "render", *out)
    assert "either a CT or a phantom" in refused(capfd, "render", "ct.nii", "--limb", "hand", *out)
    assert "nowhere.nii.gz" in refused(capfd, "render", tmp_path / "nowhere.nii.gz", *out)
    (tmp_path / "folder").mkdir()
    assert "folder" in refused(capfd, "render", tmp_path / "folder", *out)
    hand = ("render", "--limb", "hand", *out)
    assert "lengths" in refused(
        capfd, *hand, "--primary", 0, "--primary", 90, *("--roll", 1) * 2, "--roll", 3
    )
    assert "sod_mm" in refused(capfd, *hand, "--sod-mm", 1000, "--sdd-mm", 900)
    assert "--field-mm" in refused(capfd, *hand, "--field-mm", -5)
    assert "--size" in refused(capfd, *hand, "--size", 8)
    inside = refused(capfd, *hand, "--sod-mm", 10, "--sdd-mm", 300)
    assert "inside" in inside
    assert refused(capfd, *hand, "--size", 100)
    assert entries(tmp_path) == ["folder"]


def test_train_then_match(capfd, tmp_path):
    words = ("batch=2", "run.progress=false", "data.sample.truth_block=1")
    train = ("train", "matcher", "--preset", "tiny", "--phantoms", 1, "--seed", 5, *words)
    assert run(*train, "--steps", 2, "--out", tmp_path / "run") == 0
    assert "finished after 2 steps" in capfd.readouterr().out
    assert (tmp_path / "run/matcher.safetensors").is_file()
    config = (tmp_path / "run/config.yaml").read_text()
    assert "phantoms: 1" in config
    assert "seed: 5" in config.split("data:")[1]
    assert run(*train, "--steps", 2, "--out", tmp_path / "run") == 0
    assert "already finished" in capfd.readouterr().out
    message = refused(capfd, *train, "--steps", 3, "--out", tmp_path / "run")
    assert "steps: 2 -> 3" in message


def test_train_refuses(capfd, tmp_path):
    train = ("train", "matcher", "--preset", "tiny", "--out", tmp_path / "run", "--phantoms", 0)
    assert "phantoms=0" in refused(capfd, *train)
    assert "nowhere" in refused(capfd, *train, "--ct", tmp_path / "nowhere")
    for word in ("speed=9", "optimizer.speed=9", "data.speed=9", "data.sample.speed=9", "steps"):
        assert word.split("=")[0].split(".")[-1] in refused(capfd, *train, word)
    assert "batch" in refused(capfd, *train, "batch=0")
    assert "data.phantom_share" in refused(capfd, *train, "data.phantom_share=much")
    assert entries(tmp_path) == []


def test_evaluate_on_phantoms(capfd, tmp_path, weights, monkeypatch):
    from crossray.app.commands import evaluate

    for name, value in {
        "PHANTOMS": 2,
        "PRIOR_VOLUMES": 1,
        "PRIOR_SAMPLES": 2,
        "SLOPE_PAIRS": 1,
    }.items():
        monkeypatch.setattr(evaluate, name, value)
    file = tmp_path / "deep/scores.json"
    assert run("evaluate", "matcher", "--weights", weights, "--pairs", 2, "--json", file) == 0
    scores = json.loads(file.read_text())
    names = "ap mse precision recall prevalence prior_ap ap_low ap_high slope per_volume"
    assert set(names.split()) <= set(scores)
    assert scores["pairs"] == 2
    assert scores["settings"]["protocol"] == "clinical"
    assert {row["name"] for row in scores["per_volume"]} == {
        "phantom hand 1000000",
        "phantom knee 1000000",
    }
    printed = capfd.readouterr().out
    assert "chance" in printed
    assert "position" in printed


def test_a_folder_without_splits_is_tested_whole(capfd, tmp_path, weights, monkeypatch):
    from crossray.app.commands import evaluate

    for name in ("PRIOR_VOLUMES", "PRIOR_SAMPLES", "SLOPE_PAIRS"):
        monkeypatch.setattr(evaluate, name, 1)
    for seed in range(2):
        write_volume(tmp_path / f"{seed}.nii.gz", phantom("knee", seed, 6.0))
    given = ("--weights", weights, "--ct", tmp_path, "--pairs", 2)
    note = "all of its 2 people are tested, and the scores hold only for weights that saw none"
    assert run("evaluate", "matcher", *given) == 0
    assert note in capfd.readouterr().out
    assert run("calibrate", *given, "--out", tmp_path / "out.safetensors") == 0
    assert note in capfd.readouterr().out
    lines = ["file,person,split", "0.nii.gz,ann,val", "1.nii.gz,bob,train"]
    (tmp_path / "index.csv").write_text("\n".join(lines))
    assert run("evaluate", "matcher", *given) == 0
    assert "proposes no splits" not in capfd.readouterr().out


def test_evaluate_on_labelled_films(capfd, tmp_path, weights, monkeypatch):
    from crossray.app.commands import evaluate

    for name in ("PRIOR_VOLUMES", "PRIOR_SAMPLES"):
        monkeypatch.setattr(evaluate, name, 1)
    grey = np.random.default_rng(0).integers(0, 255, (2, 90, 60)).astype(np.uint8)
    for view, pixels in zip("ab", grey, strict=True):
        Image.fromarray(pixels).save(tmp_path / f"{view}.png")
    place = {"a": {"point": [40, 30]}, "b": {"point": [50, 30]}}
    study = {
        "study": "knee 7",
        "person": "7",
        "films": {view: {"file": f"{view}.png"} for view in "ab"},
        "labels": [{"verdict": "same", "places": place}],
    }
    labels, file = tmp_path / "labels.json", tmp_path / "deep/hits.json"
    labels.write_text(json.dumps({"studies": [study]}))
    command = ("evaluate", "films", "--labels", labels, "--weights", weights, "--draws", 2)
    assert run(*command, "--json", file) == 0
    found = json.loads(file.read_text())
    assert found["studies"][0]["trials"] == 4
    assert found["low"] is None
    assert {
        found["chance"],
        *(0 <= found[n] <= 1 for n in ("matcher", "same_height", "prior")),
    } == {
        0.1,
        True,
    }
    assert "height" in capfd.readouterr().out  # narrow terminals break the words apart
    (tmp_path / "b.png").unlink()
    assert "b.png, which does not exist" in refused(capfd, *command)
    assert "is a folder" in refused(capfd, *command, "--json", tmp_path)


def test_evaluate_refuses(capfd, tmp_path, weights):
    evaluate = ("evaluate", "matcher", "--weights", weights)
    assert "is a folder" in refused(capfd, *evaluate, "--json", tmp_path)
    assert "nowhere" in refused(capfd, *evaluate, "--ct", tmp_path / "nowhere")
    assert "no weights large" in refused(capfd, "evaluate", "matcher", "--weights", "large")
    assert "protocol" in refused(capfd, *evaluate, "--protocol", "free")


def test_the_demo(capfd, tmp_path, weights):
    arguments = ("demo", "--weights", weights, "--pairs", 3, "--limb", "ankle")
    assert run(*arguments, "--out", tmp_path / "out/demo") == 0
    assert entries(tmp_path / "out") == ["demo"]
    assert entries(tmp_path / "out/demo") == [
        "ankle-ap.png",
        "ankle-lateral.png",
        "correspondence.npz",
        "matches.html",
        "matches.json",
        "matches.npz",
        "matches.png",
        "scores.json",
    ]
    assert '"truth"' in (tmp_path / "out/demo/matches.html").read_text()
    with np.load(tmp_path / "out/demo/correspondence.npz") as truth:
        assert truth["files"].tolist() == ["ankle-ap.png", "ankle-lateral.png"]
        assert truth["grid"].tolist() == [[16, 16]] * 2
    printed = capfd.readouterr().out
    assert "average precision" in printed
    assert "by chance" in printed


def test_the_demos_truth_lies_on_the_networks_patches(weights):
    """Both are square grids over the same whole film."""
    from crossray.app.commands.demo import match_phantom
    from crossray.matching import Matcher

    matches, truth = match_phantom(Matcher.load(weights), "hand", 0)
    assert truth.shape == matches.correspondence.shape
    assert matches.fields[0] == (0.0, 0.0, 512.0, 512.0)
    fingers_to_fingers = truth[0, 1].view(16, 16, 256)[3].sum(0).view(16, 16).sum(1)
    assert fingers_to_fingers[2:5].sum() > 0.6 * fingers_to_fingers.sum()


def test_calibrate_keeps_what_it_measured_with_the_weights(capfd, tmp_path, weights):
    from crossray.matching import Matcher

    out, scores = tmp_path / "calibrated.safetensors", tmp_path / "scores.json"
    arguments = ("calibrate", "--weights", weights, "--pairs", 6, "--out", out, "--json", scores)
    assert run(*arguments) == 0
    assert "expected calibration error" in capfd.readouterr().out
    measured = json.loads(scores.read_text())
    assert measured["persons"] == 6
    assert {"ece", "regions", "related_auroc", "roll_error_deg", "turn_error_deg"} <= set(measured)
    matcher, before = Matcher.load(out), Matcher.load(weights)
    assert matcher.calibration is not None
    assert before.calibration is None
    for name, value in before.network.state_dict().items():
        assert torch.equal(value, matcher.network.state_dict()[name])
    matches = matcher.match([np.random.default_rng(i).random((64, 64)) for i in range(2)])
    assert 0 < matches.related() < 1
    assert refused(capfd, *arguments[:-3], tmp_path / "no" / "weights.safetensors")
    assert entries(tmp_path) == ["calibrated.safetensors", "scores.json"]
