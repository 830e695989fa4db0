"""From tokens to correspondence: expansion to the full patch grid, and the heads that read a cosine.

A head turns the cosine of two patch descriptors into a correspondence in [0, 1].
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Expansion(nn.Module):
    """Tokens on the half grid spread to the full grid, joined with the trunk's finer features.

    Args:
        width: Channels of a token.
        fine: Channels of the trunk's features at the full grid.
        descriptor: Channels of a patch after the expansion.
    """

    def __init__(self, width: int, fine: int, descriptor: int) -> None:
        super().__init__()
        self.spread = nn.Linear(width, 4 * descriptor)
        self.skip = nn.Linear(fine, descriptor)
        self.norm = nn.LayerNorm(descriptor)
        self.mix = nn.Sequential(
            nn.Linear(descriptor, 2 * descriptor), nn.GELU(), nn.Linear(2 * descriptor, descriptor)
        )

    def forward(
        self,
        tokens: Float[Tensor, "image row column width"],
        fine: Float[Tensor, "image row2 column2 fine"],
    ) -> Float[Tensor, "image row2 column2 descriptor"]:
        """One descriptor per patch of the full grid."""
        spread = F.pixel_shuffle(self.spread(tokens).permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        x = spread + self.skip(fine)
        return x + self.mix(self.norm(x))


def pair_cosines(
    descriptors: Float[Tensor, "batch view patch descriptor"],
) -> Float[Tensor, "batch pair patch patch"]:
    """Cosines between unit descriptors for views k < l, in the order (0, 1), (0, 2), ..., (1, 2), ...; in float32."""
    views = descriptors.shape[1]
    first, second = torch.triu_indices(views, views, offset=1, device=descriptors.device)
    with torch.autocast(descriptors.device.type, enabled=False):
        return descriptors[:, first] @ descriptors[:, second].mT


class SquaredCosine(nn.Module):
    """The paper's head: the squared cosine between two descriptors."""

    def forward(self, cosine: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Correspondence in [0, 1] from the cosine."""
        return cosine.square().clamp(max=1.0)


class ScaledCosine(nn.Module):
    """A logistic of the cosine with learned scale and offset; the start says 4 % for unrelated descriptors."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.offset = nn.Parameter(torch.tensor(-3.2))

    def forward(self, cosine: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Correspondence in [0, 1] from the cosine."""
        return torch.sigmoid(self.scale * cosine + self.offset)


HEADS: dict[str, type[nn.Module]] = {"squared_cosine": SquaredCosine, "scaled_cosine": ScaledCosine}
