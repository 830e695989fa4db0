import pytest
import torch
from torch import nn

from crossray.models.matcher import MatcherNetwork
from crossray.training.tasks import MatcherTask, learning_rate_factor, pooled, update_average


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


def test_pooled_by_hand():
    matrix = torch.zeros(1, 1, 16, 16)
    matrix[0, 0, 5, 11] = 0.7  # patch (1, 1) of 4 x 4 with (2, 3): tokens 0 and 3 of 2 x 2
    matrix[0, 0, 0, 14] = 0.4  # the same two tokens
    expected = torch.zeros(1, 1, 4, 4)
    expected[0, 0, 0, 3] = 0.7
    assert torch.equal(pooled(matrix, (4, 4), 2), expected)
    assert torch.equal(pooled(matrix, (4, 4), 1), matrix)


def test_early_supervision_teaches_the_trunk_and_is_not_exported(config):
    """With a transformer and a head that learn nothing, the trunk still gets a gradient."""
    config = config.model_copy(update={"early": 0.5})
    network = MatcherNetwork(config.matcher)
    task = MatcherTask(config, network)
    rows, columns = config.matcher.image_size
    patches = config.matcher.patches[0] * config.matcher.patches[1]
    batch = {
        "images": torch.rand(2, 2, rows, columns),
        "correspondence": torch.rand(2, 2, 2, patches, patches),
    }
    with_it = task.training_step(batch, 0)
    task.early.clear()
    assert with_it > task.training_step(batch, 0)
    task = MatcherTask(config, network)
    states, _ = network.stages(batch["images"])
    gradient = torch.autograd.grad(
        task._early_loss(states[:1] * len(states), batch["correspondence"][:, 0, 1:], None),
        network.trunk.conv1.weight,
    )[0]
    assert gradient.abs().max() > 0
    assert set(task.result.state_dict()) == set(network.state_dict())
    known = torch.zeros(2, 1, patches, patches, dtype=torch.bool)
    assert task._early_loss(states, batch["correspondence"][:, 0, 1:], known) == 0
