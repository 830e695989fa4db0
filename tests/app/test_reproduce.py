"""`crossray reproduce table1`: rows on equal data, the same table from runs done already, one sentence for bad rows."""

import json

import pytest

from crossray.app import cli
from crossray.app.commands import reproduce
from crossray.recipes import TABLE1, Budget, train_matcher_recipe
from crossray.volumes.io import write_volume
from crossray.volumes.phantom import phantom

OPTIONS = ["run.progress=false", "batch=2", "data.phantoms=3"]


def test_a_small_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(reproduce.BUDGETS, "quick", Budget("tiny", steps=2, poses=4, pairs=2))
    monkeypatch.setattr(reproduce, "PRIOR_SAMPLES", 1)
    monkeypatch.setattr(reproduce, "SLOPE_PAIRS", 1)
    words = ["reproduce", "table1", "--budget", "quick", "--row", "none", "--runs", str(tmp_path / "runs")]  # fmt: skip
    assert cli.run([*words, "--out", str(tmp_path / "out"), *OPTIONS]) == 0
    table = json.loads((tmp_path / "out/table1.json").read_text())
    assert list(table["rows"]) == ["none", "transformer"]
    none, transformer = table["rows"].values()
    assert none["parameters"] < transformer["parameters"]
    assert transformer["difference"] is None
    assert len(none["difference"]) == len(none["paper_difference"]) == 2
    assert none["training_seconds"] > 0
    for row in table["rows"].values():
        assert 0 < row["exact"]["prevalence"] != row["paper"]["prevalence"] > 0
        assert row["exact"]["pairs"] == row["paper"]["pairs"] == 2
    assert table["settings"]["steps"] == 2
    assert table["settings"]["options"] == "run.progress=false batch=2 data.phantoms=3"
    assert "position prior" in (tmp_path / "out/table1.md").read_text()
    weights = tmp_path / "runs/none-0/matcher.safetensors"
    before = weights.stat().st_mtime_ns
    assert cli.run([*words, "--out", str(tmp_path / "again"), *OPTIONS]) == 0
    assert weights.stat().st_mtime_ns == before
    again = json.loads((tmp_path / "again/table1.json").read_text())
    assert again["rows"]["none"]["exact"]["ap"] == pytest.approx(none["exact"]["ap"])


def test_a_folder_without_splits_is_refused(tmp_path, capsys):
    write_volume(tmp_path / "ct.nii.gz", phantom("knee", 0, 8.0))
    command = ["reproduce", "table1", "--budget", "quick", "--ct", str(tmp_path)]
    assert (
        cli.run([*command, "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 2
    )
    error = capsys.readouterr().err
    assert "proposes no splits" in error
    assert "index.csv" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_row_that_does_not_exist(capsys):
    assert cli.run(["reproduce", "table1", "--row", "oracle"]) == 2
    assert "Table 1 has no row 'oracle'; it has none, superglue" in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["tiny", "small", "paper"])
def test_rows_share_everything_but_the_form(preset):
    base = train_matcher_recipe(preset)
    configs = {name: row.recipe(base) for name, row in TABLE1.items()}
    published = [config for name, config in configs.items() if name != "ours"]
    own = {
        "matcher": base.matcher,
        "loss": base.loss,
        "optimizer": base.optimizer,
        "company": base.company,
    }
    for config in published:
        assert config.model_copy(update=own) == base
        assert (config.loss, config.company) == ("squared_error", "one")
        rate = {"rate": base.optimizer.rate}
        assert config.optimizer.model_copy(update=rate) == base.optimizer
        assert not config.matcher.position
        assert not config.matcher.mirrors
        assert not config.matcher.same_view
    assert len({config.matcher for config in configs.values()}) == len(configs)
    ours = configs["ours"]
    form = ours.matcher
    assert (form.same_view, form.position, form.mirrors) == (True, True, True)
    assert (ours.loss, ours.company) == ("match_squared_error", "turns")
    assert ours == base or preset != "small"
