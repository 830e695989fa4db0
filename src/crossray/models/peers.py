"""Other people's networks behind the matcher's face, for comparison: kornia's LoFTR and transformers' DINOv2.

Both give one matrix between the patches of every two views, as `MatcherNetwork` does. The libraries come with the extra
`baselines`, the weights from a hub or from files; random ones serve tests.
"""

from abc import ABC, abstractmethod
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

PATCH = 16
"""Side of a patch in pixels, as the matcher's."""
COLOUR_MEAN, COLOUR_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the photographs DINOv2 was trained on."""
TEMPERATURE = 0.1
"""Of LoFTR's published dual softmax."""


class Peer(nn.Module, ABC):
    """A network that compares two views at a time; subclasses say how."""

    def forward(
        self, images: Float[Tensor, "batch view row column"]
    ) -> Float[Tensor, "batch view view patch patch"]:
        """Scores in [0, 1] between the patches of every two views; a view is not matched with itself."""
        views = images.shape[1]
        pairs = self.pairs(images)
        first, second = torch.triu_indices(views, views, offset=1)
        matrix = pairs.new_zeros(len(pairs), views, views, *pairs.shape[2:])
        matrix[:, first, second], matrix[:, second, first] = pairs, pairs.mT
        return matrix

    def pairs(
        self, images: Float[Tensor, "batch view row column"]
    ) -> Float[Tensor, "batch pair patch patch"]:
        """The blocks of `forward` for views k < l, as `MatcherNetwork.pairs`."""
        couples = combinations(range(images.shape[1]), 2)
        return torch.stack([self.compare(images[:, k], images[:, m]) for k, m in couples], 1)

    @abstractmethod
    def compare(
        self, first: Float[Tensor, "batch row column"], second: Float[Tensor, "batch row column"]
    ) -> Float[Tensor, "batch patch patch"]:
        """Scores between the patches of two views."""


class LoFTRPeer(Peer):
    """LoFTR's coarse stage on whole images (Sun et al., CVPR 2021).

    Args:
        pretrained: Name of published weights (`"outdoor"`, `"indoor_new"`), or None for random ones.
        many: Whether features are compared by the cosine, so that a patch may match many (the paper's LoFTR*), instead
            of by the dual softmax, which wants one partner for each.

    Raises:
        ImportError: Without kornia.
        OSError, RuntimeError: Weights that cannot be had.
    """

    def __init__(self, pretrained: str | None = "outdoor", *, many: bool = False) -> None:
        from kornia.feature import LoFTR

        super().__init__()
        self.loftr = LoFTR(pretrained)
        self.many = many

    def compare(
        self, first: Float[Tensor, "batch row column"], second: Float[Tensor, "batch row column"]
    ) -> Float[Tensor, "batch patch patch"]:
        """Of a patch's cells, 8 pixels wide, the best match counts."""
        both = self.loftr.extract_features(torch.cat([first, second])[:, None])["coarse"]
        grid = both.shape[2:]
        one, other = self.loftr.loftr_coarse(*both.flatten(2).mT.contiguous().chunk(2))
        if self.many:
            scores = functional.normalize(one, dim=-1) @ functional.normalize(other, dim=-1).mT
            scores = scores.clamp(0, 1)
        else:
            likeness = one @ other.mT / (one.shape[-1] * TEMPERATURE)
            scores = likeness.softmax(1) * likeness.softmax(2)
        cells = PATCH // self.loftr.config["resolution"][0]
        split = (grid[0] // cells, cells, grid[1] // cells, cells)
        blocks = scores.unflatten(2, split).unflatten(1, split).amax((2, 4, 6, 8))
        return blocks.flatten(3, 4).flatten(1, 2)


class DINOv2Peer(Peer):
    """DINOv2's patch tokens, frozen, compared by their cosine (Oquab et al., 2024), with or without a head that learns.

    Args:
        pretrained: Name or folder of published weights, or None for a small network at random.
        head: Whether a perceptron of two layers goes between tokens and cosine.

    Raises:
        ImportError: Without transformers.
        OSError: Weights that cannot be had.
    """

    def __init__(
        self, pretrained: str | None = "facebook/dinov2-giant", *, head: bool = False
    ) -> None:
        from transformers import Dinov2Config, Dinov2Model

        super().__init__()
        if pretrained is None:
            form = Dinov2Config(hidden_size=48, num_hidden_layers=2, num_attention_heads=4)
            self.trunk = Dinov2Model(form)
        else:
            self.trunk = Dinov2Model.from_pretrained(pretrained)
        self.trunk.requires_grad_(False).eval()
        width, self.step = self.trunk.config.hidden_size, int(str(self.trunk.config.patch_size))
        layers = (nn.Linear(width, 512), nn.GELU(), nn.Linear(512, 128))
        self.head = nn.Sequential(*layers) if head else nn.Identity()

    def train(self, mode: bool = True) -> "DINOv2Peer":
        """The trunk stays as it was published."""
        super().train(mode)
        self.trunk.eval()
        return self

    def compare(
        self, first: Float[Tensor, "batch row column"], second: Float[Tensor, "batch row column"]
    ) -> Float[Tensor, "batch patch patch"]:
        """The images are scaled so that the trunk's patches are ours."""
        images = torch.cat([first, second])[:, None]
        size = [side // PATCH * self.step for side in images.shape[2:]]
        grey = functional.interpolate(images, size=size, mode="bilinear", antialias=True)
        mean, spread = (grey.new_tensor(c).view(3, 1, 1) for c in (COLOUR_MEAN, COLOUR_SPREAD))
        tokens = self.trunk((grey - mean) / spread).last_hidden_state[:, 1:]
        one, other = functional.normalize(self.head(tokens), dim=-1).chunk(2)
        return (one @ other.mT).clamp(0, 1)
