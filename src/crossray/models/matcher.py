"""The matcher: radiographs of one limb in, correspondence between their patches out.

In reading order: the form (`MatcherConfig`), the parts (trunk, context, expansion, head) and the network. The
`paper` form is that of Dabboussi et al. (MICCAI 2025): ResNet-50 to stride 16, tokens of all views in one sequence
through eight layers, squared cosine between the tokens of two views. The `small` form spends its arithmetic for a
CPU: it looks at the image at half resolution, lets the transformer think on every second patch, and expands the
result to the full grid beside the finer features of the trunk.
"""

import json
from dataclasses import dataclass
from math import lcm
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from crossray.models.attention import resized
from crossray.models.backbone import STRIDE, ResidualTrunk, film_features
from crossray.models.form import Form
from crossray.models.head import HEADS, Expansion, pair_cosines
from crossray.models.loftr import LoFTR
from crossray.models.superglue import SuperGlue
from crossray.models.transformer import Transformer

MOST_VIEWS = 16
MIRRORS = ((), (-1,), (-2,), (-2, -1))
"""Axes of an image that each way of hanging it turns about."""
CONTEXTS = ("transformer", "message_passing", "superglue", "loftr")
SIZES = ("patch", "input_stride", "token_stride", "width", "heads", "hidden", "descriptor")


@dataclass(frozen=True, kw_only=True)
class MatcherConfig(Form):
    """Form of a matcher; everything needed to build it again.

    Args:
        trunk: Convolution trunk.
        image_size: (rows, columns) in pixels of the images it takes.
        patch: Side of a patch in pixels.
        input_stride: Images are averaged over squares of this many pixels before the trunk.
        token_stride: Patches per token along each axis of the grid: 1 as in the paper, 2 to think on a half grid.
        width: Channels of a token.
        context: How tokens learn of each other: `"transformer"`, `"message_passing"` (the same, but with layers
            within and between views in turns), `"superglue"` or `"loftr"`.
        layers: Layers of the context module; 0 leaves each token to itself.
        heads: Attention heads.
        hidden: Channels inside the transformer's perceptrons; the other modules have their own.
        descriptor: Channels of a patch after expansion to the full grid; with `token_stride` 1 the tokens
            themselves are compared.
        head: `"squared_cosine"` or `"scaled_cosine"`.
        same_view: Whether the transformer's attention carries a learned bias that tells the own view from the others.
        position: Whether tokens begin with a learned code of their place in the image, so that views can tell each
            other where they see something; the rotary code alone tells a token only how far away it looks.
        mirrors: Whether the answer, outside of training, is the mean of those to the films as they are, mirrored,
            upside down and both, at four times the arithmetic.

    Raises:
        ValueError: A field that fits no network, or sizes that do not divide each other.
    """

    KIND: ClassVar[str] = "matcher"
    image_size: tuple[int, int] = (256, 256)
    patch: int = 16
    input_stride: int = 1
    token_stride: int = 1
    width: int = 512
    context: str = "transformer"
    layers: int = 8
    heads: int = 8
    hidden: int = 1024
    descriptor: int = 128
    head: str = "squared_cosine"
    same_view: bool = False
    position: bool = False
    mirrors: bool = False

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ValueError(
                f"The matcher's head is {self.head!r}; it must be one of {sorted(HEADS)}."
            )
        if self.context not in CONTEXTS:
            raise ValueError(
                f"The matcher's context is {self.context!r}; it must be one of {', '.join(CONTEXTS)}."
            )
        sizes = {name: getattr(self, name) for name in SIZES}
        if min(sizes.values()) < 1 or self.layers < 0:
            raise ValueError(
                f"The matcher has layers={self.layers} and {sizes}; all must be 1 or more, layers 0 or more."
            )
        if self.width % self._width_step:
            raise ValueError(
                f"The matcher's width is {self.width}; with {self.heads} heads of {self.context} it must be a multiple "
                f"of {self._width_step}."
            )
        token = self.patch * self.token_stride
        if token != STRIDE * self.input_stride or self.token_stride not in (1, 2):
            raise ValueError(
                f"A token covers {token} pixels and the trunk's cell {STRIDE * self.input_stride}; they must agree "
                "(patch x token_stride = 16 x input_stride, token_stride 1 or 2)."
            )
        if any(side <= 0 or side % token for side in self.image_size):
            raise ValueError(
                f"The image size {self.image_size} is no multiple of a token's {token} pixels."
            )

    @property
    def _width_step(self) -> int:
        """What the width is a multiple of: heads share it, and codes of position take channels in fours."""
        if self.context == "superglue":
            return self.heads
        return lcm(self.heads, 4) if self.context == "loftr" else 4 * self.heads

    @property
    def patches(self) -> tuple[int, int]:
        """(rows, columns) of the patch grid."""
        return self.image_size[0] // self.patch, self.image_size[1] // self.patch

    @property
    def tokens(self) -> tuple[int, int]:
        """(rows, columns) of the grid of tokens."""
        return self.patches[0] // self.token_stride, self.patches[1] // self.token_stride

    @classmethod
    def preset(cls, name: str) -> "MatcherConfig":
        """A named form: `"tiny"` for tests, `"small"` for a CPU, `"paper"` as published.

        Raises:
            ValueError: An unknown name.
        """
        if name not in PRESETS:
            raise ValueError(f"There is no matcher {name!r}; choose one of {', '.join(PRESETS)}.")
        return cls.from_json(json.dumps(PRESETS[name]))


