import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.models.attention import (
    RotaryGrid,
    SameViewBias,
    SelfAttention,
    attended,
    one_sided,
    resized,
    turned,
)


def turned_at(grid: tuple[int, int], vector: torch.Tensor, cell: int) -> torch.Tensor:
    angle = RotaryGrid(len(vector))(grid, views=1)
    return turned(vector.expand(1, 1, *angle.shape[:1], len(vector)), angle)[0, 0, cell]


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

    def product(row, column):
        at, beside = row * 8 + column, (row + down) * 8 + column + right
        return turned_at((6, 8), query, at) @ turned_at((6, 8), key, beside)

    torch.testing.assert_close(product(row, column), product(0, 0), rtol=1e-4, atol=1e-4)


def test_turn_by_hand():
    # One turning pair for the row, one for the column, both at speed 1.
    vector = torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert turned_at((1, 2), vector, 1).tolist() == pytest.approx([1.0, 0.5403023, 0.0, 0.8414710])


def test_rows_and_columns_are_told_apart():
    vector = torch.ones(8)
    assert not torch.allclose(turned_at((3, 3), vector, 1), turned_at((3, 3), vector, 3))


def test_views_share_the_grid():
    angle = RotaryGrid(8)((2, 3), views=2)
    assert torch.equal(angle[:6], angle[6:])


def test_a_code_of_position_on_a_finer_grid_by_hand():
    code = torch.tensor([[0.0], [4.0]])
    assert resized(code, (1, 2), (1, 4)).flatten().tolist() == [0.0, 1.0, 3.0, 4.0]
    assert resized(code, (1, 2), (1, 2)) is code


def test_one_sided_by_hand():
    like, no = torch.zeros(()), float("-inf")
    assert one_sided(2, 1, like, own=True).tolist() == [[0, no], [no, 0]]
    assert one_sided(2, 1, like, own=False).tolist() == [[no, 0], [0, no]]


def test_same_view_bias():
    bias = SameViewBias(2)
    torch.nn.init.constant_(bias.weight, 3.0)
    assert bias(2, 1).tolist() == [[[3.0, 0.0], [0.0, 3.0]]] * 2


def slow_attention(attention: SelfAttention, tokens, angle, bias):
    """Attention written out, one head and one query at a time."""
    query, key, value = attention.query_key_value(tokens).chunk(3, dim=-1)
    size = tokens.shape[-1] // attention.heads
    outputs = []
    for h in range(attention.heads):
        part = slice(h * size, (h + 1) * size)
        q, k = (turned(x[:, None, :, part], angle)[:, 0] for x in (query, key))
        rows = [
            torch.softmax(q[:, i : i + 1] @ k.mT / size**0.5 + bias[h, i], dim=-1)
            @ value[..., part]
            for i in range(tokens.shape[1])
        ]
        outputs.append(torch.cat(rows, dim=1))
    return attention.out(torch.cat(outputs, dim=-1))


def test_attention_equals_its_slow_twin():
    attention, angle = SelfAttention(16, 2).double(), RotaryGrid(8).double()((2, 3), views=2)
    tokens, bias = torch.randn(3, 12, 16).double(), torch.randn(2, 12, 12).double()
    bias[:, :, 5] = float("-inf")
    torch.testing.assert_close(
        attention(tokens, angle, bias), slow_attention(attention, tokens, angle, bias)
    )


def test_hidden_keys_do_not_count():
    attention, angle = SelfAttention(8, 2), RotaryGrid(4)((1, 4), views=1)
    tokens, bias = torch.randn(1, 4, 8), torch.zeros(4, 4)
    bias[:, 3] = float("-inf")
    other = tokens.clone()
    other[:, 3] = 7.0
    torch.testing.assert_close(
        attention(tokens, angle, bias)[:, :3], attention(other, angle, bias)[:, :3]
    )


def test_gradient_of_attention_and_its_bias():
    attention, angle = SelfAttention(8, 2).double(), RotaryGrid(4).double()((1, 3), views=1)
    tokens = torch.randn(1, 3, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t, b: attention(t, angle, b), (tokens, bias))


def test_unfit_sizes_are_refused():
    with pytest.raises(ValueError, match="multiple of 4"):
        RotaryGrid(6)
    with pytest.raises(ValueError, match="3 heads do not divide"):
        SelfAttention(16, 3)


@pytest.mark.parametrize("hidden", [False, True])
def test_written_out_where_it_learns_it_is_the_fused_kernel(hidden):
    query, key, value = torch.randn(3, 2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 1, 1, 5).masked_fill(torch.arange(5) > 2, -torch.inf) if hidden else None
    with torch.no_grad():
        fused = attended(query, key, value, mask)
    assert torch.allclose(attended(query, key, value, mask), fused, atol=1e-6)
