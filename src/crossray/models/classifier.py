"""The classifier: one or more radiographs of a limb in, the logit of a fracture out.

A convolution trunk makes tokens of every view, with the names and shapes of a matcher's, so that a matcher's weights
fit; each view gets a class token; a transformer informs the tokens. The fusions differ in one thing alone, where the
views meet:

- `single`: nowhere. Each film is judged by itself and learns its own label; a study's probability is their mean.
- `late`: at the end. Each film is encoded by itself; the study's logit is the mean over its views, which for a linear
  head is the head's answer to the mean of their features.
- `early`: in every layer. The tokens of all views stand in one sequence; the head reads the mean over the views.

Guidance adds alpha C to the attention logits between tokens of different views (`crossray.models.guidance`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from crossray.models.attention import resized
from crossray.models.backbone import STRIDE, ResidualTrunk, film_features
from crossray.models.form import Form
from crossray.models.guidance import between_tokens
from crossray.models.transformer import Transformer

FUSIONS = ("single", "late", "early")
TINY = 1e-6
"""Mean probabilities are kept this far from 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Form):
    """Form of a classifier; everything needed to build it again.

    Args:
        trunk: Convolution trunk.
        image_size: (rows, columns) in pixels of the images it takes.
        input_stride: Images are averaged over squares of this many pixels before the trunk.
        width: Channels of a token.
        layers: Layers of the transformer; 0 for a plain convolution network, whose head reads the mean over each film.
        heads: Attention heads.
        hidden: Channels inside the transformer's perceptrons.
        fusion: Where the views meet: `"single"`, `"late"` or `"early"`.
        same_view: Whether attention carries a learned bias that tells the own view from the others.
        position: Whether tokens begin with a learned code of their place in the image.
        guidance: Whether a matcher's C guides the attention between views.

    Raises:
        ValueError: A field that fits no network, or sizes that do not divide each other.
    """

    KIND: ClassVar[str] = "classifier"
    image_size: tuple[int, int] = (256, 256)
    input_stride: int = 1
    width: int = 384
    layers: int = 6
    heads: int = 4
    hidden: int = 1536
    fusion: str = "early"
    same_view: bool = False
    position: bool = True
    guidance: bool = False

    def __post_init__(self) -> None:
        if self.fusion not in FUSIONS:
            raise ValueError(
                f"The classifier's fusion is {self.fusion!r}; it must be one of {', '.join(FUSIONS)}."
            )
        token = STRIDE * self.input_stride
        if any(side <= 0 or side % token for side in self.image_size):
            raise ValueError(
                f"The image size {self.image_size} is no multiple of a token's {token} pixels."
            )
        if self.fusion == "early" and not self.layers:
            raise ValueError(
                "Views meet early in a transformer's layers, and layers=0; choose single or late."
            )
        if self.guidance and self.fusion != "early":
            raise ValueError(
                f"Guidance acts where views meet early; with fusion {self.fusion!r} they do not."
            )

    @property
    def tokens(self) -> tuple[int, int]:
        """(rows, columns) of the grid of tokens."""
        token = STRIDE * self.input_stride
        return self.image_size[0] // token, self.image_size[1] // token

    @classmethod
    def preset(cls, name: str) -> "ClassifierConfig":
        """A named form.

        `"tiny"` for tests, `"small"` with the trunk and transformer of the matcher `small`, `"paper"` as published
        (ResNet-50 to stride 16; ViT-S of 6 layers, 4 heads, width 384), `"cnn"` a ResNet-18 to stride 16 at full
        resolution without a transformer.

        Raises:
            ValueError: An unknown name.
        """
        if name not in PRESETS:
            raise ValueError(
                f"There is no classifier {name!r}; choose one of {', '.join(PRESETS)}."
            )
        return cls.from_json(json.dumps(PRESETS[name]))


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "trunk": {"block": "basic", "stem": 16, "widths": [16, 32, 64], "depths": [1, 1, 1]},
        "image_size": [64, 64], "input_stride": 2, "width": 96, "layers": 3, "heads": 4, "hidden": 192,
        "same_view": True,
    },
    "small": {
        "trunk": {"block": "basic", "stem": 32, "widths": [32, 80, 160], "depths": [2, 2, 2]},
        "input_stride": 2, "width": 192, "layers": 6, "heads": 6, "hidden": 384, "same_view": True,
    },
    "paper": {
        "trunk": {"block": "bottleneck", "stem": 64, "widths": [64, 128, 256], "depths": [3, 4, 6]},
    },
    "cnn": {
        "trunk": {"block": "basic", "stem": 64, "widths": [64, 128, 256], "depths": [2, 2, 2]},
        "width": 256, "layers": 0, "fusion": "single", "position": False,
    },
}  # fmt: skip


