"""Studies over HTTP: what goes in comes out, and every answer is the library's own."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import crossray
from crossray.app.server.limits import Limits
from crossray.matching.classifier import Classifier
from crossray.models.classifier import ClassifierConfig, ClassifierNetwork


def of(study, *path):
    return "/".join(["/api/studies", study["id"], *path])


def test_health_and_schema(client):
    health = client.get("/api/health").json()
    assert health["status"] == "ok"
    assert health["limits"]["films"] == 6
    schema = client.get("/openapi.json").json()
    assert {"/api/studies", "/api/studies/{study}/bands", "/api/studies/{study}/classify"} <= set(
        schema["paths"]
    )
    assert "Bytes of one uploaded film." in str(schema["components"]["schemas"]["Limits"])


def test_a_study_says_what_its_films_are(study):
    assert study["name"] == "limb"
    assert [film["view"] for film in study["films"]] == ["ap", "lat"]
    assert study["films"][1]["size"] == [90, 100]
    assert study["films"][0]["pixel_mm"] is None
    assert study["films"][0]["pixel_mm_kind"] == "unknown"


def test_pixels_are_the_films_own_16_bits(client, study, png):
    response = client.get(of(study, "films", "0"))
    assert (response.headers["x-rows"], response.headers["x-columns"]) == ("120", "80")
    values = np.frombuffer(response.content, "<u2").reshape(120, 80)
    stored = np.asarray(Image.open(io.BytesIO(png(1)))).astype(float)
    stretched = (stored - stored.min()) / (stored.max() - stored.min()) * 65535
    assert np.abs(values - stretched).max() <= 1
    assert client.get(of(study, "films", "2")).status_code == 404


def test_matches_are_the_matchers(client, study, weights, png):
    arrays = np.load(io.BytesIO(client.get(of(study, "matches.npz")).content))
    contents = [
        np.asarray(Image.open(io.BytesIO(png(n, s)))) for n, s in ((1, (120, 80)), (2, (90, 100)))
    ]
    pixels = [(c - float(c.min())) / (float(c.max()) - c.min()) for c in contents]
    matches = crossray.Matcher.load(weights).match([torch.from_numpy(p) for p in pixels])
    assert np.abs(arrays["correspondence"] - matches.correspondence.numpy()).max() < 1e-3
    raw = np.frombuffer(client.get(of(study, "matches.raw")).content, "<u2") / 65535
    assert np.abs(raw - arrays["correspondence"].ravel()).max() < 1e-5
    about = client.get(of(study, "matches")).json()
    assert about["grid"] == [16, 16]
    assert about["calibration"] is None


def test_bands_for_one_point_and_for_many(client, study):
    asked = {"view": 0, "row": 50, "column": 40}
    one = client.get(of(study, "bands"), params=asked).json()
    many = client.post(of(study, "bands"), json={"view": 0, "points": [[50, 40], [10, 10]]}).json()
    assert many[0] == one
    assert one[0]["view"] == 1
    assert client.get(of(study, "bands"), params={**asked, "row": 500}).status_code == 400
    assert client.get(of(study, "bands"), params={**asked, "coverage": 0.2}).status_code == 422
    assert client.get(of(study, "bands"), params={**asked, "view": -1}).status_code == 422
    low = {"view": 0, "points": [[1, 1]], "coverage": 0.2}
    assert client.post(of(study, "bands"), json=low).status_code == 422
    crowd = {"view": 0, "points": [[1, 1]] * (Limits().points + 1)}
    assert client.post(of(study, "bands"), json=crowd).status_code == 422


def test_unknown_weights_studies_and_classifiers(client, study):
    assert client.get(of(study, "matches"), params={"weights": "none"}).status_code == 404
    assert client.get(of(study, "matches"), params={"weights": "truth"}).status_code == 404
    assert client.get("/api/studies/0000/matches").status_code == 404
    answer = client.get(of(study, "classify"))
    assert answer.status_code == 501
    assert "start it with --classifier" in answer.json()["detail"]


def test_a_fracture_is_read(tmp_path, running, weights, films, png):
    torch.manual_seed(0)
    network = ClassifierNetwork(ClassifierConfig.preset("tiny"))
    with running(tmp_path, [weights], classifier=Classifier(network)) as client:
        study = client.post("/api/studies", files=films(png(3), png(4))).json()
        found = client.get(of(study, "classify")).json()
    assert 0 < found["probability"] < 1
    assert not found["calibrated"]


def test_a_removed_study_is_gone_from_the_disk(client, films, png):
    study = client.post("/api/studies", files=films(png(3), png(4))).json()
    folder = client.session.folder / study["id"]
    assert folder.is_dir()
    assert client.delete(of(study)).status_code == 204
    assert not folder.exists()
    assert client.delete(of(study)).status_code == 404


def test_a_calibrated_answer_is_the_librarys_region(tmp_path, running, films, png):
    with running(tmp_path, ["small"]) as client:
        study = client.post("/api/studies", files=films(png(1), png(1))).json()
        point, coverage = (60.0, 40.0), 0.8
        asked = {"view": 0, "row": 60, "column": 40, "coverage": coverage}
        (band,) = client.get(of(study, "bands"), params=asked).json()
        answer = client.session.answer(client.session.get(study["id"]), None)
        matches = answer.matches
        patch = matches.patch_at(0, point)
        assert band["probability"] == pytest.approx(matches.probability[0, 1, patch].max().item())
        assert band["related"] == pytest.approx(matches.related(0, 1))
        region = matches.region(0, point, coverage)[1]
        if band["found"]:
            assert band["coverage"] == coverage
            covered = torch.zeros_like(region)
            for cell in band["region"]:
                top, left, bottom, right = (round(edge) for edge in cell[:4])
                covered[top:bottom, left:right] = True
            assert (covered ^ region).float().mean() < 0.02
        else:
            assert band["reason"]
            assert band["region"] == []
