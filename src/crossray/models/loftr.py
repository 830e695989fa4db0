"""LoFTR's context module: linear attention within views and between them, in turns.

Source: Sun et al., LoFTR (CVPR 2021), sections 3.2 and 3.3; linear attention of Katharopoulos et al. (ICML 2020) with
elu(x) + 1. Two things differ from the published module: a cross layer gathers from all other views at once, and it
updates all views from their state before it, where the published one updates the second view from the updated first;
so permuting the views permutes the result.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

SMALLEST = 1e-6


class LinearAttentionLayer(nn.Module):
    """A message by linear attention, and a perceptron on token and message around a shortcut.

    Args:
        width: Channels of a token.
        heads: Attention heads; divides `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.merge = nn.Linear(width, width, bias=False)
        self.norm1 = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(2 * width, 2 * width, bias=False),
            nn.ReLU(),
            nn.Linear(2 * width, width, bias=False),
        )
        self.norm2 = nn.LayerNorm(width)

    def forward(
        self,
        tokens: Float[Tensor, "batch view patch width"],
        seen: Bool[Tensor, "batch view patch"] | None,
        *,
        own: bool,
    ) -> Float[Tensor, "batch view patch width"]:
        """Tokens after the layer; messages come from the own view, or from all others."""
        split = self.query_key_value(tokens).unflatten(-1, (3, self.heads, -1)).unbind(3)
        query, key, value = (F.elu(split[0]) + 1, F.elu(split[1]) + 1, split[2])
        if seen is not None:
            key = key * seen[..., None, None]
        memory = torch.einsum("bvphc,bvphd->bvhcd", key, value)
        mass = key.sum(2)
        if not own:
            memory, mass = memory.sum(1, keepdim=True) - memory, mass.sum(1, keepdim=True) - mass
        message = torch.einsum("bvphc,bvhcd->bvphd", query, memory)
        weight = torch.einsum("bvphc,bvhc->bvph", query, mass) + SMALLEST
        message = self.norm1(self.merge((message / weight[..., None]).flatten(-2)))
        return tokens + self.norm2(self.perceptron(torch.cat([tokens, message], dim=-1)))


class LoFTR(nn.Module):
    """Sinusoidal positions added to the tokens, then self and cross layers in turns.

    Args:
        width: Channels of a token; a multiple of 4.
        layers: Self and cross layers together.
        heads: Attention heads.
    """

    def __init__(self, width: int, *, layers: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(LinearAttentionLayer(width, heads) for _ in range(layers))
        for weight in self.parameters():
            if weight.ndim == 2:
                nn.init.xavier_uniform_(weight)

    def forward(
        self,
        tokens: Float[Tensor, "batch view patch width"],
        grid: tuple[int, int],
        seen: Bool[Tensor, "batch view patch"] | None = None,
    ) -> Float[Tensor, "batch view patch width"]:
        """Tokens informed by all views.

        Args:
            tokens: Of every view, row-major.
            grid: Their rows and columns.
            seen: False for tokens that nobody looks at.
        """
        tokens = tokens + sinusoids(grid, tokens.shape[-1]).to(tokens)
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens, seen, own=number % 2 == 0)
        return tokens


def sinusoids(grid: tuple[int, int], width: int) -> Float[Tensor, "patch width"]:
    """Sines and cosines of the column and the row, from 1, at speeds from 1 down to 1/10000 (as DETR has it).

    >>> [round(x, 4) for x in sinusoids((1, 1), 4)[0].tolist()]  # sin 1, cos 1 for the column, then for the row
    [0.8415, 0.5403, 0.8415, 0.5403]
    """
    speed = torch.exp(torch.arange(width // 4) * (-math.log(10_000.0) / (width // 4)))
    rows, columns = (torch.arange(1, side + 1)[:, None] * speed for side in grid)
    size = (*grid, width // 4)
    down, across = rows[:, None].expand(size), columns[None].expand(size)
    return torch.cat([across.sin(), across.cos(), down.sin(), down.cos()], dim=-1).flatten(0, 1)
