"""A classifier's run: it ends with the same weights whether or not it was stopped, and leaves its files."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import Dataset

from crossray.errors import InputError
from crossray.models.backbone import TrunkConfig
from crossray.models.classifier import ClassifierConfig, ClassifierNetwork
from crossray.models.matcher import MatcherConfig, MatcherNetwork
from crossray.models.storage import load_network
from crossray.training.config import ClassifierTrainConfig, OptimizerConfig, RunConfig
from crossray.training.fit import fit_classifier
from crossray.training.tasks import ClassifierTask

FORM = ClassifierConfig(
    trunk=TrunkConfig(block="basic", stem=8, widths=(8, 8, 8), depths=(1, 1, 1)), image_size=(64, 64),
    input_stride=2, width=16, layers=1, heads=2, hidden=16, guidance=True,
)  # fmt: skip
CONFIG = ClassifierTrainConfig(
    classifier=FORM,
    steps=8,
    batch=2,
    optimizer=OptimizerConfig(rate=1e-2, warmup=2, average=0.9),
    run=RunConfig(checkpoint_every=3, log_every=2, progress=False),
)


class Noise(Dataset):
    """Random studies, a function of the sample's number alone; the power fails at `failing`."""

    def __init__(self, failing=-1):
        self.failing = failing

    def __getitem__(self, number):
        if number == self.failing:
            raise RuntimeError("power cut")
        generator = torch.Generator().manual_seed(number)
        label = torch.tensor(float(number % 2))
        return {
            "images": torch.rand(2, 64, 64, generator=generator),
            "present": torch.tensor([True, number % 3 > 0]),
            "label": label,
            "film_labels": label.expand(2),
        }


@pytest.fixture(scope="module")
def matcher():
    torch.manual_seed(1)
    return MatcherNetwork(MatcherConfig.preset("tiny")).eval()


def weights(folder):
    return load_network(folder / "classifier.safetensors", ClassifierNetwork)[0].state_dict()


def test_resumed_ends_with_the_same_weights(tmp_path, matcher):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert fit_classifier(CONFIG, Noise(), whole, matcher=matcher).outcome == "finished"
    assert sorted(file.name for file in whole.iterdir()) == [
        "classifier.safetensors", "config.yaml", "last.ckpt", "metrics.csv",
    ]  # fmt: skip
    with pytest.raises(RuntimeError, match="power cut"):
        fit_classifier(CONFIG, Noise(failing=10), broken, matcher=matcher)
    assert fit_classifier(CONFIG, Noise(), broken, matcher=matcher).steps == 8
    assert all(torch.equal(value, weights(broken)[name]) for name, value in weights(whole).items())
    assert weights(whole)["alpha"].abs().min() > 0
    with pytest.raises(InputError, match=r"another run \(classifier.layers: 1 -> 2\)"):
        fit_classifier(CONFIG.changed(["classifier.layers=2"]), Noise(), whole)


def test_weights_of_a_stopped_run_say_whom_they_learned_from(tmp_path, matcher):
    with pytest.raises(RuntimeError, match="power cut"):
        fit_classifier(
            CONFIG, Noise(failing=10), tmp_path, matcher=matcher, about={"seen": "patient 1"}
        )
    _, metadata = load_network(tmp_path / "classifier.safetensors", ClassifierNetwork)
    assert (metadata["seen"], metadata["step"]) == ("patient 1", "3")
    assert metadata["recipe"] == CONFIG.to_yaml()


def test_alpha_has_a_rate_of_its_own(tmp_path, matcher):
    words = ["steps=1", "optimizer.rate=1e-12", "optimizer.average=0", "guidance_rate=0.2"]
    fit_classifier(CONFIG.changed(words), Noise(), tmp_path, matcher=matcher)
    assert weights(tmp_path)["alpha"].abs().item() == pytest.approx(0.1, rel=1e-3)  # half warmed up


def test_it_begins_with_the_weights_given(tmp_path):
    given = ClassifierNetwork(FORM).state_dict()
    config = CONFIG.changed(["steps=1", "optimizer.rate=1e-12", "optimizer.average=0"])
    fit_classifier(config, Noise(), tmp_path, {name: 2 * value for name, value in given.items()})
    now = weights(tmp_path)
    torch.testing.assert_close(now["project.weight"], 2 * given["project.weight"])
    assert not torch.allclose(
        now["head.weight"], 2 * given["head.weight"]
    )  # what was said stays behind


def test_films_learn_their_own_labels_where_views_are_judged_apart():
    single = replace(FORM, fusion="single", guidance=False)
    task = ClassifierTask(
        CONFIG.model_copy(update={"classifier": single}), ClassifierNetwork(single)
    )
    images, present = torch.rand(1, 2, 64, 64), torch.tensor([[True, False]])
    batch = {"images": images, "present": present, "label": torch.ones(1)}
    task.eval()
    for film in (0.0, 1.0):
        loss = task.training_step(batch | {"film_labels": torch.tensor([[film, 9.0]])}, 0)
        logit = task.network.view_logits(task.network.tokens(images))[0, 0]
        torch.testing.assert_close(loss, torch.nn.functional.softplus(-logit if film else logit))


def test_the_matcher_is_no_part_of_the_run(matcher):
    task = ClassifierTask(CONFIG, ClassifierNetwork(FORM), matcher)
    assert not [name for name in task.state_dict() if "matcher" in name]
    assert len(list(task.parameters())) < 2 * len(list(ClassifierNetwork(FORM).parameters())) + 1
