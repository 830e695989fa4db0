"""What every context module owes: views are alike, they hear of each other, and nobody hears of what is not seen."""

import pytest
import torch

from crossray.models.loftr import LinearAttentionLayer, LoFTR, sinusoids
from crossray.models.superglue import GraphLayer, SuperGlue
from crossray.models.transformer import Transformer

GRID = (2, 3)
CONTEXTS = {
    "transformer": lambda: Transformer(16, layers=2, heads=2, hidden=24, same_view=True),
    "message passing": lambda: Transformer(16, layers=2, heads=2, hidden=24, message_passing=True),
    "superglue": lambda: SuperGlue(16, layers=2, heads=2),
    "loftr": lambda: LoFTR(16, layers=2, heads=2),
}


@pytest.fixture(params=CONTEXTS)
def context(request) -> torch.nn.Module:
    """A module in its evaluation mode, with statistics and biases that are not their first ones."""
    torch.manual_seed(0)
    made = CONTEXTS[request.param]().double()
    made(torch.randn(4, 2, 6, 16, dtype=torch.float64), GRID)
    for name, weight in made.named_parameters():
        if name.endswith(("bias", "same_view.weight")):
            torch.nn.init.normal_(weight)
    return made.eval()


def random_tokens(views: int) -> torch.Tensor:
    return torch.randn(2, views, 6, 16, dtype=torch.float64)


def test_permuting_views_permutes_tokens(context):
    tokens, order = random_tokens(4), [2, 0, 3, 1]
    permuted = context(tokens[:, order], GRID)
    torch.testing.assert_close(permuted, context(tokens, GRID)[:, order])


def test_a_view_learns_of_the_others(context):
    tokens = random_tokens(2)
    other = tokens.clone()
    other[:, 1] += torch.randn(16, dtype=torch.float64)
    assert (context(tokens, GRID) - context(other, GRID))[:, 0].abs().max() > 1e-6


def test_nobody_learns_of_what_is_not_seen(context):
    tokens, seen = random_tokens(3), torch.ones(2, 3, 6).bool()
    seen[:, 1, 4:] = False
    other = tokens.clone()
    other[:, 1, 4:] = 9.0
    first, second = context(tokens, GRID, seen), context(other, GRID, seen)
    torch.testing.assert_close(first[seen], second[seen])
    assert (first - context(tokens, GRID)).abs().max() > 1e-6


def test_where_a_token_lies_matters(context):
    tokens = random_tokens(2)
    moved = context(tokens.flip(2), GRID).flip(2)
    assert (moved - context(tokens, GRID)).abs().max() > 1e-6


def test_linear_attention_is_a_weighted_mean():
    """Written out: token i takes sum_j s_ij v_j / sum_j s_ij with s = phi(q) phi(k), over the other views."""
    layer = LinearAttentionLayer(8, 1).double()
    tokens = torch.randn(1, 3, 4, 8, dtype=torch.float64)
    query, key, value = layer.query_key_value(tokens).chunk(3, dim=-1)

    def phi(x):
        return torch.where(x > 0, x + 1, x.exp())

    others = torch.cat([key[:, 0], key[:, 2]], 1), torch.cat([value[:, 0], value[:, 2]], 1)
    share = phi(query[0, 1]) @ phi(others[0][0]).T
    message = share / share.sum(1, keepdim=True) @ others[1][0]
    message = layer.norm1(layer.merge(message))
    expected = tokens[0, 1] + layer.norm2(layer.perceptron(torch.cat([tokens[0, 1], message], -1)))
    torch.testing.assert_close(layer(tokens, None, own=False)[0, 1], expected, rtol=0, atol=1e-5)


def test_gradients():
    tokens = torch.randn(1, 2, 2, 8, dtype=torch.float64, requires_grad=True)
    linear = LinearAttentionLayer(8, 2).double()
    assert torch.autograd.gradcheck(lambda x: linear(x, None, own=True), tokens)
    graph, bias = GraphLayer(8, 2).double().eval(), torch.zeros(4, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: graph(x, bias), tokens)


def test_sinusoids_tell_every_place_from_every_other():
    codes = sinusoids((16, 16), 64)
    distance = torch.cdist(codes, codes) + 9 * torch.eye(256)
    assert distance.min() > 0.1