class ClassifierNetwork(nn.Module):
    """Trunk, transformer over the views, and a linear head on class tokens.

    Args:
        config: The form.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        rows, columns = config.tokens
        self.trunk = ResidualTrunk(config.trunk)
        self.project = nn.Linear(config.trunk.channels[2], config.width)
        self.position = (
            nn.Parameter(torch.zeros(rows * columns, config.width)) if config.position else None
        )
        self.class_token = nn.Parameter(0.02 * torch.randn(config.width)) if config.layers else None
        self.context = Transformer(
            config.width,
            layers=config.layers,
            heads=config.heads,
            hidden=config.hidden,
            same_view=config.same_view,
        )
        self.alpha = nn.Parameter(torch.zeros(config.layers)) if config.guidance else None
        self.head = nn.Linear(config.width, 1)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        images: Float[Tensor, "batch view row column"],
        present: Bool[Tensor, "batch view"] | None = None,
        correspondence: Float[Tensor, "batch view view patch patch"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """Logit of a fracture, one a study.

        Args:
            images: Radiographs in [0, 1], bone bright, of any whole number of tokens; what the network was trained on
                is `config.image_size`.
            present: False for views that are missing, whose images count for nothing; every study has one. None: all.
            correspondence: C between square grids of patches, for guidance; None leaves attention to itself.
        """
        return self.study_logits(self.tokens(images), present, correspondence)

    def tokens(
        self, images: Float[Tensor, "batch view row column"]
    ) -> Float[Tensor, "batch view token_row token_column width"]:
        """The tokens of every view before they know of each other."""
        _, coarse = film_features(self.trunk, images.flatten(0, 1), self.config.input_stride)
        tokens = self.project(coarse)
        if self.position is not None:
            grid = tokens.shape[1:3]
            tokens = tokens + resized(self.position, self.config.tokens, grid).unflatten(0, grid)
        return tokens.unflatten(0, images.shape[:2])

    def study_logits(
        self,
        tokens: Float[Tensor, "batch view token_row token_column width"],
        present: Bool[Tensor, "batch view"] | None = None,
        correspondence: Float[Tensor, "batch view view patch patch"] | None = None,
        listening: Float[Tensor, "batch view token view token"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """As `forward`, from `tokens`; `listening` is added to the attention logits of early fusion's layers."""
        share = (
            torch.ones(tokens.shape[:2], device=tokens.device)
            if present is None
            else present.float()
        )
        share = share / share.sum(1, keepdim=True)
        if self.config.fusion == "single":
            mean = (share * self.view_logits(tokens).sigmoid()).sum(1)
            return torch.logit(mean, TINY)
        if self.config.fusion == "late":
            return (share * self.view_logits(tokens)).sum(1)
        grid = (tokens.shape[2], tokens.shape[3])
        read = self._read(tokens, present, self._biases(grid, correspondence, listening))
        return self.head((share[..., None] * read).sum(1))[:, 0]

    def view_logits(
        self, tokens: Float[Tensor, "batch view token_row token_column width"]
    ) -> Float[Tensor, "batch view"]:
        """Logit of every view judged by itself."""
        apart = tokens.flatten(0, 1)[:, None]
        return self.head(self._read(apart)).view(tokens.shape[:2])

    def _read(
        self,
        tokens: Float[Tensor, "batch view token_row token_column width"],
        present: Bool[Tensor, "batch view"] | None = None,
        biases: Sequence[Tensor] | None = None,
    ) -> Float[Tensor, "batch view width"]:
        """What the head reads of each view: its class token, behind the layers, and the mean of its other tokens.

        The mean lets guidance act in the last layer too, where the class token alone hears no bias.
        """
        flat = tokens.flatten(2, 3)
        if self.class_token is None:
            return self.context(flat, tokens.shape[2:4]).mean(2)
        begin = self.class_token.expand(*flat.shape[:2], 1, -1)
        sequence = torch.cat([begin, flat], 2)
        seen = None if present is None else present[..., None].expand(sequence.shape[:3])
        informed = self.context(sequence, (tokens.shape[2], tokens.shape[3]), seen, biases)
        return informed[:, :, 0] + informed[:, :, 1:].mean(2)

    def _biases(
        self,
        grid: tuple[int, int],
        correspondence: Float[Tensor, "batch view view patch patch"] | None,
        listening: Float[Tensor, "batch view token view token"] | None,
    ) -> list[Tensor] | None:
        """By layer, what is added to the attention logits of the sequence of all views and their class tokens."""
        added = None if listening is None else _sequence(listening)
        if self.alpha is None or correspondence is None:
            return None if added is None else [added] * self.config.layers
        side = round(correspondence.shape[-1] ** 0.5)
        guidance = _sequence(between_tokens(correspondence, (side, side), grid))
        guided = [strength * guidance for strength in self.alpha]
        return guided if added is None else [each + added for each in guided]


def carry_over(network: ClassifierNetwork, weights: dict[str, Tensor]) -> list[str]:
    """Put another network's weights (a matcher's, a trunk's) into a classifier where name and shape are the same.

    Returns:
        Names of the tensors that were carried over.
    """
    own = network.state_dict()
    fit = {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape and not name.startswith("head.")
    }
    network.load_state_dict(fit, strict=False)
    return sorted(fit)


def _sequence(
    between: Float[Tensor, "batch view token view token"],
) -> Float[Tensor, "batch 1 all_tokens all_tokens"]:
    """A bias between the views' tokens as one between all tokens of the sequence; 0 for class tokens."""
    padded = functional.pad(between, (1, 0, 0, 0, 1, 0))
    return padded.flatten(3, 4).flatten(1, 2)[:, None]
