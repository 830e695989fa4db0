"""`crossray finetune matcher` on films of noise: its files, its report, and what it refuses."""

import json

import pytest
import torch
from torch import Tensor, nn

from crossray.app import cli
from crossray.app.commands.finetune import labelled_ap
from crossray.data.labelled import LabelledPair
from crossray.models.storage import load_network

pytestmark = pytest.mark.usefixtures("coarse_phantoms")


def run(*arguments: object) -> int:
    return cli.run([str(argument) for argument in arguments])


def test_finetune(capfd, tmp_path, labels, weights):
    out = tmp_path / "run"
    command = ("finetune", "matcher", "--labels", labels, "--init", weights, "--out", out)
    options = ("--steps", 2, "batch=2", "optimizer.rate=0.1", "run.progress=false")
    assert run(*command, *options) == 0
    printed = capfd.readouterr().out
    assert "2 of train, 1 of val, 1 of test" in printed
    assert all(word in printed for word in ("before", "after", "position prior", "chance"))
    report = json.loads((out / "report.json").read_text())
    for moment in ("before", "after"):
        matching = report[moment]["matching"]
        assert matching["prevalence"] == pytest.approx(3 / 23)
        assert 0 < matching["ap"] <= 1
    gain = report["after"]["matching"]["ap"] - report["before"]["matching"]["ap"]
    assert report["gain"]["ap"] == pytest.approx(gain)
    _, metadata = load_network(out / "matcher.safetensors")
    assert "sha256" in metadata["recipe"]
    assert run(*command, *options) == 0  # finished before
    assert "already finished" in capfd.readouterr().out


class Elsewhere(nn.Module):
    """Weights on a device that computes nothing; it answers on the CPU, and takes images where it lies alone."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, device="meta"))

    def forward(self, images: Tensor) -> Tensor:
        assert images.device == self.weight.device
        return torch.eye(4).expand(len(images), 2, 2, 4, 4)


def test_the_judge_asks_a_network_where_it_is():
    known = torch.ones(2, 2, 4, 4, dtype=torch.bool)
    pair = LabelledPair(torch.zeros(2, 8, 8), torch.eye(4).expand(2, 2, 4, 4), known)
    assert labelled_ap(Elsewhere(), [("ann", "knee", pair)]) == 1


def test_boxes_are_scored_without_hits(capfd, tmp_path, labels, weights):
    content = json.loads(labels.read_text())
    for label in (label for study in content["studies"] for label in study["labels"]):
        label["places"] = {
            view: {"boxes": [2 * place["point"]]} for view, place in label["places"].items()
        }
    labels.write_text(json.dumps(content))
    command = ("finetune", "matcher", "--labels", labels, "--init", weights)
    options = ("--steps", 1, "batch=2", "run.progress=false")
    assert run(*command, "--out", tmp_path / "run", *options) == 0
    assert "position prior" in capfd.readouterr().out
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert report["after"]["band_hits"] is None
    assert report["after"]["matching"]["ap"] > 0


def test_finetune_refuses(capfd, tmp_path, labels, weights):
    content = json.loads(labels.read_text())

    def refused(**change) -> str:
        labels.write_text(json.dumps({**content, **change}))
        command = ("finetune", "matcher", "--labels", labels, "--init", weights)
        assert run(*command, "--out", tmp_path / "run") == 2
        return capfd.readouterr().err

    assert "of 2 persons" in refused(studies=content["studies"][:2])
    for study in content["studies"]:
        study["labels"] = study["labels"][3:]
    assert "No one of the validation persons" in refused()


def test_a_matcher_teaches_itself(capfd, tmp_path, labels, weights):
    out = tmp_path / "run"
    command = ("finetune", "matcher", "--init", weights, "--out", out)
    options = ("--steps", 2, "batch=2", "run.progress=false")
    assert run(*command, "--unlabelled", labels, *options) == 0
    network, metadata = load_network(out / "matcher.safetensors")
    first, _ = load_network(weights)
    assert "unlabelled" in metadata["recipe"]
    moved = [not v.equal(first.state_dict()[n]) for n, v in network.state_dict().items()]
    assert any(moved)
    capfd.readouterr()
    assert run(*command, *options) == 2
    assert "either --labels or --unlabelled" in capfd.readouterr().err
    assert run(*command, "--unlabelled", tmp_path / "none.json") == 2
    assert "none.json cannot be read" in capfd.readouterr().err
    labels.write_text('{"studies": []}')
    assert run(*command, "--unlabelled", labels) == 2
    assert "names no study of two films" in capfd.readouterr().err