PRESETS: dict[str, dict[str, object]] = {
    "tiny": {
        "trunk": {"block": "basic", "stem": 16, "widths": [16, 32, 64], "depths": [1, 1, 1]},
        "input_stride": 2, "token_stride": 2, "width": 96, "layers": 3, "heads": 4, "hidden": 192,
        "descriptor": 64, "same_view": True,
    },
    "small": {
        "trunk": {"block": "basic", "stem": 32, "widths": [32, 80, 160], "depths": [2, 2, 2]},
        "input_stride": 2, "token_stride": 2, "width": 192, "layers": 6, "heads": 6, "hidden": 384,
        "descriptor": 128, "same_view": True, "position": True, "mirrors": True,
    },
    "paper": {
        "trunk": {"block": "bottleneck", "stem": 64, "widths": [64, 128, 256], "depths": [3, 4, 6]},
    },
}  # fmt: skip


class MatcherNetwork(nn.Module):
    """Trunk, context over all views, and a head on every pair of patches.

    Args:
        config: The form.
    """

    def __init__(self, config: MatcherConfig) -> None:
        super().__init__()
        self.config = config
        _, fine, coarse = config.trunk.channels
        rows, columns = config.tokens
        self.trunk = ResidualTrunk(config.trunk)
        self.project = nn.Linear(coarse, config.width)
        self.context = _context(config)
        self.position = (
            nn.Parameter(torch.zeros(rows * columns, config.width)) if config.position else None
        )
        half = config.token_stride == 2
        self.expansion = Expansion(config.width, fine, config.descriptor) if half else None
        self.head = HEADS[config.head]()

    def forward(
        self,
        images: Float[Tensor, "batch view row column"],
        seen: Bool[Tensor, "batch view patch"] | None = None,
        mirrors: bool = True,
    ) -> Float[Tensor, "batch view view patch patch"]:
        """Correspondence between the patches of every two views.

        Args:
            images: Radiographs in [0, 1], bone bright; any whole number of tokens in size, all alike. What the network
                was trained on is `config.image_size`.
            seen: False for patches that hold nothing but padding: nobody attends to them (to a token none of whose
                patches is seen), and they match nothing. None: all are seen.
            mirrors: Whether to give the mean over the ways of hanging the films, where `config.mirrors` asks for it.

        Returns:
            Values in [0, 1], float32; [b, k, l, p, q] for patch p of view k and q of view l, row-major. A view is not
            matched with itself: the blocks k = l are zero.

        Raises:
            ValueError: Fewer than two or more than 16 views, images that are no whole number of tokens, or a view of
                which nothing is seen.
        """
        views = images.shape[1]
        pairs = self.pairs(images, seen) if mirrors else self._pairs(images, seen)
        batch, _, patches, _ = pairs.shape
        first, second = torch.triu_indices(views, views, offset=1, device=pairs.device)
        matrix = pairs.new_zeros(batch, views, views, patches, patches)
        matrix[:, first, second] = pairs
        matrix[:, second, first] = pairs.mT
        return matrix

    def pairs(
        self,
        images: Float[Tensor, "batch view row column"],
        seen: Bool[Tensor, "batch view patch"] | None = None,
    ) -> Float[Tensor, "batch pair patch patch"]:
        """The blocks of `forward` for views k < l, in the order (0, 1), (0, 2), ..., (1, 2), ...: all there is to know.

        Args:
            images: Radiographs in [0, 1], as `forward` takes them.
            seen: As `forward` takes it.

        Returns:
            Values in [0, 1], float32; [b, i, p, q] for patch p of the first and q of the second view of pair i.
        """
        if self.training or not self.config.mirrors:
            return self._pairs(images, seen)
        grid = (images.shape[-2] // self.config.patch, images.shape[-1] // self.config.patch)
        answers = []
        for axes in MIRRORS:
            hung = None if seen is None else mirrored(seen, grid, axes)
            answer = self._pairs(images.flip(axes), hung)
            answers.append(mirrored(mirrored(answer, grid, axes).mT, grid, axes).mT)
        return torch.stack(answers).mean(0)

    def _pairs(
        self,
        images: Float[Tensor, "batch view row column"],
        seen: Bool[Tensor, "batch view patch"] | None,
    ) -> Float[Tensor, "batch pair patch patch"]:
        pairs = self.head(pair_cosines(self.descriptors(images, seen)))
        if seen is None:
            return pairs
        first, second = torch.triu_indices(seen.shape[1], seen.shape[1], 1, device=pairs.device)
        return pairs * (seen[:, first, :, None] & seen[:, second, None, :])

    def descriptors(
        self,
        images: Float[Tensor, "batch view row column"],
        seen: Bool[Tensor, "batch view patch"] | None = None,
    ) -> Float[Tensor, "batch view patch descriptor"]:
        """Unit descriptors of all patches, float32, each of which knows of every view in the batch row."""
        self._check(images, seen)
        fine, tokens = self._tokens(images)
        return self._described(fine, tokens, seen)

    def pairs_apart(
        self, images: Float[Tensor, "batch view row column"]
    ) -> Float[Tensor, "batch pair patch patch"]:
        """What `pairs` would give for every two views by themselves, with the trunk's work done once a view.

        For training: many pairs an image, each seen as a study of two films is.
        """
        self._check(images, None)
        fine, tokens = self._tokens(images)
        first, second = torch.triu_indices(images.shape[1], images.shape[1], 1)
        fine, tokens = (
            torch.stack([each[:, first], each[:, second]], 2).flatten(0, 1)
            for each in (fine, tokens)
        )
        pairs = self.head(pair_cosines(self._described(fine, tokens, None)))
        return pairs.unflatten(0, (len(images), -1)).squeeze(2)

    def _tokens(
        self, images: Float[Tensor, "batch view row column"]
    ) -> tuple[
        Float[Tensor, "batch view fine_row fine_column fine"],
        Float[Tensor, "batch view token_row token_column width"],
    ]:
        """The trunk's finer features of every view, and the tokens before they know of other views."""
        batch, views = images.shape[:2]
        fine, coarse = film_features(self.trunk, images.flatten(0, 1), self.config.input_stride)
        tokens = self.project(coarse)
        if self.position is not None:
            grid = tokens.shape[1:3]
            tokens = tokens + resized(self.position, self.config.tokens, grid).unflatten(0, grid)
        return fine.unflatten(0, (batch, views)), tokens.unflatten(0, (batch, views))

    def _described(
        self,
        fine: Float[Tensor, "batch view fine_row fine_column fine"],
        tokens: Float[Tensor, "batch view token_row token_column width"],
        seen: Bool[Tensor, "batch view patch"] | None,
    ) -> Float[Tensor, "batch view patch descriptor"]:
        """Descriptors of tokens that have heard of the other views."""
        grid = (tokens.shape[2], tokens.shape[3])
        informed = self.context(tokens.flatten(2, 3), grid, self._seen_tokens(seen, grid))
        x = informed.flatten(0, 1).unflatten(1, grid)
        if self.expansion is not None:
            x = self.expansion(x, fine.flatten(0, 1))
        return F.normalize(x.float().reshape(*tokens.shape[:2], -1, x.shape[-1]), dim=-1)

    def _seen_tokens(
        self, seen: Bool[Tensor, "batch view patch"] | None, grid: tuple[int, int]
    ) -> Bool[Tensor, "batch view token"] | None:
        """Which tokens have a patch that is seen."""
        step = self.config.token_stride
        if seen is None or step == 1:
            return seen
        return seen.unflatten(2, (grid[0], step, grid[1], step)).amax((3, 5)).flatten(2)

    def _check(
        self,
        images: Float[Tensor, "batch view row column"],
        seen: Bool[Tensor, "batch view patch"] | None,
    ) -> None:
        views, *size = images.shape[1:]
        if not 2 <= views <= MOST_VIEWS:
            raise ValueError(f"The matcher takes 2 to {MOST_VIEWS} views of one limb; got {views}.")
        token = self.config.patch * self.config.token_stride
        if any(side == 0 or side % token for side in size):
            raise ValueError(
                f"The matcher takes images of a multiple of {token} pixels a side; got {tuple(size)}."
            )
        if seen is not None and not seen.any(-1).all():
            raise ValueError("The matcher got a view of which no patch is seen.")


def mirrored(
    values: Shaped[Tensor, "*rest patch"], grid: tuple[int, int], axes: tuple[int, ...]
) -> Shaped[Tensor, "*rest patch"]:
    """Values of patches, in the order the patches have once the image is flipped about `axes`."""
    return values.unflatten(-1, grid).flip(axes).flatten(-2)


def _context(config: MatcherConfig) -> nn.Module:
    """The module through which tokens learn of each other."""
    if config.context == "superglue":
        return SuperGlue(config.width, layers=config.layers, heads=config.heads)
    if config.context == "loftr":
        return LoFTR(config.width, layers=config.layers, heads=config.heads)
    return Transformer(
        config.width,
        layers=config.layers,
        heads=config.heads,
        hidden=config.hidden,
        same_view=config.same_view,
        message_passing=config.context == "message_passing",
    )
