import csv
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import StackDataset

from crossray.errors import InputError
from crossray.models.storage import load_network, save_network
from crossray.training.fit import fit_matcher
from crossray.training.folder import checkpoint_step


def power_cut():
    raise RuntimeError("power cut")


def control_c():
    signal.raise_signal(signal.SIGINT)


def at(asked, end):
    """Ends the run, one way or another, when a sample is asked for."""

    def change(number, sample):
        if number == asked:
            end()
        return sample

    return change


def weights(folder):
    network, _ = load_network(folder / "matcher.safetensors")
    return network.state_dict()


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.fixture(scope="module")
def whole(config, noise, tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    report = fit_matcher(config, noise(), folder)
    assert (report.outcome, report.steps) == ("finished", 8)
    return folder


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_its_files(whole):
    assert sorted(file.name for file in whole.iterdir()) == [
        "config.yaml", "last.ckpt", "matcher.safetensors", "metrics.csv",
    ]  # fmt: skip
    assert [int(row["step"]) for row in rows(whole)] == [2, 4, 6, 8]
    assert all(0 < float(row["loss"]) < 1 for row in rows(whole))
    _, metadata = load_network(whole / "matcher.safetensors")
    assert metadata["step"] == "8"


def test_waiting_for_samples_is_told(config, noise, tmp_path):
    def slow(number, sample):
        time.sleep(0.2)
        return sample

    fit_matcher(config.changed(["steps=4"]), noise(slow), tmp_path)
    waited = [float(row["waiting"]) * float(row["seconds"]) for row in rows(tmp_path)]
    assert sum(waited) == pytest.approx(0.2 * 4 * config.batch, rel=0.2)
    assert all(0 < float(row["waiting"]) < 1 for row in rows(tmp_path))


def test_it_learns(config, noise, tmp_path):
    options = ["steps=60", "optimizer.average=0", "run.log_every=10", "matcher.head=scaled_cosine"]
    always = noise()[0]
    fit_matcher(config.changed(options), noise(lambda number, sample: always), tmp_path)
    assert float(rows(tmp_path)[-1]["loss"]) < 0.6 * float(rows(tmp_path)[0]["loss"])


def test_resumed_ends_with_the_same_weights(config, noise, whole, tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        fit_matcher(config, noise(at(10, power_cut)), tmp_path)
    assert checkpoint_step(tmp_path / "last.ckpt") == 3
    report = fit_matcher(config, noise(), tmp_path)
    assert (report.outcome, report.steps) == ("finished", 8)
    assert same(weights(tmp_path), weights(whole))
    assert [int(row["step"]) for row in rows(tmp_path)] == [2, 4, 6, 8]
    assert [row["loss"] for row in rows(tmp_path)] == [row["loss"] for row in rows(whole)]


def test_control_c_leaves_a_checkpoint_and_resumes(config, noise, whole, tmp_path):
    report = fit_matcher(config, noise(at(8, control_c)), tmp_path)
    assert report.outcome == "interrupted"
    assert report.steps == checkpoint_step(tmp_path / "last.ckpt") == 4
    assert "Stopped after step 4; the same command continues" in str(report)
    assert fit_matcher(config, noise(), tmp_path).outcome == "finished"
    assert same(weights(tmp_path), weights(whole))


def test_number_of_workers_changes_nothing(config, noise, whole, tmp_path):
    # Workers are started afresh and could not import this folder's `Noise`.
    samples = [noise()[number] for number in range(config.steps * config.batch)]
    stacked = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
    fit_matcher(config.changed(["run.workers=1"]), StackDataset(**stacked), tmp_path)
    assert same(weights(tmp_path), weights(whole))


def test_finished_run_says_so(config, noise, whole):
    before = (whole / "last.ckpt").stat().st_mtime_ns
    report = fit_matcher(config, noise(), whole)
    assert report.outcome == "already finished"
    assert (whole / "last.ckpt").stat().st_mtime_ns == before


def test_folder_of_another_run_is_refused(config, noise, whole):
    with pytest.raises(InputError, match=r"another run \(batch: 2 -> 3\)"):
        fit_matcher(config.changed(["batch=3"]), noise(), whole)


def test_a_failed_start_leaves_the_folder_free(config, noise, whole, tmp_path):
    with pytest.raises(InputError, match="There is no weights file"):
        fit_matcher(config.changed(["init=missing.safetensors"]), noise(), tmp_path)
    assert fit_matcher(config, noise(), tmp_path).outcome == "finished"
    assert same(weights(tmp_path), weights(whole))


def test_a_run_judged_at_its_start_goes_on(config, noise, tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        fit_matcher(config, noise(at(0, power_cut)), tmp_path, best_at(99))
    with pytest.raises(InputError, match="another run"):
        fit_matcher(config.changed(["batch=3"]), noise(), tmp_path, best_at(99))
    assert fit_matcher(config, noise(), tmp_path, best_at(99)).outcome == "finished"
    assert list(judgements(tmp_path)) == [0, 3, 6, 8]


def test_broken_checkpoint_is_refused(config, noise, whole, tmp_path):
    (tmp_path / "last.ckpt").write_bytes((whole / "last.ckpt").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"last\.ckpt is no checkpoint"):
        fit_matcher(config, noise(), tmp_path)


def test_no_folder(config, noise, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot hold a run"):
        fit_matcher(config, noise(), tmp_path / "file")


def test_begins_with_given_weights(config, noise, whole, tmp_path):
    start = whole / "matcher.safetensors"
    options = [f"init={start}", "steps=1", "optimizer.rate=1e-12", "optimizer.average=0"]
    fit_matcher(config.changed(options), noise(), tmp_path)
    name = "project.weight"
    torch.testing.assert_close(weights(tmp_path)[name], weights(whole)[name])
    with pytest.raises(InputError, match="another form"):
        fit_matcher(config.changed([*options, "matcher.heads=1"]), noise(), tmp_path / "other")


@pytest.mark.parametrize("filler", [0.0, 1.0])
def test_unlabelled_pairs_do_not_count(config, noise, tmp_path, filler):
    def partial(number, sample, fill):
        known = torch.rand(2, 2, 16, 16, generator=torch.Generator().manual_seed(number)) < 0.5
        truth = torch.where(known, sample["correspondence"], fill)
        return {**sample, "correspondence": truth, "known": known}

    for fill in (filler, 0.5):
        change = functools.partial(partial, fill=fill)
        fit_matcher(config.changed(["steps=2"]), noise(change), tmp_path / str(fill))
    assert same(weights(tmp_path / str(filler)), weights(tmp_path / "0.5"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is of POSIX")
def test_kill_9_resumes(config, noise, tmp_path):
    """A true kill, at whatever moment; the run goes on to the weights of a run that was left alone."""
    here = Path(__file__).resolve()
    path = os.pathsep.join([str(here.parents[2] / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(here.with_name("conftest.py")), str(tmp_path / "killed")]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
    checkpoint, deadline = tmp_path / "killed" / "last.ckpt", time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done = checkpoint_step(checkpoint)
    longer = config.changed(["steps=5000"])
    for folder in ("killed", "alone"):
        stop = noise(at(2 * (done + 2), control_c))
        assert fit_matcher(longer, stop, tmp_path / folder).steps == done + 2
    assert same(weights(tmp_path / "killed"), weights(tmp_path / "alone"))


def test_a_weights_file_is_no_checkpoint(whole, tmp_path):
    network, _ = load_network(whole / "matcher.safetensors")
    save_network(tmp_path / "last.ckpt", network, {})
    with pytest.raises(InputError, match="no checkpoint of a run"):
        checkpoint_step(tmp_path / "last.ckpt")


def best_at(step):
    """Likes the weights of one call best, counted from 0."""
    calls = []

    def judge(network):
        assert not network.training
        calls.append(network)
        return 1.0 if len(calls) - 1 == step else len(calls) / 100

    return judge


def judgements(folder):
    with (folder / "validation.csv").open() as file:
        return {int(row["step"]): float(row["score"]) for row in csv.DictReader(file)}


def test_the_weights_judged_best_are_kept(config, noise, tmp_path):
    report = fit_matcher(config, noise(), tmp_path, best_at(2))
    assert (report.outcome, report.steps) == ("finished", 8)
    assert judgements(tmp_path) == {0: 0.01, 3: 0.02, 6: 1.0, 8: 0.04}
    _, metadata = load_network(tmp_path / "matcher.safetensors")
    assert metadata["step"] == "6"


def test_patience_ends_a_run_for_good(config, noise, tmp_path):
    config = config.changed(["patience=2", "steps=30"])
    report = fit_matcher(config, noise(), tmp_path, best_at(1))
    assert (report.outcome, report.steps) == ("finished", 9)
    assert fit_matcher(config, noise(), tmp_path, best_at(1)).outcome == "already finished"
    assert list(judgements(tmp_path)) == [0, 3, 6, 9]


def test_judging_changes_no_weights_and_survives_an_interrupt(config, noise, whole, tmp_path):
    growing = best_at(99)
    report = fit_matcher(config, noise(at(8, control_c)), tmp_path, growing)
    assert report.outcome == "interrupted"
    assert list(judgements(tmp_path)) == [0, 3]  # not the step at which it was interrupted
    assert fit_matcher(config, noise(), tmp_path, growing).outcome == "finished"
    assert list(judgements(tmp_path)) == [0, 3, 6, 8]
    assert same(weights(tmp_path), weights(whole))


def test_several_devices_are_not_judged(config, noise, tmp_path):
    with pytest.raises(InputError, match="devices=2"):
        fit_matcher(config.changed(["devices=2"]), noise(), tmp_path, best_at(0))
