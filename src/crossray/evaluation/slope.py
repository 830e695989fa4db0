"""The slope test: does the band follow the anatomy, or stay where bands usually are?

Views framed alike let a matcher score by predicting "same height". So one view is held fixed while
the other's window slides along the limb (down its rows, over true pixels of a wider image). In the
window's own rows the anatomy then moves up by as much as the window moves down. The displacement of
each band is regressed on the window's:

    slope = - sum over patches p, offsets s of (s - mean s) (b_ps - b_p0)
              / sum over p, s of (s - mean s)^2

with b the row of the band. 1 means that the band follows the anatomy, 0 that it stays in place. No
labels are needed, so it works on real films. A band's row is the mean row of its entries weighted by
their excess over half its maximum: a low floor elsewhere does not pull it to the middle of the
window, and no entry jumps in or out. Windows should slide over several patches, since a band thinner
than a patch cannot show where inside the patch it lies.

Which patches count never depends on the prediction. They show tissue, and their band must stay inside
the window at all offsets: where the truth is at hand it decides; on real films only the middle half of
the fixed view's rows is used, and the windows are cut so that this level of the limb stays in sight if
both films show the same stretch of it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import nan

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from crossray.correspondence.patches import POSITIVE_ABOVE
from crossray.errors import InputError
from crossray.evaluation.metrics import percentile_interval, person_weights

Predict = Callable[
    [Float[Tensor, "batch view row column"]], Float[Tensor, "batch view view patch patch"]
]
"""A matcher: images in [0, 1] to correspondence in [0, 1]."""

_TISSUE_LEVEL = 0.15
"""Where between the 2nd and 98th percentile of patch brightness tissue begins."""
_WINDOW_PER_REACH = 1.5
"""Height of the window on a real film over the room from the middle of its slide to the nearer edge, at most: the
window (1) and its slide (1/3) then fill the room on that side (2/3)."""
_MIN_REACH = 16
"""Fewest rows of a real film between the middle of the slide and the nearer edge."""
_STEPS = 9
"""Positions of the window on a real film."""


@dataclass(frozen=True)
class SlopePair:
    """A fixed view, and a taller image of another view over which a window slides.

    Args:
        person: Who it is; intervals are clustered by person.
        fixed: The view that stays, (row, column), in [0, 1], the limb along the rows.
        wide: The other view, as wide as `fixed` and taller; the window has the shape of `fixed`.
        offsets: First row of the window in `wide` for each position, in pixels; at least two different ones.
        truth_at: True correspondence (2, 2, patch, patch) of (fixed, window) at an offset, if known.
        name: What to call the pair.
        grid: Patches along rows and columns of a view.

    Raises:
        InputError: Images that do not fit each other, or offsets that leave `wide`.
    """

    person: str
    fixed: Float[Tensor, "row column"]
    wide: Float[Tensor, "tall_row column"]
    offsets: tuple[int, ...]
    truth_at: Callable[[int], Float[Tensor, "2 2 patch patch"]] | None = None
    name: str = "pair"
    grid: tuple[int, int] = (16, 16)

    def __post_init__(self) -> None:
        rows = self.fixed.shape[0]
        if len(set(self.offsets)) < 2:
            raise InputError(
                f"The slope test of {self.name} needs at least two different offsets, not {self.offsets}."
            )
        if min(self.offsets) < 0 or max(self.offsets) + rows > self.wide.shape[0]:
            raise InputError(
                f"A window of {rows} rows at offsets {min(self.offsets)} to {max(self.offsets)} leaves "
                f"the wide image of {self.name}, which has {self.wide.shape[0]} rows."
            )

    def images(self) -> Float[Tensor, "offset 2 row column"]:
        """The fixed view beside the window, at every offset."""
        rows = self.fixed.shape[0]
        return torch.stack(
            [torch.stack([self.fixed, self.wide[start : start + rows]]) for start in self.offsets]
        )


@dataclass(frozen=True)
class PairSlope:
    """The sums of one pair; they add up over pairs.

    Args:
        person: Who it is.
        name: The pair.
        covariance: Sum of minus (offset - mean offset) times band displacement, pixels squared.
        variance: Sum of (offset - mean offset) squared, over the same patches.
        patches: Patches of the fixed view that took part.
        edge_share: Share of predicted bands that touch the first or last row of the window.
        row_error: Mean distance between the predicted and the true band's row, in pixels; NaN without truth.
    """

    person: str
    name: str
    covariance: float
    variance: float
    patches: int
    edge_share: float
    row_error: float

    @property
    def slope(self) -> float:
        """Slope of this pair alone; NaN when no patch took part."""
        return self.covariance / self.variance if self.variance else nan


@dataclass(frozen=True)
class SlopeResult:
    """The slope pooled over pairs; NaN where undefined.

    Args:
        slope: 1 where bands follow the anatomy, 0 where they stay in place.
        low: 2.5 % quantile of the bootstrap over persons.
        high: 97.5 % quantile.
        patches: Patches of fixed views that took part.
        edge_share: Share of predicted bands that touch the window's first or last row. On real films
            a large share warns that the films show different stretches of the limb, or that bands are
            diffuse; both lower the slope.
        row_error: Mean distance between the predicted and the true band's row, in pixels.
        pairs: What each pair contributed.
    """

    slope: float
    low: float
    high: float
    patches: int
    edge_share: float
    row_error: float
    pairs: tuple[PairSlope, ...] = field(repr=False)


def slope(
    predict: Predict, pairs: Iterable[SlopePair], draws: int = 1000, seed: int = 0
) -> SlopeResult:
    """Run the slope test on any number of pairs; see the module for its definition.

    Args:
        predict: The matcher.
        pairs: Synthetic or real pairs.
        draws: Bootstrap draws for the interval over persons.
        seed: Seed of the bootstrap.

    Returns:
        The pooled slope and what each pair contributed.
    """
    measured = tuple(pair_slope(predict, pair) for pair in pairs)
    patches = sum(pair.patches for pair in measured)
    used = [pair for pair in measured if pair.patches]
    variance = sum(pair.variance for pair in used)
    low, high = _person_interval(used, draws, seed)
    return SlopeResult(
        slope=sum(pair.covariance for pair in used) / variance if variance else nan,
        low=low,
        high=high,
        patches=patches,
        edge_share=sum(pair.edge_share * pair.patches for pair in used) / patches
        if patches
        else nan,
        row_error=sum(pair.row_error * pair.patches for pair in used) / patches if patches else nan,
        pairs=measured,
    )


def pair_slope(predict: Predict, pair: SlopePair) -> PairSlope:
    """The slope test on one pair.

    Raises:
        InputError: A matcher whose patches are not `pair.grid`.
    """
    with torch.inference_mode():
        bands = predict(pair.images())[:, 0, 1].cpu()
    if bands.shape[-1] != pair.grid[0] * pair.grid[1]:
        given, asked = bands.shape[-1], f"{pair.grid[0]} x {pair.grid[1]}"
        raise InputError(f"The matcher has {given} patches a view; {pair.name} expects {asked}.")
    chosen = tissue_patches(pair.fixed, pair.grid)
    truth_rows = None
    if pair.truth_at is None:
        chosen &= _middle_half(pair.grid)
    else:
        truth = torch.stack([pair.truth_at(start)[0, 1] for start in pair.offsets])
        truth_rows, truth_touches = band_rows(truth, pair.grid)
        chosen &= (truth.amax(-1) > POSITIVE_ABOVE).all(0) & ~truth_touches.any(0)
    rows, touches = band_rows(bands, pair.grid)
    pixels = pair.fixed.shape[0] / pair.grid[0]
    offsets = torch.tensor(pair.offsets, dtype=torch.float64)
    centred = offsets - offsets.mean()
    displacement = (rows - rows[0])[:, chosen] * pixels
    patches = int(chosen.sum())
    return PairSlope(
        person=pair.person,
        name=pair.name,
        covariance=0.0 - (centred @ displacement).sum().item(),
        variance=centred.square().sum().item() * patches,
        patches=patches,
        edge_share=touches[:, chosen].double().mean().item() if patches else nan,
        row_error=nan
        if truth_rows is None
        else ((rows - truth_rows)[:, chosen].abs().mean() * pixels).item(),
    )


def band_rows(
    bands: Float[Tensor, "*batch patch"], grid: tuple[int, int]
) -> tuple[Float[Tensor, "*batch"], Bool[Tensor, "*batch"]]:
    """Where a band lies: the mean row of its entries, weighted by their excess over half its maximum.

    Args:
        bands: Correspondence of one patch with all patches of another view, row-major.
        grid: Patches along rows and columns.

    Returns:
        The row in patches (0 is the centre of the first; the middle of the grid for an empty band), and whether the
        band, where above half its maximum, touches the first or the last row.
    """
    maps = bands.double().clamp(min=0.0).unflatten(-1, grid)
    excess = (maps - 0.5 * maps.amax((-2, -1), keepdim=True)).clamp(min=0.0)
    by_row = excess.sum(-1)
    total = by_row.sum(-1)
    level = (by_row @ torch.arange(grid[0], dtype=torch.float64, device=maps.device)) / total
    touches = (by_row[..., 0] > 0) | (by_row[..., -1] > 0)
    return torch.where(total > 0, level, (grid[0] - 1) / 2), touches


def tissue_patches(
    image: Float[Tensor, "row column"], grid: tuple[int, int]
) -> Bool[Tensor, " patch"]:
    """Patches that show tissue: brighter than the background by 15 % of the range of patch brightness.

    Args:
        image: Radiograph in [0, 1], bone bright.
        grid: Patches along rows and columns.

    Returns:
        A mask, row-major over the grid.
    """
    mean = functional.adaptive_avg_pool2d(image[None, None].float().cpu(), grid).flatten()
    low, high = torch.quantile(mean, torch.tensor([0.02, 0.98])).tolist()
    return mean > low + _TISSUE_LEVEL * (high - low)


def real_slope_pairs(
    image_a: Float[Tensor, "row_a column_a"],
    image_b: Float[Tensor, "row_b column_b"],
    person: str,
    name: str = "pair",
    pixel_mm: tuple[float, float] | None = None,
    level: tuple[float, float] | None = None,
    size: tuple[int, int] = (256, 256),
) -> list[SlopePair]:
    """Cut two real films of one limb into slope pairs, each film sliding once.

    The films are brought to one scale and windows of equal physical size are cut: at most 3/4 of the
    lower film's height (less for a level off its middle), no wider than the narrower film, never padded.
    The fixed window and the middle of the slide, which spans a third of the window, lie at the
    same level of the limb. Columns are centred on the brightness.

    Args:
        image_a: One film in [0, 1], bone bright, contrast as the matcher expects it, the limb along the rows.
        image_b: The other film of the same stretch of the limb.
        person: Who it is.
        name: What to call the pair.
        pixel_mm: Pixel size of each film in mm. None: both films are taken to be equally high.
        level: Row of each film that shows one level of the limb, such as the joint. None: the middle rows.
        size: Rows and columns of the window, in pixels of the matcher.

    Returns:
        Two pairs: the first film fixed and the second sliding, and the reverse.

    Raises:
        InputError: Films that are not finite or smaller than 32 x 32 pixels, or pixel sizes that are
            not positive, or a level outside its film.
    """
    films = [_checked_film(image, name) for image in (image_a, image_b)]
    pixels = pixel_mm or (1.0 / films[0].shape[0], 1.0 / films[1].shape[0])
    if min(pixels) <= 0:
        raise InputError(
            f"pixel_mm of {name} is {pixel_mm}; give two positive sizes in mm, or None."
        )
    middles = level or (films[0].shape[0] / 2, films[1].shape[0] / 2)
    if min(map(_reach, films, middles)) < _MIN_REACH:
        raise InputError(
            f"The level {level} of {name} leaves no room to slide; give rows near the films' middles."
        )
    window_pixel = min(
        min(_WINDOW_PER_REACH * _reach(film, middle) / size[0], film.shape[1] / size[1]) * pixel
        for film, middle, pixel in zip(films, middles, pixels, strict=True)
    )
    factors = [pixel / window_pixel for pixel in pixels]
    scaled = [_rescaled(film, factor, size) for film, factor in zip(films, factors, strict=True)]
    pairs = []
    for fixed, other in ((0, 1), (1, 0)):
        still = _cut(scaled[fixed], middles[fixed] * factors[fixed], size[0])
        span = size[0] // 3
        wide = _cut(scaled[other], middles[other] * factors[other], size[0] + span)
        offsets = tuple(round(span * step / (_STEPS - 1)) for step in range(_STEPS))
        pairs.append(SlopePair(person, still, wide, offsets, name=f"{name}, {'ab'[other]} slides"))
    return pairs


def _reach(film: Tensor, middle: float) -> float:
    """Rows between a middle and the nearer edge of the film."""
    return min(middle, film.shape[0] - middle)


def _cut(film: Tensor, middle: float, rows: int) -> Tensor:
    """Rows of a film around a middle; rounding may have left it a row too short, hence the clamp."""
    top = min(max(round(middle - rows / 2), 0), len(film) - rows)
    return film[top : top + rows]


def _rescaled(film: Tensor, factor: float, size: tuple[int, int]) -> Tensor:
    """The film at the matcher's scale, cut in columns around the middle of its brightness."""
    shape = (
        max(size[0] + size[0] // 3, round(film.shape[0] * factor)),
        max(size[1], round(film.shape[1] * factor)),
    )
    image = functional.interpolate(
        film[None, None], shape, mode="bilinear", antialias=True, align_corners=False
    )[0, 0]
    weight = (image - image.quantile(0.1)).clamp(min=0.0).sum(0) + 1e-6
    centre = (weight * torch.arange(shape[1])).sum() / weight.sum()
    left = min(max(round(centre.item() - (size[1] - 1) / 2), 0), shape[1] - size[1])
    return image[:, left : left + size[1]].clamp(0.0, 1.0)


def _checked_film(image: Tensor, name: str) -> Tensor:
    if min(image.shape) < 32 or not torch.isfinite(image).all():
        shape = " x ".join(map(str, image.shape))
        raise InputError(
            f"A film of {name} ({shape}) is unusable; give finite images of 32 x 32 pixels or more."
        )
    return image.detach().float().cpu()


def _middle_half(grid: tuple[int, int]) -> Bool[Tensor, " patch"]:
    """Patches whose centre lies in the middle half of the rows."""
    row = (torch.arange(grid[0]) + 0.5) / grid[0]
    return ((row > 0.25) & (row < 0.75)).repeat_interleave(grid[1])


def _person_interval(pairs: list[PairSlope], draws: int, seed: int) -> tuple[float, float]:
    """95 % interval of the pooled slope over persons drawn with replacement; NaN for fewer than two."""
    persons = sorted({pair.person for pair in pairs})
    if len(persons) < 2:
        return nan, nan
    sums = np.zeros((len(persons), 2))
    for pair in pairs:
        sums[persons.index(pair.person)] += pair.covariance, pair.variance
    drawn = person_weights(len(persons), draws, seed) @ sums
    return percentile_interval(drawn[:, 0] / drawn[:, 1])
