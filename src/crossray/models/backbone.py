"""Residual convolution trunk, cut at stride 16.

The ResNet of He et al. (2016) with timm's parameter names (`conv1`, `bn1`, `layer1.0.conv1`, ...,
`layer2.0.downsample.0`), so that published weights load by name once their colour stem is summed to grey.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

GREY_MEAN, GREY_SPREAD = 0.45, 0.225
"""Of display values in [0, 1]: the usual centring of photographs, in grey."""
STRIDE = 16  # pixels of the trunk's input per cell of its last feature map


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """Form of a residual trunk.

    Args:
        block: `"basic"` (two 3x3 convolutions) or `"bottleneck"` (1x1, 3x3, 1x1 with four times the width).
        stem: Channels after the first convolution.
        widths: Channels inside the blocks of the three layers, at strides 4, 8 and 16.
        depths: Number of blocks of the three layers.

    Raises:
        ValueError: An unknown block, or not three widths and depths.
    """

    block: str
    stem: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.block not in BLOCKS:
            raise ValueError(
                f"The trunk's block is {self.block!r}; it must be one of {sorted(BLOCKS)}."
            )
        if len(self.widths) != 3 or len(self.depths) != 3:
            raise ValueError(
                f"A trunk has three layers; got widths {self.widths} and depths {self.depths}."
            )

    @property
    def channels(self) -> tuple[int, int, int]:
        """Channels of the feature maps at strides 4, 8 and 16."""
        factor = BLOCKS[self.block].expansion
        first, second, third = (width * factor for width in self.widths)
        return first, second, third


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inside: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inside, width, stride)

    def forward(
        self, x: Float[Tensor, "image inside row column"]
    ) -> Float[Tensor, "image outside r c"]:
        """Features after the block, at `1 / stride` of the resolution."""
        kept = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)) + kept, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride) and 1x1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, inside: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        outside = width * self.expansion
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.downsample = _shortcut(inside, outside, stride)

    def forward(
        self, x: Float[Tensor, "image inside row column"]
    ) -> Float[Tensor, "image outside r c"]:
        """Features after the block, at `1 / stride` of the resolution."""
        kept = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return F.relu(self.bn3(self.conv3(x)) + kept, inplace=True)


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
}


class ResidualTrunk(nn.Module):
    """Stem and three residual layers; returns the feature maps at strides 8 and 16.

    Args:
        config: Block, widths and depths.
    """

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        block = BLOCKS[config.block]
        self.conv1 = nn.Conv2d(1, config.stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem)
        inputs = (config.stem, *config.channels[:2])
        layers = [
            _layer(block, inside, width, depth, stride)
            for inside, width, depth, stride in zip(
                inputs, config.widths, config.depths, (1, 2, 2), strict=True
            )
        ]
        self.layer1, self.layer2, self.layer3 = layers
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                # channels last is twice as fast on a CPU, and ten times in bfloat16
                module.weight.data = module.weight.data.contiguous(
                    memory_format=torch.channels_last
                )

    def forward(
        self, images: Float[Tensor, "image 1 row column"]
    ) -> tuple[
        Float[Tensor, "image fine row8 column8"], Float[Tensor, "image coarse row16 column16"]
    ]:
        """Feature maps of grey images.

        Args:
            images: Grey images, about zero mean and unit variance; sides are multiples of 16.

        Returns:
            Features at stride 8 and at stride 16.
        """
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = F.max_pool2d(x, 3, 2, 1)
        fine = self.layer2(self.layer1(x))
        return fine, self.layer3(fine)


def film_features(
    trunk: ResidualTrunk, images: Float[Tensor, "image row column"], input_stride: int
) -> tuple[Float[Tensor, "image row8 column8 fine"], Float[Tensor, "image row16 column16 coarse"]]:
    """A trunk's features at strides 8 and 16, channels last.

    Args:
        trunk: The trunk.
        images: Radiographs in [0, 1].
        input_stride: They are averaged over squares of this many pixels before.
    """
    grey = (images[:, None] - GREY_MEAN) / GREY_SPREAD
    if input_stride > 1:
        grey = F.avg_pool2d(grey, input_stride)
    fine, coarse = trunk(grey.to(memory_format=torch.channels_last))
    return fine.permute(0, 2, 3, 1), coarse.permute(0, 2, 3, 1)


def grey_stem(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a colour ResNet made to fit `ResidualTrunk`: the stem summed over colour, deeper layers dropped.

    A grey image repeated over three channels meets the sum of the three filters, so nothing is lost.

    Args:
        weights: State of a ResNet with timm's parameter names.

    Returns:
        State of a `ResidualTrunk`.
    """
    kept = {
        name: value for name, value in weights.items() if not name.startswith(("layer4.", "fc."))
    }
    if kept["conv1.weight"].shape[1] > 1:
        kept["conv1.weight"] = kept["conv1.weight"].sum(dim=1, keepdim=True)
    return kept


def _layer(
    block: type[BasicBlock] | type[Bottleneck], inside: int, width: int, depth: int, stride: int
) -> nn.Sequential:
    outside = width * block.expansion
    first = block(inside, width, stride=stride)
    return nn.Sequential(first, *(block(outside, width) for _ in range(depth - 1)))


def _shortcut(inside: int, outside: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inside == outside:
        return None
    return nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
