"""Which boxes of a detector, in two or more views, show the same lesion.

Where a box of one view lies in another is told by the mean of its patches' rows of the matrix: its band. A box of the
other view is linked the more surely, the nearer what it holds of the band comes to the band's best place; both ways.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Annotated

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from crossray.data.checked import read_checked
from crossray.errors import InputError
from crossray.matching.matches import Matches

Edge = Annotated[float, Field(allow_inf_nan=False)]
Box = tuple[Edge, Edge, Edge, Edge]
"""First row, first column, last row, last column, as edges: pixel (r, c) fills [r, r + 1) x [c, c + 1)."""

COEFFICIENTS = (3.87, 4.12)
"""Slope and offset of the logistic in `link_feature`: `benchmarks/link_auroc.py --fit` on simulated lesions of people
the bundled weights were trained on, pairs of one lesion counting as much as all others."""

LINKED = 0.5
"""Probability from which two boxes are taken for one lesion."""

_TINY = 1e-4


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Found(_Checked):
    """A box that a detector found, and how sure it was."""

    box: Box
    score: float | None = None


class View(_Checked):
    """A film and its boxes.

    Args:
        file: Its path, relative to the folder of the boxes' file.
        name: What to call it; the file's name unless told.
        boxes: What was found in it.
    """

    file: str
    name: str | None = None
    boxes: tuple[Found, ...] = ()


class Detections(_Checked):
    """What a detector found in the films of one study."""

    views: tuple[View, ...]


@dataclass(frozen=True)
class Link:
    """How probable it is that two boxes, each (view, number), show the same lesion, where half of all pairs do."""

    first: tuple[int, int]
    second: tuple[int, int]
    probability: float


@dataclass(frozen=True)
class Links:
    """All pairs of boxes across views, and the lesions they make.

    Args:
        pairs: Every pair of boxes of two different views.
        lesions: Every box in one group of at most one box a view, the groups with the most boxes first.
    """

    pairs: tuple[Link, ...]
    lesions: tuple[tuple[tuple[int, int], ...], ...]


def read_detections(path: Path) -> Detections:
    """Read a detector's boxes.

    Raises:
        InputError: No such file, or one of another shape.
    """
    return read_checked(path, Detections, "boxes", "docs/fractures-simulated.md")


def link_boxes(matches: Matches, boxes: Sequence[Sequence[Box]]) -> Links:
    """Say which boxes show the same lesion.

    Args:
        matches: Of the films the boxes were found in.
        boxes: One list a view.

    Raises:
        InputError: Another number of lists than of views, or a box without area on its film.
    """
    if len(boxes) != len(matches):
        raise InputError(
            f"{len(boxes)} lists of boxes were given for {len(matches)} views; give one each."
        )
    shares = [[patch_share(matches, view, box) for box in some] for view, some in enumerate(boxes)]
    slope, offset = COEFFICIENTS
    pairs = []
    for view, later in combinations(range(len(boxes)), 2):
        matrix = matches.correspondence[view, later]
        for (i, own), (j, other) in product(enumerate(shares[view]), enumerate(shares[later])):
            logit = slope * link_feature(matrix, own, other) + offset
            pairs.append(Link((view, i), (later, j), 1 / (1 + math.exp(-logit))))
    every = [(view, i) for view, some in enumerate(boxes) for i in range(len(some))]
    return Links(tuple(pairs), tuple(_grouped(every, pairs)))


def link_feature(
    matrix: Float[Tensor, "patch other_patch"],
    own: Float[Tensor, " patch"],
    other: Float[Tensor, " other_patch"],
) -> float:
    """How near the mean match of two boxes comes to the best patch of either one's band: mean of both logarithms."""
    band, back = own @ matrix, matrix @ other
    held, *best = (float(x) + _TINY for x in (band @ other, band.max(), back.max()))
    return math.log(held) - 0.5 * (math.log(best[0]) + math.log(best[1]))


def patch_share(matches: Matches, view: int, box: Box) -> Float[Tensor, " patch"]:
    """How a box is spread over the patches of its view; adds up to 1.

    Raises:
        InputError: A box without area on its film.
    """
    patches = matches.patch_box[view]
    sides = [
        (patches[:, end].clamp(max=box[end]) - patches[:, start].clamp(min=box[start])).clamp(min=0)
        for start, end in ((0, 2), (1, 3))
    ]
    area = sides[0] * sides[1]
    if not area.sum() > 0:
        rows, columns = matches.image_size[view]
        raise InputError(
            f"The box {list(box)} has no area on {matches.names[view]} ({rows} x {columns} pixels); give first "
            "row, first column, last row, last column."
        )
    return area / area.sum()


def links_json(matches: Matches, detections: Detections, links: Links) -> str:
    """The answer as a file of text: every pair, and every lesion with its boxes."""

    def told(place: tuple[int, int]) -> dict[str, object]:
        view, number = place
        found = detections.views[view].boxes[number]
        return {
            "view": matches.names[view],
            "number": number,
            **found.model_dump(exclude_none=True),
        }

    pairs = [
        {
            "first": told(link.first),
            "second": told(link.second),
            "probability": round(link.probability, 4),
        }
        for link in links.pairs
    ]
    lesions = [[told(place) for place in lesion] for lesion in links.lesions]
    content = {
        "weights": matches.weights,
        "linked_from": LINKED,
        "lesions": lesions,
        "pairs": pairs,
    }
    return json.dumps(content, indent=2) + "\n"


def _grouped(every: list[tuple[int, int]], pairs: list[Link]) -> list[tuple[tuple[int, int], ...]]:
    """Groups joined along the most probable links first, never two boxes of one view; a box may stay alone."""
    group = {box: [box] for box in every}
    for link in sorted(pairs, key=lambda link: -link.probability):
        first, second = group[link.first], group[link.second]
        views = [view for view, _ in (*first, *second)]
        if link.probability >= LINKED and first is not second and len(set(views)) == len(views):
            first.extend(second)
            group.update(dict.fromkeys(second, first))
    distinct = {id(boxes): tuple(sorted(boxes)) for boxes in group.values()}
    return sorted(distinct.values(), key=lambda boxes: (-len(boxes), boxes))
