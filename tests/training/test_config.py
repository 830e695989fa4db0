import pytest

from crossray.errors import InputError
from crossray.recipes import train_matcher_recipe
from crossray.training.config import TrainConfig, differences, load_config, parse


@pytest.fixture
def config() -> TrainConfig:
    return train_matcher_recipe("tiny")


def test_yaml_round_trip(config, tmp_path):
    (tmp_path / "config.yaml").write_text(config.changed(["data.seed=3"]).to_yaml())
    assert load_config(tmp_path / "config.yaml") == config.changed(["data.seed=3"])


def test_changes(config):
    changed = config.changed(
        ["steps=7", "optimizer.rate=1e-4", "matcher.trunk.stem=24", "run.progress=false"]
    )
    assert (changed.steps, changed.optimizer.rate, changed.matcher.trunk.stem) == (7, 1e-4, 24)
    assert not changed.run.progress
    assert config.steps == 200


@pytest.mark.parametrize(
    "word",
    [
        "steps",
        "stepz=3",
        "run.speed=3",
        "nose.long=1",
        "steps=0",
        "steps=few",
        "steps.more=1",
        "loss=l1",
        "seed=-1",
    ],
)
def test_bad_changes_are_refused(config, word):
    with pytest.raises(InputError, match=word.split("=")[0]):
        config.changed([word])


def test_a_value_that_is_no_yaml_is_refused(config):
    with pytest.raises(InputError, match=r"'\[' cannot be read"):
        config.changed(["steps=["])


def test_unfit_network_is_refused(config):
    with pytest.raises(InputError, match=r"matcher.*token"):
        config.changed(["matcher.patch=8"])


def test_differences_leave_out_how_it_is_run(config):
    other = config.changed(["run.workers=2", "steps=5", "data.seed=1", "matcher.heads=2"])
    assert differences(config, config.changed(["run.workers=2"])) == []
    assert differences(config, other) == [
        "steps: 200 -> 5",
        "matcher.heads: 4 -> 2",
        "data.seed: None -> 1",
    ]


@pytest.mark.parametrize("text", ["- 1", "a: [", "steps: 3"])
def test_no_configuration(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=r"config\.yaml"):
        load_config(tmp_path / "config.yaml")
    with pytest.raises(InputError, match="the options given"):
        parse(3, "the options given")


def test_paper_recipe_is_as_published():
    paper = train_matcher_recipe("paper")
    assert (paper.batch, paper.optimizer.rate, paper.loss) == (16, 1e-4, "squared_error")
    assert paper.steps == 50 * 207_600 / 16


def test_unknown_recipe():
    with pytest.raises(ValueError, match="huge"):
        train_matcher_recipe("huge")
