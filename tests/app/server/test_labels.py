"""Labels from click to file: kept, taken back, taken up again, compared and learned from."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from crossray.app.server.book import LabelBook
from crossray.app.server.folders import studies_in
from crossray.app.server.label_api import LOOKED_AT
from crossray.app.server.tuning import Tuning
from crossray.data.annotations import labelled_truth, read_labels
from crossray.data.negatives import DRAWN

SOURCE = str(Path(__file__).resolve().parents[3] / "src")


def same(ap, lat, reader="Anna", **more):
    places = {"ap": {"point": ap}, "lat": {"point": lat}}
    return {"verdict": "same", "places": places, "reader": reader, **more}


@pytest.fixture
def folder(tmp_path, png):
    """A folder of three studies, each of two films of noise."""
    for number, name in enumerate(("arm", "leg", "toe")):
        (tmp_path / "films" / name).mkdir(parents=True)
        for view in ("ap", "lat"):
            (tmp_path / "films" / name / f"{view}.png").write_bytes(png(10 * number + len(view)))
    return tmp_path / "films"


@pytest.fixture
def local(folder, weights, running):
    """A server of that folder, which keeps labels in it."""
    with running(folder, [weights], studies_in([folder])) as client:
        yield client


def first(client):
    return f"/api/studies/{client.get('/api/studies').json()[0]['id']}"


def test_a_label_is_on_the_disk_and_fits_its_films(local, folder):
    said = local.post(f"{first(local)}/labels", json=same([50, 40], [60, 30], name="tip"))
    assert said.status_code == 201, said.text
    assert (said.json()["study"], said.json()["person"], said.json()["drawn"]) == (
        "arm",
        "arm",
        100,
    )
    assert len(said.json()["labels"]) == 1
    labels = read_labels(folder / "crossray-labels.json")
    (study,) = labels.studies
    assert study.films["ap"].file == "arm/ap.png"
    answer = local.session.answer(local.session.get(first(local).split("/")[-1]), None)
    truth, known = labelled_truth(study, ["ap", "lat"], answer.matches.patch_box)
    p, q = answer.matches.patch_at(0, (50, 40)), answer.matches.patch_at(1, (60, 30))
    assert truth[0, 1, p, q] == 1
    assert truth.sum() == 2
    boxes = answer.matches.patch_box
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1) > 0
    assert int(known[0, 1][area[0]][:, area[1]].sum()) == 101
    drawn = known[0, 1, p] & area[1] & (torch.arange(256) != q)
    assert ((boxes[1, drawn, 0] + boxes[1, drawn, 2]) / 2 - 60.5).abs().min() > 15


def test_export_is_the_file(local, folder):
    local.post(f"{first(local)}/labels", json=same([50, 40], [60, 30]))
    exported = local.get("/api/labels")
    assert exported.content == (folder / "crossray-labels.json").read_bytes()
    assert "attachment" in exported.headers["content-disposition"]


def test_all_verdicts(local):
    lat = {"boxes": [[0, 0, 9, 9], [10, 0, 19, 9]]}
    kinds = [
        {"verdict": "different", "places": {"ap": {"point": [5, 5]}, "lat": lat}},
        {"verdict": "hidden", "places": {"ap": {"point": [5, 5]}}, "hidden": ["lat"]},
        {"verdict": "unsure", "places": {"ap": {"point": [5, 5]}, "lat": {"point": [6, 6]}}},
    ]
    for count, label in enumerate(kinds, 1):
        said = local.post(f"{first(local)}/labels", json=label).json()
        assert (len(said["labels"]), said["drawn"]) == (count, 0)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (same([500, 4], [5, 5]), "beside the film"),
        (
            {"verdict": "same", "places": {"ap": {"point": [1, 1]}, "x": {"point": [1, 1]}}},
            "no such film",
        ),
        ({"verdict": "same", "places": {"ap": {"point": [1, 1]}}}, "two views"),
        ({"verdict": "maybe", "places": {}}, "same"),
    ],
)
def test_what_is_no_label_is_refused_and_nothing_written(local, folder, label, words):
    response = local.post(f"{first(local)}/labels", json=label)
    assert response.status_code in (400, 422)
    assert words in response.text
    assert not (folder / "crossray-labels.json").exists()


def test_undo_takes_back_ones_own(local, folder):
    for reader in ("Anna", "Bo", "Anna"):
        local.post(f"{first(local)}/labels", json=same([50, 40], [60, 30], reader))
    path = f"{first(local)}/labels/last"
    said = local.delete(path, params={"reader": "Anna"}).json()
    assert [label["reader"] for label in said["labels"]] == ["Anna", "Bo"]
    assert said["drawn"] == 200
    local.delete(path, params={"reader": "Anna"})
    refused = local.delete(path, params={"reader": "Anna"})
    assert refused.status_code == 400
    (study,) = read_labels(folder / "crossray-labels.json").studies
    assert {label.reader for label in study.labels} == {"Bo"}


def test_undo_of_labels_without_a_date_takes_one(local, folder):
    local.post(f"{first(local)}/labels", json=same([50, 40], [60, 30]))
    content = json.loads((folder / "crossray-labels.json").read_text())
    (study,) = content["studies"]
    for label in study["labels"]:
        del label["date"]
    study["labels"] = [*study["labels"], study["labels"][0]]
    path = folder / "imported.json"
    path.write_text(json.dumps(content))
    book = LabelBook(path)
    left = book.undo(local.session.get(first(local).split("/")[-1]), "Anna").labels
    assert [label.remarks for label in left] == [(), (DRAWN,), (DRAWN,)]


def test_films_that_are_the_same_to_the_byte_stay_two(client, films, png):
    sent = client.post("/api/studies", files=films(png(5), png(5))).json()
    label = {"verdict": "hidden", "places": {"lat": {"point": [5, 5]}}, "hidden": ["ap"]}
    said = client.post(f"/api/studies/{sent['id']}/labels", json=label).json()
    assert (list(said["labels"][0]["places"]), said["labels"][0]["hidden"]) == (["lat"], ["ap"])
    client.delete(f"/api/studies/{sent['id']}")


def test_uploaded_studies_name_films_apart_and_say_where_they_go(
    tmp_path, weights, running, films, png
):
    names, contents = ("AP.png", "LAT.png"), [[png(1), png(2)], [png(3), png(4)]]
    with running(tmp_path, [weights]) as client:
        for pair in contents:
            study = client.post("/api/studies", files=films(*pair, names=names)).json()
            path = f"/api/studies/{study['id']}"
            label = {"verdict": "hidden", "places": {"AP": {"point": [5, 5]}}, "hidden": ["LAT"]}
            said = client.post(f"{path}/labels", json=label).json()
            for file, content in zip(said["missing"], pair, strict=True):
                (tmp_path / file).parent.mkdir(exist_ok=True)
                (tmp_path / file).write_bytes(content)
            assert client.get(f"{path}/labels").json()["missing"] == []
        twice = client.post(
            "/api/studies",
            files=films(png(5), png(6), names=("a.png", "a.png")),
            data={"name": ".."},
        ).json()
        missing = client.get(f"/api/studies/{twice['id']}/labels").json()["missing"]
    assert missing == ["film/a (1).png", "film/a (2).png"]
    assert len(read_labels(tmp_path / "crossray-labels.json").studies) == 2  # its films are there


def test_a_file_that_cannot_be_written_is_said(local, tmp_path):
    (tmp_path / "file").touch()
    local.book.path = tmp_path / "file" / "labels.json"
    response = local.post(f"{first(local)}/labels", json=same([50, 40], [60, 30]))
    assert response.status_code == 400
    assert "cannot be written" in response.json()["detail"]
    assert local.get(f"{first(local)}/labels").json()["labels"] == []


def test_a_blank_is_no_person(local):
    path = f"{first(local)}/person"
    assert local.put(path, json={"person": "  "}).status_code == 422
    assert local.put(path, json={"person": " P7 "}).json()["person"] == "P7"


def test_labels_are_taken_up_again_by_what_films_hold(
    local, folder, tmp_path, weights, running, films
):
    local.put(f"{first(local)}/person", json={"person": "P7"})
    local.post(f"{first(local)}/labels", json=same([50, 40], [60, 30]))
    contents = [(folder / "arm" / f"{view}.png").read_bytes() for view in ("lat", "ap")]
    with running(folder, [weights]) as client:
        sent = client.post(
            "/api/studies", files=films(*contents, names=("x1.png", "x2.png"))
        ).json()
        said = client.get(f"/api/studies/{sent['id']}/labels").json()
        assert (said["study"], said["person"]) == ("arm", "P7")
        one, two = (film["view"] for film in sent["films"])
        assert said["labels"][0]["places"][two]["point"] == [50, 40]
        assert said["labels"][0]["places"][one]["point"] == [60, 30]


def test_another_programs_change_is_not_overwritten(local, folder):
    path = folder / "crossray-labels.json"
    local.post(f"{first(local)}/labels", json=same([50, 40], [60, 30]))
    path.write_text(path.read_text().replace("Anna", "Somebody"))
    response = local.post(f"{first(local)}/labels", json=same([50, 40], [60, 30]))
    assert response.status_code == 400
    assert "another program" in response.json()["detail"]
    assert "Somebody" in path.read_text()


def test_agreement_over_http(local):
    local.post(f"{first(local)}/labels", json=same([50, 40], [60, 30], "Anna"))
    local.post(f"{first(local)}/labels", json=same([51, 40], [63, 34], "Bo"))
    (pair,) = local.get("/api/agreement").json()
    assert (pair["readers"], pair["questions"], pair["pixels"]) == (["Anna", "Bo"], 1, 5.0)


def test_the_next_question_is_another_one(local):
    asked = set()
    for _ in range(4):
        response = local.get("/api/next", params={"reader": "Anna"})
        assert response.status_code == 200, response.text
        question = response.json()
        asked.add((question["study"], question["view"], tuple(question["point"])))
        path = f"/api/studies/{question['study']}"
        views = [film["view"] for film in local.get(path).json()["films"]]
        places = {views[question["view"]]: {"point": question["point"]}}
        hidden = [view for view in views if view not in places]
        label = {"verdict": "hidden", "places": places, "hidden": hidden, "reader": "Anna"}
        assert local.post(f"{path}/labels", json=label).status_code == 201
    assert len(asked) == 4
    assert len({study for study, _, _ in asked}) == 3


def test_the_next_question_comes_from_the_study_labelled_least(tmp_path, weights, running, png):
    """However many studies there are, and whatever else is there: a film that is none, a label on the very edge."""
    studies = []
    for number in range(LOOKED_AT + 3):
        folder = tmp_path / f"study-{number:02}"
        folder.mkdir()
        for view in ("ap", "lat"):
            (folder / f"{view}.png").write_bytes(png(10 * number + len(view)))
        edge = {"ap": {"point": [119.5, -0.5]}, "lat": {"point": [20, 20]}}
        labels = [{"verdict": "same", "places": edge, "reader": "Anna"}]
        films = {view: {"file": f"{folder.name}/{view}.png"} for view in ("ap", "lat")}
        studies.append({"study": folder.name, "person": "p", "films": films, "labels": labels})
    del studies[-2:]
    (tmp_path / f"study-{LOOKED_AT + 1}" / "ap.png").write_bytes(png(1)[:200])
    path = tmp_path / "crossray-labels.json"
    path.write_text(json.dumps({"studies": studies}))
    with running(tmp_path, [weights], studies_in([tmp_path])) as client:
        asked = client.get("/api/next", params={"reader": "Anna"})
        assert asked.status_code == 200, asked.text
        chosen = client.session.get(asked.json()["study"])
        assert chosen.name == f"study-{LOOKED_AT + 2}"


def test_a_label_survives_a_kill(folder, weights):
    """The process is killed as soon as the label was answered; the next one takes it up, and clears what was left."""
    environment = os.environ | {"TMPDIR": str(folder.parent), "PYTHONPATH": SOURCE}
    command = [sys.executable, "-m", "crossray.app.cli", "view", str(folder), "--port", "0"]
    command += ["--no-browser", "--weights", str(weights)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().split("Open ")[1].strip()
    again = httpx.HTTPTransport(retries=8)
    with httpx.Client(base_url=url, timeout=60, trust_env=False, transport=again) as client:
        assert (
            client.post(f"{first(client)}/labels", json=same([50, 40], [60, 30])).status_code == 201
        )
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    (left,) = folder.parent.glob("crossray-view-*")
    assert len(LabelBook(folder / "crossray-labels.json").labels.studies[0].labels) == 3
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().split("Open ")[1].strip()
    assert not left.exists()
    with httpx.Client(
        base_url=url, timeout=60, trust_env=False, transport=httpx.HTTPTransport(retries=8)
    ) as client:
        assert len(client.get(f"{first(client)}/labels").json()["labels"]) == 1
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode in (0, -signal.SIGTERM)


QUICK = """
import sys
from crossray.volumes import phantom as home
original = home.phantom
home.phantom = lambda limb, seed=0, spacing_mm=1.0: original(limb, seed, 5.0)
from crossray.app import cli
from crossray.app.commands import evaluate
evaluate.PRIOR_VOLUMES = evaluate.PRIOR_SAMPLES = 1
sys.exit(cli.run([*sys.argv[1:], "batch=2"]))
"""
"""The real command, with a position prior of one sample of one coarse phantom."""


def test_labels_fine_tune_the_matcher(local, folder, weights, tmp_path):
    rng = np.random.default_rng(0)
    for study in local.get("/api/studies").json():
        for _ in range(2):
            points = rng.integers(5, 75, (2, 2)).tolist()
            local.post(f"/api/studies/{study['id']}/labels", json=same(*points))
    tuning = Tuning(local.session, local.book, str(weights), (sys.executable, "-c", QUICK))
    assert tuning.state().state == "none"
    run = tuning.start(2)
    while run.state == "running":
        time.sleep(0.3)
        run = tuning.state()
    assert run.state == "done", run.printed
    assert run.report is not None
    assert 0 < run.report["after"]["matching"]["ap"] <= 1
    assert run.weights == "finetuned-1"
    assert local.get(f"{first(local)}/matches", params={"weights": run.weights}).status_code == 200
    assert Path(run.out).parent == folder


def test_a_fine_tuning_without_persons_says_why_and_one_can_be_stopped(local):
    assert "Nothing was labelled" in local.post("/api/finetune", json={"steps": 5}).json()["detail"]
    local.post(f"{first(local)}/labels", json=same([50, 40], [60, 30]))
    assert local.post("/api/finetune", json={"steps": 5}).json()["state"] == "running"
    assert "wait for it" in local.post("/api/finetune", json={"steps": 5}).json()["detail"]
    while (run := local.get("/api/finetune").json())["state"] == "running":
        time.sleep(0.3)
    assert run["state"] == "failed"
    assert "persons" in run["printed"]
    local.post("/api/finetune", json={"steps": 5})
    assert local.delete("/api/finetune").json()["state"] == "stopped"


def test_drawn_labels_are_marked(local, folder):
    local.post(f"{first(local)}/labels", json=same([50, 40], [60, 30]))
    content = json.loads((folder / "crossray-labels.json").read_text())
    drawn = [label for label in content["studies"][0]["labels"] if label["verdict"] == "different"]
    assert len(drawn) == 2
    assert all(label["remarks"] == [DRAWN] for label in drawn)
