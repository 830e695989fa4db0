"""SuperGlue's attentional graph network as a context module: messages within views and between them, in turns.

Source: Sarlin et al., SuperGlue (CVPR 2020), eqs. 2 to 5. Here nodes are the patches of a grid, so there is no
detection score, and a cross layer gathers from all other views at once, which for two views is as published.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossray.models.attention import SelfAttention, look_away, one_sided

ENCODER = (32, 64, 128, 256)
"""Channels of the published encoder of keypoint positions."""


class OverTokens(nn.BatchNorm1d):
    """Batch normalisation of tokens, channels last."""

    def forward(self, input: Float[Tensor, "*any channel"]) -> Float[Tensor, "*any channel"]:
        """The tokens, each channel normalised over all of them."""
        return super().forward(input.flatten(0, -2)).view(input.shape)


class GraphLayer(nn.Module):
    """A message by attention, and a perceptron on token and message around a shortcut (eq. 3).

    Args:
        width: Channels of a token.
        heads: Attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        last = nn.Linear(2 * width, width)
        nn.init.zeros_(last.bias)
        self.perceptron = nn.Sequential(
            nn.Linear(2 * width, 2 * width), OverTokens(2 * width), nn.ReLU(), last
        )

    def forward(
        self,
        tokens: Float[Tensor, "batch view patch width"],
        bias: Float[Tensor, "*#batch_head token token"],
    ) -> Float[Tensor, "batch view patch width"]:
        """Tokens after the layer; `bias` says who may look at whom."""
        message = self.attention(tokens.flatten(1, 2), bias=bias).view(tokens.shape)
        return tokens + self.perceptron(torch.cat([tokens, message], dim=-1))


class SuperGlue(nn.Module):
    """The graph network: positions encoded into the tokens, then self and cross layers in turns.

    Args:
        width: Channels of a token.
        layers: Self and cross layers together.
        heads: Attention heads.
    """

    def __init__(self, width: int, *, layers: int, heads: int) -> None:
        super().__init__()
        encoder: list[nn.Module] = []
        for inside, outside in zip((2, *ENCODER), ENCODER, strict=False):
            encoder += [nn.Linear(inside, outside), OverTokens(outside), nn.ReLU()]
        self.encoder = nn.Sequential(*encoder, nn.Linear(ENCODER[-1], width))
        self.layers = nn.ModuleList(GraphLayer(width, heads) for _ in range(layers))
        self.final = nn.Linear(width, width)

    def forward(
        self,
        tokens: Float[Tensor, "batch view patch width"],
        grid: tuple[int, int],
        seen: Bool[Tensor, "batch view patch"] | None = None,
    ) -> Float[Tensor, "batch view patch width"]:
        """Tokens informed by all views, through the final projection (eq. 6).

        Args:
            tokens: Of every view, row-major.
            grid: Their rows and columns.
            seen: False for tokens that nobody looks at.
        """
        _, views, patches, _ = tokens.shape
        places = torch.cartesian_prod(*(torch.linspace(-1, 1, side) for side in grid))
        tokens = tokens + self.encoder(places.to(tokens))
        hidden = look_away(seen, tokens)
        for number, layer in enumerate(self.layers):
            bias = one_sided(views, patches, tokens, own=number % 2 == 0)
            tokens = layer(tokens, bias if hidden is None else bias + hidden)
        return self.final(tokens)
