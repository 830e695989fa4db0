"""What a saved radiograph carries besides the limb: the shutter's frame and burnt-in letters."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_TEXTS = ("L", "R", "L", "R", "Sin", "Dx", "LI", "RE", "AP", "LAT", "STEH.", "MK", "JS 2")
_SMALLEST_LETTERS = 5


@dataclass(frozen=True)
class Shutter:
    """The exposed rectangle, black beyond, with the blades' unexposed shadow inside it.

    Args:
        edges: Distance of the frame's top, bottom, left and right edge from the middle of the picture, in shares of its
            larger side; beyond about 0.5 an edge lies out of sight.
        turn: Turn of the frame in degrees, clockwise.
        rim: Width of the unexposed border, which shows as bright as bone, in shares of the larger side.
        rim_level: Its brightness, in [0, 1].
        penumbra: Width over which it fades into the exposed field, in shares of the larger side.
    """

    edges: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.5)
    turn: float = 0.0
    rim: float = 0.0
    rim_level: float = 1.0
    penumbra: float = 0.004

    def __call__(self, image: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
        """The picture with the frame laid over it."""
        side = max(image.shape)
        row, column = (
            (torch.arange(n, dtype=torch.float32) - (n - 1) / 2) / side for n in image.shape
        )
        cos, sin = math.cos(math.radians(self.turn)), math.sin(math.radians(self.turn))
        down = cos * row[:, None] - sin * column
        right = sin * row[:, None] + cos * column
        top, bottom, left, rear = self.edges
        inward = torch.minimum(
            torch.minimum(down + top, bottom - down), torch.minimum(right + left, rear - right)
        )
        if self.rim > 0:
            shade = ((self.rim - inward) / max(self.penumbra, 1e-6) + 0.5).clamp(0, 1)
            image = image + shade * (self.rim_level - image).clamp(min=0)
        return image * (inward * side + 0.5).clamp(0, 1)


@dataclass(frozen=True)
class Mark:
    """Letters burnt into the picture or laid in lead on the detector.

    Args:
        text: What they say.
        place: Where, as shares of the free (rows, columns): (0, 0) is the top left corner, (1, 1) the bottom right.
        height: Of the letters, in shares of the picture's larger side; below 5 pixels nothing is drawn.
        turn: Turn in degrees, counter-clockwise.
        mirrored: Laid face down.
        plate: How much the plastic plate around the letters brightens; 0 for none.
        outline: Draw a box around them.
        level: Brightness of the letters, in [0, 1].
    """

    text: str = "L"
    place: tuple[float, float] = (0.05, 0.05)
    height: float = 0.08
    turn: float = 0.0
    mirrored: bool = False
    plate: float = 0.0
    outline: bool = False
    level: float = 1.0

    def __call__(self, image: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
        """The picture with the letters; all beyond their box stays as it is, bit for bit."""
        height = round(self.height * max(image.shape))
        if height < _SMALLEST_LETTERS:
            return image
        letters, plate = _stencil(self.text, height, self.turn, self.mirrored, self.outline)
        rows, columns = letters.shape
        if rows > image.shape[0] or columns > image.shape[1]:
            return image
        top, left = (
            round(share * (whole - part))
            for share, whole, part in zip(self.place, image.shape, letters.shape, strict=True)
        )
        image = image.clone()
        region = image[top : top + rows, left : left + columns]
        region += self.plate * plate * (1 - region)
        region += letters * (self.level - region)
        return image


def sample_shutter(rng: np.random.Generator) -> Shutter | None:
    """A frame whose edges lie at or beyond the picture's, in half of all pictures."""
    if rng.random() < 0.5:
        return None
    top, bottom, left, right = np.clip(rng.normal(0.51, 0.06, 4), 0.34, 0.7).tolist()
    return Shutter(
        edges=(top, bottom, left, right),
        turn=float(np.clip(rng.normal(0, 3), -12, 12)),
        rim=float(rng.uniform(0.003, 0.04)) if rng.random() < 0.6 else 0.0,
        rim_level=float(rng.uniform(0.5, 1)),
        penumbra=float(rng.uniform(0.002, 0.015)),
    )


def sample_marks(rng: np.random.Generator) -> tuple[Mark, ...]:
    """No, one or two marks near the picture's borders."""
    number = int(rng.choice(3, p=(0.45, 0.4, 0.15)))
    return tuple(_sample_mark(rng) for _ in range(number))


def _sample_mark(rng: np.random.Generator) -> Mark:
    near, along = rng.beta(1, 8) if rng.random() < 0.5 else 1 - rng.beta(1, 8), rng.random()
    digits = rng.random() < 0.2
    upright = rng.random() < 0.6
    return Mark(
        text=f"{rng.integers(1, 29):02d}.{rng.integers(1, 13):02d}.{rng.integers(2005, 2026)}"
        if digits
        else str(rng.choice(_TEXTS)),
        place=(near, along) if rng.random() < 0.5 else (along, near),
        height=float(rng.uniform(0.02, 0.035) if digits else rng.uniform(0.035, 0.09)),
        turn=0.0 if upright else float(rng.choice((0, 90, 180, 270)) + rng.normal(0, 8)),
        mirrored=bool(rng.random() < 0.15),
        plate=float(rng.uniform(0.02, 0.15)) if rng.random() < 0.4 else 0.0,
        outline=bool(rng.random() < 0.15),
        level=float(rng.uniform(0.75, 1)),
    )


@lru_cache(maxsize=256)
def _stencil(
    text: str, height: int, turn: float, mirrored: bool, outline: bool
) -> tuple[Float[Tensor, "row column"], Float[Tensor, "row column"]]:
    """Coverage in [0, 1] of the letters and of the plate they stand on."""
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    font = ImageFont.load_default(size=height / 0.7)  # capitals are about 0.7 of the font's size
    left, top, right, bottom = (round(side) for side in font.getbbox(text))
    margin = max(2, height // 3)
    size = (right - left + 2 * margin, bottom - top + 2 * margin)
    letters = Image.new("L", size)
    draw = ImageDraw.Draw(letters)
    draw.text((margin - left, margin - top), text, fill=255, font=font)
    if outline:
        draw.rectangle((0, 0, size[0] - 1, size[1] - 1), outline=255, width=max(1, height // 12))
    both = []
    for layer in (letters, Image.new("L", size, 255)):
        flipped = ImageOps.mirror(layer) if mirrored else layer
        turned = flipped.rotate(turn, Image.Resampling.BILINEAR, expand=True)
        both.append(torch.from_numpy(np.asarray(turned, np.float32) / 255))
    return both[0], both[1]
