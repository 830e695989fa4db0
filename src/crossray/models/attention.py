"""Attention over the patches of all views, with a position code that knows the grid but no view number.

Tokens of N views stand in one sequence, view after view, each view row-major. Nothing here depends on
which view is called first, so permuting the views permutes the result.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

LONGEST_PERIOD = 100.0  # in tokens, over 2 pi: several times the widest grid in use


class RotaryGrid(nn.Module):
    """Rotary position code over a two-dimensional grid (Su et al. 2021, axial form).

    Half of the channels turn with the row, half with the column, so the product of a turned query and a
    turned key depends on their offset on the grid alone. All views share the grid, which may have any size.

    Args:
        channels: Channels of one attention head; a multiple of 4.

    Raises:
        ValueError: `channels` is not a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % 4:
            raise ValueError(
                f"A rotary code over a grid needs a multiple of 4 channels a head; got {channels}."
            )
        speed = LONGEST_PERIOD ** (-torch.arange(channels // 4) / (channels // 4))
        self.register_buffer("speed", speed, persistent=False)
        self.speed: Tensor

    def forward(
        self, grid: tuple[int, int], views: int, before: int = 0
    ) -> Float[Tensor, "token half_channel"]:
        """Angles, in radians, by which the channels of each token of a sequence of views are turned.

        The `before` tokens that stand before each view's grid are not turned.
        """
        rows, columns = (
            torch.arange(side, device=self.speed.device)[:, None] * self.speed for side in grid
        )
        size = (*grid, len(self.speed))
        angle = torch.cat([rows[:, None].expand(size), columns[None].expand(size)], dim=-1)
        return F.pad(angle.flatten(0, 1), (0, 0, before, 0)).repeat(views, 1)


def turned(
    x: Float[Tensor, "*batch token channel"], angle: Float[Tensor, "token half_channel"]
) -> Float[Tensor, "*batch token channel"]:
    """Queries or keys turned by the angles of their place on the grid; fastest where they lie contiguous."""
    cosine, sine = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    straight, crosswise = torch.cat([cosine, cosine], -1), torch.cat([-sine, sine], -1)
    return torch.addcmul(x * straight, x.roll(angle.shape[-1], -1), crosswise)


def resized(
    position: Float[Tensor, "token width"], old: tuple[int, int], new: tuple[int, int]
) -> Float[Tensor, "new_token width"]:
    """A code of position on another grid over the same field, interpolated between the centres of its cells."""
    if old == new:
        return position
    cells = position.unflatten(0, old).permute(2, 0, 1)[None]
    smooth = F.interpolate(cells, size=new, mode="bilinear", align_corners=False)
    return smooth[0].permute(1, 2, 0).flatten(0, 1)


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
        return self.weight[:, None, None] * same_view(views, tokens, self.weight)


def same_view(views: int, tokens: int, like: Tensor) -> Float[Tensor, "token token"]:
    """1 between tokens of one and the same view, 0 elsewhere; type and device are those of `like`."""
    view = torch.arange(views, device=like.device).repeat_interleave(tokens)
    return (view[:, None] == view[None, :]).to(like.dtype)


def one_sided(views: int, tokens: int, like: Tensor, *, own: bool) -> Float[Tensor, "token token"]:
    """Attention bias, 0 or -inf, that lets a token look at its own view only, or at the others only."""
    same = same_view(views, tokens, like).bool()
    return torch.zeros_like(same, dtype=like.dtype).masked_fill(~same if own else same, -torch.inf)


def look_away(
    seen: Bool[Tensor, "batch view token"] | None, like: Tensor
) -> Float[Tensor, "batch 1 1 all_tokens"] | None:
    """Attention bias that hides the tokens not seen; None where all are."""
    if seen is None:
        return None
    hidden = ~seen.flatten(1)[:, None, None]
    return torch.zeros_like(hidden, dtype=like.dtype).masked_fill(hidden, -torch.inf)


def attended(
    query: Float[Tensor, "batch head token channel"],
    key: Float[Tensor, "batch head token channel"],
    value: Float[Tensor, "batch head token channel"],
    mask: Float[Tensor, "*#batch_head #token token"] | None = None,
) -> Float[Tensor, "batch head token channel"]:
    """softmax(Q K^T / sqrt(d) + mask) V; written out where a CPU learns, as its fused kernel goes back slowly.

    Of some hundred tokens in bfloat16 the fused kernel takes ten times as long back as forth; this, a quarter in all.
    """
    if query.device.type == "cpu" and torch.is_grad_enabled():
        logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        weights = (logits if mask is None else logits + mask).softmax(-1)
        return weights.to(value.dtype) @ value
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


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
        angle: Float[Tensor, "token half_channel"] | None = None,
        bias: Float[Tensor, "*#batch_head #token token"] | None = None,
    ) -> Float[Tensor, "batch token width"]:
        """Attended tokens.

        Args:
            tokens: The sequence.
            angle: By which queries and keys are turned, of a `RotaryGrid`; None turns nothing.
            bias: Added to the logits before the softmax; -inf hides a key. Broadcast over batch and head.

        Returns:
            One token for each of the sequence.
        """
        batch, length, width = tokens.shape
        split = self.query_key_value(tokens).view(batch, length, 3, self.heads, width // self.heads)
        split = split.permute(2, 0, 3, 1, 4).contiguous()
        query, key = split[:2] if angle is None else turned(split[:2], angle)
        value = split[2]
        mask = None if bias is None else bias.to(query.dtype)
        mixed = attended(query, key, value, mask)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))
