import pytest
import torch

from crossray.models.attention import RotaryGrid
from crossray.models.transformer import Transformer, TransformerLayer

GRID = (2, 3)


@pytest.fixture
def transformer() -> Transformer:
    made = Transformer(16, layers=2, heads=2, hidden=24, same_view=True)
    for layer in made.layers:
        torch.nn.init.normal_(layer.same_view.weight)
    return made.double()


def test_bias_can_part_the_views(transformer):
    tokens = torch.randn(1, 2, 6, 16, dtype=torch.float64)
    view = torch.arange(12) // 6
    apart = torch.zeros(12, 12).masked_fill(view[:, None] != view, float("-inf")).double()
    alone = transformer(tokens[:, :1], GRID)
    torch.testing.assert_close(transformer(tokens, GRID, bias=[apart, apart])[:, :1], alone)


def test_messages_pass_within_views_first_and_then_between_them():
    transformer = Transformer(16, layers=2, heads=2, hidden=24, message_passing=True).double()
    tokens = torch.randn(1, 3, 6, 16, dtype=torch.float64)
    other = tokens.clone()
    other[:, 1, 2] += torch.randn(16, dtype=torch.float64)
    assert (transformer(tokens, GRID) - transformer(other, GRID))[:, 0].abs().max() > 1e-9
    transformer.layers = transformer.layers[:1]
    assert torch.equal(transformer(tokens, GRID)[:, 0], transformer(other, GRID)[:, 0])


def test_without_layers_tokens_are_only_normalised():
    tokens = torch.randn(1, 2, 6, 16)
    normalised = Transformer(16, layers=0, heads=2, hidden=8)(tokens, GRID)
    torch.testing.assert_close(normalised, torch.nn.functional.layer_norm(tokens, (16,)))


def test_gradient_of_a_layer():
    layer = TransformerLayer(8, 2, 8, same_view=True).double()
    angle = RotaryGrid(4).double()((1, 2), views=2)
    tokens = torch.randn(1, 2, 2, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x, angle), tokens)
