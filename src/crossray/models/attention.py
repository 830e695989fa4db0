"""Attention over the patches of all views, with a position code that knows the grid but no view number.

Tokens of N views stand in one sequence, view after view, each view row-major. Nothing here depends on
which view is called first, so permuting the views permutes the result.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

LONGEST_PERIOD = 100.0  # in tokens, over 2 pi: several times the widest grid in use


class RotaryGrid(nn.Module):
    """Rotary position code over a two-dimensional grid (Su et al. 2021, axial form).

    Half of the channels turn with the row, half with the column, so the product of a turned query and a
    turned key depends on their offset on the grid alone. All views share the grid.

    Args:
        rows: Rows of the token grid.
        columns: Columns of the token grid.
        channels: Channels of one attention head; a multiple of 4.

    Raises:
        ValueError: `channels` is not a multiple of 4.
    """

    def __init__(self, rows: int, columns: int, channels: int) -> None:
        super().__init__()
        if channels % 4:
            raise ValueError(
                f"A rotary code over a grid needs a multiple of 4 channels a head; got {channels}."
            )
        speed = LONGEST_PERIOD ** (-torch.arange(channels // 4) / (channels // 4))
        row = torch.arange(rows)[:, None, None] * speed
        column = torch.arange(columns)[None, :, None] * speed
        size = (rows, columns, channels // 4)
        angle = torch.cat([row.expand(size), column.expand(size)], dim=-1).flatten(0, 1)
        self.register_buffer("cosine", angle.cos(), persistent=False)
        self.register_buffer("sine", angle.sin(), persistent=False)
        self.cosine: Tensor
        self.sine: Tensor

    def forward(
        self, x: Float[Tensor, "batch head token channel"]
    ) -> Float[Tensor, "batch head token channel"]:
        """Queries or keys turned by the angles of their place on the grid; any whole number of views."""
        views = x.shape[2] // self.cosine.shape[0]
        cosine = self.cosine.to(x.dtype).repeat(views, 1)
        sine = self.sine.to(x.dtype).repeat(views, 1)
        real, imaginary = x.chunk(2, dim=-1)
        return torch.cat(
            [real * cosine - imaginary * sine, real * sine + imaginary * cosine], dim=-1
        )


class SameViewBias(nn.Module):
    """A learned number per head, added to the attention logits between tokens of one and the same view.

    It lets a head look across views only, or within its own, and treats all views alike. Zero at the start.

    Args:
        heads: Number of attention heads.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(heads))

    def forward(self, views: int, tokens: int) -> Float[Tensor, "head token token"]:
        """Bias for `views` views of `tokens` tokens each."""
        view = torch.arange(views, device=self.weight.device).repeat_interleave(tokens)
        same = (view[:, None] == view[None, :]).to(self.weight.dtype)
        return self.weight[:, None, None] * same


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself.

    Args:
        width: Channels of a token.
        heads: Number of heads; divides `width`.

    Raises:
        ValueError: `heads` does not divide `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width} channels.")
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        rotary: nn.Module,
        bias: Float[Tensor, "*#batch_head token token"] | None = None,
    ) -> Float[Tensor, "batch token width"]:
        """Attended tokens.

        Args:
            tokens: The sequence.
            rotary: Turns queries and keys by their position.
            bias: Added to the logits before the softmax; -inf hides a key. Broadcast over batch and head.

        Returns:
            One token for each of the sequence.
        """
        batch, length, width = tokens.shape
        split = self.query_key_value(tokens).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mask = None if bias is None else bias.to(query.dtype)
        mixed = F.scaled_dot_product_attention(rotary(query), rotary(key), value, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))
