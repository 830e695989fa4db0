import pytest
import torch

from crossray.models.transformer import Transformer, TransformerLayer


@pytest.fixture
def transformer() -> Transformer:
    made = Transformer((2, 3), 16, layers=2, heads=2, hidden=24, same_view=True)
    for layer in made.layers:
        torch.nn.init.normal_(layer.same_view.weight)
    return made.double()


def test_permuting_views_permutes_tokens(transformer):
    tokens = torch.randn(2, 4, 6, 16, dtype=torch.float64)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(transformer(tokens[:, order]), transformer(tokens)[:, order])


def test_a_view_learns_of_the_others(transformer):
    tokens = torch.randn(1, 2, 6, 16, dtype=torch.float64)
    other = tokens.clone()
    other[:, 1] += torch.randn(16, dtype=torch.float64)
    assert (transformer(tokens)[:, 0] - transformer(other)[:, 0]).abs().max() > 1e-6


def test_bias_can_part_the_views(transformer):
    tokens = torch.randn(1, 2, 6, 16, dtype=torch.float64)
    view = torch.arange(12) // 6
    apart = torch.zeros(12, 12).masked_fill(view[:, None] != view, float("-inf")).double()
    alone = transformer(tokens[:, :1])
    torch.testing.assert_close(transformer(tokens, apart)[:, :1], alone)


def test_gradient_of_a_layer():
    rotary = Transformer((1, 2), 8, layers=1, heads=2, hidden=8, same_view=False).double().rotary
    layer = TransformerLayer(8, 2, 8, same_view=True).double()
    tokens = torch.randn(1, 2, 2, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x, rotary), tokens)
