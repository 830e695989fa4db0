"""Two processes that share the steps: the gradient of one process, and one run in the end."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from crossray.errors import InputError
from crossray.models.matcher import MatcherNetwork
from crossray.models.storage import load_network
from crossray.training.fit import fit_matcher
from crossray.training.sampler import StepSampler
from crossray.training.tasks import MatcherTask

SHARED = Path(__file__).with_name("conftest.py")


def gradients(config, dataset, rank: int = 0, ranks: int = 1) -> dict[str, torch.Tensor]:
    """Of one step of a network whose normalisation is at rest, as it would differ by process."""
    torch.manual_seed(0)
    task = MatcherTask(config, MatcherNetwork(config.matcher).eval())
    module = DistributedDataParallel(_Step(task)) if ranks > 1 else _Step(task)
    numbers = next(iter(StepSampler(1, 4, rank=rank, ranks=ranks)))
    samples = [dataset[number] for number in numbers]
    module({name: torch.stack([each[name] for each in samples]) for name in samples[0]}).backward()
    return {name: weight.grad for name, weight in task.network.named_parameters()}


class _Step(torch.nn.Module):
    def __init__(self, task):
        super().__init__()
        self.network, self.task = task.network, [task]

    def forward(self, batch):
        return self.task[0].training_step(batch, 0)


def _rank(rank: int, config, dataset, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(gradients(config, dataset, rank, 2), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_ranks_have_the_gradient_of_one(config, noise, tmp_path):
    config = config.model_copy(update={"loss": "match_squared_error"})
    spawn(_rank, (config, noise(), str(tmp_path)), nprocs=2)
    alone = gradients(config, noise())
    for rank in range(2):
        shared = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, gradient in alone.items():
            torch.testing.assert_close(shared[name], gradient, rtol=1e-4, atol=1e-7)


def test_a_run_on_two_devices(tmp_path):
    run = tmp_path / "run"
    words = [sys.executable, str(SHARED), str(run), "devices=2", "steps=6"]
    env = {**os.environ, "PYTHONPATH": str(SHARED.parents[2] / "src")}
    for _ in range(2):  # the second finds it finished
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
    with (run / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [2, 4, 6]
    network, about = load_network(run / "matcher.safetensors")
    assert about["step"] == "6"
    assert all(weight.isfinite().all() for weight in network.parameters())
    assert not [file for file in run.iterdir() if file.name.startswith(".")]


def test_devices_that_do_not_share_evenly(config, noise, tmp_path):
    with pytest.raises(InputError, match="3 devices cannot share batch=2"):
        fit_matcher(config.changed(["devices=3"]), noise(), tmp_path / "run")
