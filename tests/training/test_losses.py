import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.evaluation.metrics import upper_blocks
from crossray.training.losses import (
    LOSSES,
    cross_entropy,
    match_squared_error,
    squared_error,
    weighted_squared_error,
)

PREDICTION, TRUTH = torch.tensor([0.5, 0.8]), torch.tensor([0.0, 1.0])


def test_values_by_hand():
    assert squared_error(PREDICTION, TRUTH).item() == pytest.approx((0.25 + 0.04) / 2)
    assert weighted_squared_error(PREDICTION, TRUTH).item() == pytest.approx((0.25 + 5 * 0.04) / 2)
    # 0.2 itself is no match, 0.25 is one
    truth = torch.tensor([0.2, 0.25])
    assert match_squared_error(PREDICTION, truth).item() == pytest.approx((0.25 + 0.04) / 2)
    expected = -(math.log(0.5) + math.log(0.8)) / 2
    assert cross_entropy(PREDICTION, TRUTH).item() == pytest.approx(expected)


def test_soft_target_by_hand():
    loss = cross_entropy(torch.tensor([0.3]), torch.tensor([0.25])).item()
    assert loss == pytest.approx(-0.25 * math.log(0.3) - 0.75 * math.log(0.7))


def test_certain_and_wrong_is_finite():
    loss = cross_entropy(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
    assert loss.item() == pytest.approx(6 * math.log(10), rel=0.02)


@pytest.mark.parametrize("loss", LOSSES.values())
def test_unknown_pairs_cost_nothing(loss):
    known = torch.tensor([True, False])
    assert loss(PREDICTION, TRUTH, known) == loss(PREDICTION[:1], TRUTH[:1])
    other = torch.tensor([0.5, 0.1], requires_grad=True)
    loss(other, TRUTH, known).backward()
    assert other.grad is not None
    assert other.grad[1] == 0


@pytest.mark.parametrize("loss", LOSSES.values())
def test_nothing_known_is_zero(loss):
    assert loss(PREDICTION, TRUTH, torch.tensor([False, False])) == 0


@pytest.mark.parametrize(
    "loss", [loss for loss in LOSSES.values() if loss is not match_squared_error]
)
@given(target=st.floats(0.05, 0.95))
def test_least_at_the_truth(loss, target):
    truth = torch.tensor([target], dtype=torch.float64)
    values = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    costs = torch.stack([loss(value[None], truth) for value in values])
    assert abs(values[costs.argmin()] - target) <= 0.0051


@given(matching=st.integers(0, 20))
def test_least_at_the_share_that_matches(matching):
    truth = torch.tensor([0.6] * matching + [0.1] * (20 - matching), dtype=torch.float64)
    values = torch.linspace(0, 1, 101, dtype=torch.float64)
    costs = torch.stack([match_squared_error(value.expand(20), truth) for value in values])
    assert values[costs.argmin()] == pytest.approx(matching / 20, abs=0.0051)


@pytest.mark.parametrize("loss", LOSSES.values())
def test_gradient(loss):
    prediction = torch.linspace(0.1, 0.9, 5, dtype=torch.float64, requires_grad=True)
    truth = torch.linspace(0.8, 0.0, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: loss(p, truth), prediction)


def test_only_the_blocks_between_views_count():
    matrix = torch.arange(9.0).reshape(1, 3, 3, 1, 1)
    assert upper_blocks(matrix).flatten().tolist() == [1.0, 2.0, 5.0]
