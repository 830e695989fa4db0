import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.models.attention import RotaryGrid, SameViewBias, SelfAttention


def turned(rotary: RotaryGrid, vector: torch.Tensor, cell: int) -> torch.Tensor:
    tokens = vector.expand(1, 1, rotary.cosine.shape[0], vector.numel())
    return rotary(tokens)[0, 0, cell]


@given(
    st.integers(0, 2),
    st.integers(0, 3),
    st.integers(0, 2),
    st.integers(0, 3),
    st.integers(0, 2**20),
)
def test_product_depends_on_the_offset_alone(row, column, down, right, seed):
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, 8, generator=generator)
    rotary = RotaryGrid(6, 8, 8)

    def product(row, column):
        at, beside = row * 8 + column, (row + down) * 8 + column + right
        return turned(rotary, query, at) @ turned(rotary, key, beside)

    torch.testing.assert_close(product(row, column), product(0, 0), rtol=1e-4, atol=1e-4)


def test_turn_by_hand():
    rotary = RotaryGrid(
        1, 2, 4
    )  # one turning pair for the row, one for the column, both at speed 1
    assert turned(rotary, torch.tensor([1.0, 1.0, 0.0, 0.0]), 1).tolist() == pytest.approx(
        [1.0, 0.5403023, 0.0, 0.8414710]
    )


def test_rows_and_columns_are_told_apart():
    rotary = RotaryGrid(3, 3, 8)
    vector = torch.ones(8)
    assert not torch.allclose(turned(rotary, vector, 1), turned(rotary, vector, 3))


def test_same_view_bias():
    bias = SameViewBias(2)
    torch.nn.init.constant_(bias.weight, 3.0)
    assert bias(2, 1).tolist() == [[[3.0, 0.0], [0.0, 3.0]]] * 2


def slow_attention(attention: SelfAttention, tokens, rotary, bias):
    """Attention written out, one head and one query at a time."""
    query, key, value = attention.query_key_value(tokens).chunk(3, dim=-1)
    size = tokens.shape[-1] // attention.heads
    outputs = []
    for h in range(attention.heads):
        part = slice(h * size, (h + 1) * size)
        q, k = (rotary(x[:, None, :, part])[:, 0] for x in (query, key))
        rows = [
            torch.softmax(q[:, i : i + 1] @ k.mT / size**0.5 + bias[h, i], dim=-1)
            @ value[..., part]
            for i in range(tokens.shape[1])
        ]
        outputs.append(torch.cat(rows, dim=1))
    return attention.out(torch.cat(outputs, dim=-1))


def test_attention_equals_its_slow_twin():
    attention, rotary = SelfAttention(16, 2).double(), RotaryGrid(2, 3, 8).double()
    tokens, bias = torch.randn(3, 12, 16).double(), torch.randn(2, 12, 12).double()
    bias[:, :, 5] = float("-inf")
    torch.testing.assert_close(
        attention(tokens, rotary, bias), slow_attention(attention, tokens, rotary, bias)
    )


def test_hidden_keys_do_not_count():
    attention, rotary = SelfAttention(8, 2), RotaryGrid(1, 4, 4)
    tokens, bias = torch.randn(1, 4, 8), torch.zeros(4, 4)
    bias[:, 3] = float("-inf")
    other = tokens.clone()
    other[:, 3] = 7.0
    torch.testing.assert_close(
        attention(tokens, rotary, bias)[:, :3], attention(other, rotary, bias)[:, :3]
    )


def test_gradient_of_attention_and_its_bias():
    attention, rotary = SelfAttention(8, 2).double(), RotaryGrid(1, 3, 4).double()
    tokens = torch.randn(1, 3, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t, b: attention(t, rotary, b), (tokens, bias))


def test_unfit_sizes_are_refused():
    with pytest.raises(ValueError, match="multiple of 4"):
        RotaryGrid(2, 2, 6)
    with pytest.raises(ValueError, match="3 heads do not divide"):
        SelfAttention(16, 3)
