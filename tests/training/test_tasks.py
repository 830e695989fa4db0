import pytest
import torch
from torch import nn

from crossray.models.matcher import MatcherNetwork
from crossray.training.tasks import MatcherTask, learning_rate_factor, update_average


def test_schedule():
    factors = [learning_rate_factor(step, 4, 20) for step in range(21)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[12] == pytest.approx(0.5)
    assert factors[20] == pytest.approx(0.0, abs=1e-12)
    assert factors[4:] == sorted(factors[4:], reverse=True)
    assert learning_rate_factor(0, 0, 1) == 1.0


def test_average_by_hand():
    average, network = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    nn.init.constant_(network.weight, 3.0)
    network.running_mean.fill_(5.0)
    network.num_batches_tracked.fill_(7)
    update_average(average, network, decay=0.9, step=10**6)
    assert average.weight.item() == pytest.approx(1.2)
    assert average.running_mean.item() == pytest.approx(0.5)
    assert average.num_batches_tracked.item() == 7


def test_average_forgets_its_start():
    average, network = nn.Linear(1, 1), nn.Linear(1, 1)
    nn.init.constant_(network.weight, 1.0)
    nn.init.constant_(average.weight, 0.0)
    update_average(average, network, decay=0.999, step=0)
    assert average.weight.item() == pytest.approx(0.9)


def test_average_stays_where_it_agrees():
    network = nn.Linear(3, 3)
    before = network.weight.clone()
    update_average(network, network, decay=0.5, step=3)
    assert torch.equal(network.weight, before)


@pytest.mark.parametrize(
    ("company", "apart"), [("all", [False, False]), ("one", [True, True]), ("turns", [False, True])]
)
def test_company(config, monkeypatch, company, apart):
    network = MatcherNetwork(config.matcher).eval()
    batch = {"images": torch.rand(2, 3, 64, 64), "correspondence": torch.rand(2, 3, 3, 16, 16)}
    task = MatcherTask(config.model_copy(update={"company": company}), network)
    upper = batch["correspondence"][:, [0, 0, 1], [1, 2, 2]]
    for step, alone in enumerate(apart):
        monkeypatch.setattr(MatcherTask, "global_step", step)
        values = (network.pairs_apart if alone else network.pairs)(batch["images"])
        assert torch.equal(task.training_step(batch, step), (values - upper).square().mean())
