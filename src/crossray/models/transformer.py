"""The transformer, plain or with message passing; pre-norm (Xiong et al. 2020).

Plain: every token attends to every token of every view, layer after layer. With message passing, layers within each
view take turns with layers between views.
"""

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossray.models.attention import (
    RotaryGrid,
    SameViewBias,
    SelfAttention,
    look_away,
    one_sided,
)


class TransformerLayer(nn.Module):
    """Attention and a two-layer perceptron, each behind a norm and around a shortcut.

    Args:
        width: Channels of a token.
        heads: Attention heads.
        hidden: Channels inside the perceptron.
        same_view: Whether a learned bias tells the own view from the others.
    """

    def __init__(self, width: int, heads: int, hidden: int, *, same_view: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.same_view = SameViewBias(heads) if same_view else None
        self.norm2 = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(
        self,
        tokens: Float[Tensor, "batch view patch width"],
        angle: Float[Tensor, "token half_channel"],
        bias: Float[Tensor, "*#batch_head #token token"] | None = None,
    ) -> Float[Tensor, "batch view patch width"]:
        """Tokens after the layer; `bias` is added to the attention logits of the sequence of all views."""
        _, views, patches, _ = tokens.shape
        if self.same_view is not None:
            own = self.same_view(views, patches)
            bias = own if bias is None else bias + own
        flat = tokens.flatten(1, 2)
        flat = flat + self.attention(self.norm1(flat), angle, bias)
        flat = flat + self.perceptron(self.norm2(flat))
        return flat.view(tokens.shape)


class Transformer(nn.Module):
    """Layers over the tokens of all views in one sequence.

    Args:
        width: Channels of a token.
        layers: Number of layers; with none, tokens are only normalised.
        heads: Attention heads.
        hidden: Channels inside the perceptrons.
        same_view: Whether a learned bias per layer and head tells the own view from the others.
        message_passing: Even layers look at the own view only, odd ones at the others only.
    """

    def __init__(
        self,
        width: int,
        *,
        layers: int,
        heads: int,
        hidden: int,
        same_view: bool = False,
        message_passing: bool = False,
    ) -> None:
        super().__init__()
        self.message_passing = message_passing
        self.rotary = RotaryGrid(width // heads)
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, hidden, same_view=same_view) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        for name, weight in self.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(weight)
            elif weight.ndim == 2:
                # What ends a branch starts small: the shortcuts carry the signal at first.
                ends = name.endswith(("attention.out.weight", "perceptron.2.weight"))
                nn.init.trunc_normal_(weight, std=0.02 / (2 * layers) ** 0.5 if ends else 0.02)

    def forward(
        self,
        tokens: Float[Tensor, "batch view patch width"],
        grid: tuple[int, int],
        seen: Bool[Tensor, "batch view patch"] | None = None,
        bias: Sequence[Float[Tensor, "*#batch_head token token"] | None] | None = None,
    ) -> Float[Tensor, "batch view patch width"]:
        """Tokens informed by all views, normalised.

        Args:
            tokens: Of every view, row-major; those that stand before the grid's (a class token) have no place on it.
            grid: Rows and columns of the rest.
            seen: False for tokens that nobody looks at.
            bias: By layer, what is added to its attention logits over the sequence of all views.
        """
        _, views, patches, _ = tokens.shape
        angle = self.rotary(grid, views, patches - grid[0] * grid[1])
        hidden = look_away(seen, tokens)
        for number, layer in enumerate(self.layers):
            added = [hidden, None if bias is None else bias[number]]
            if self.message_passing:
                added.append(one_sided(views, patches, tokens, own=number % 2 == 0))
            given = [each for each in added if each is not None]
            tokens = layer(tokens, angle, sum(given[1:], given[0]) if given else None)
        return self.norm(tokens)
