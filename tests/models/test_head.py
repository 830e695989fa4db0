import math

import pytest
import torch

from crossray.models.head import Expansion, ScaledCosine, SquaredCosine


def test_squared_cosine_by_hand():
    assert SquaredCosine()(torch.tensor([-1.0, 0.0, 0.5])).tolist() == [1.0, 0.0, 0.25]


def test_squared_cosine_stays_in_range_when_rounding_does_not():
    assert SquaredCosine()(torch.tensor([1.0000001])).item() == 1.0


def test_scaled_cosine_by_hand():
    head = ScaledCosine()
    assert head(torch.tensor(0.0)).item() == pytest.approx(1 / (1 + math.exp(3.2)))
    assert head(torch.tensor(0.32)).item() == pytest.approx(0.5)


def test_expansion_puts_each_token_on_its_four_patches():
    expansion = Expansion(3, 2, 5)
    tokens, fine = torch.randn(1, 2, 2, 3), torch.zeros(1, 4, 4, 2)
    other = tokens.clone()
    other[0, 1, 0] += 1.0
    changed = (expansion(tokens, fine) - expansion(other, fine)).abs().sum(dim=-1)[0] > 1e-6
    assert changed.nonzero().tolist() == [[2, 0], [2, 1], [3, 0], [3, 1]]


def test_gradients():
    cosine = (torch.rand(5, dtype=torch.float64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(SquaredCosine(), cosine)
    assert torch.autograd.gradcheck(ScaledCosine().double(), cosine)
    tokens = torch.randn(1, 1, 1, 3, dtype=torch.float64, requires_grad=True)
    fine = torch.randn(1, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Expansion(3, 2, 2).double(), (tokens, fine))
