"""What one set of weights, or the truth, says of a study: asked for a point, it answers with bands or declines."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor

from crossray.errors import InputError
from crossray.evaluation.calibration import DOUBTFUL, UNRELATED
from crossray.evaluation.judged import strength
from crossray.matching import Matches
from crossray.matching.preprocess import Field as Frame

UNSURE = 0.25
"""Probability of the likeliest patch below which no band is shown."""
COVERAGE = 0.9
KEPT = 2048
"""Points whose bands are kept ready."""


class Band(BaseModel):
    """Where a point of one view lies in another."""

    view: int
    found: bool = Field(description="False: no confident match, and no band to believe.")
    reason: str = Field(default="", description="Why there is none.")
    probability: float = Field(description="Of the likeliest patch.")
    point: tuple[float, float] | None = Field(
        default=None, description="Middle of the likeliest patch."
    )
    related: float | None = Field(
        default=None, description="Probability that the views show one limb."
    )
    coverage: float | None = Field(
        default=None, description="Share of what matches that the region holds."
    )
    share: float = Field(default=0.0, description="Share of the film's patches in the region.")
    region: list[tuple[float, float, float, float, float]] = Field(
        default_factory=list,
        description="Its patches, likeliest first: first row and column, end row and column (edges, in the film's "
        "pixels), and probability.",
    )


class Answer:
    """Matches without their films' pixels, ready to be asked often.

    Args:
        matches: What was matched; its films' pixels are let go.
    """

    def __init__(self, matches: Matches) -> None:
        self.matches = matches
        calibration = matches.calibration
        worth = matches.probability if calibration else matches.correspondence
        self._probability = worth.numpy()
        self.boxes = matches.patch_box.numpy()
        area = (self.boxes[..., 2:] - self.boxes[..., :2]).prod(-1)
        self._on_film = area > 0
        self.related = _related(matches)
        self._asked = lru_cache(KEPT)(
            self._bands
        )  # who hovers asks for few patches, again and again

    def bands(self, view: int, point: tuple[float, float], coverage: float) -> list[Band]:
        """Where a point of one view lies in all others.

        Raises:
            InputError: No such view, a point beside its film, or a coverage that was never fitted.
        """
        return self._asked(view, self.matches.patch_at(view, point), coverage)

    def _bands(self, view: int, patch: int, coverage: float) -> list[Band]:
        others = (other for other in range(len(self.matches)) if other != view)
        return [self._band(view, patch, other, coverage) for other in others]

    def spread(self, view: int, other: int) -> np.ndarray:
        """How widely each patch's match is spread over another view, 0 to 1; 0 where there is no confident match."""
        worth = self._probability[view, other]
        total = worth.sum(1)
        share = worth / np.maximum(total, 1e-12)[:, None]
        entropy = -(share * np.log(np.maximum(share, 1e-12))).sum(1)
        spread = np.exp(entropy) / self._on_film[other].sum()
        return np.where(worth.max(1) >= UNSURE, np.minimum(spread, 1.0), 0.0)

    def middle(self, view: int, patch: int) -> tuple[float, float]:
        """Row and column of a patch's middle."""
        top, left, bottom, right = self.boxes[view, patch].tolist()
        return (top + bottom - 1) / 2, (left + right - 1) / 2

    def around(self, patch: int) -> np.ndarray:
        """The patch and its neighbours."""
        rows, columns = self.matches.grid
        row, column = divmod(patch, columns)
        down, across = np.arange(rows)[:, None] - row, np.arange(columns)[None] - column
        return np.flatnonzero((abs(down) <= 1) & (abs(across) <= 1))

    def level_deg(self, view: int, other: int) -> float:
        """Direction across the levels of `other`, beside `view`; 0 (rows are levels) where the matches do not tell."""
        related = self.related[view][other] if self.related else 0.0
        if related < DOUBTFUL:
            return 0.0
        try:
            return self.matches.relative_pose(view, other).level_deg[1]
        except InputError:
            return 0.0

    def _band(self, view: int, patch: int, other: int, coverage: float) -> Band:
        row = self._probability[view, other, patch]
        related = None if self.related is None else self.related[view][other]
        best = int(row.argmax())
        facts: dict[str, Any] = {
            "view": other, "probability": float(row[best]), "related": related
        }  # fmt: skip
        if related is not None and related < UNRELATED:
            return Band(found=False, reason="these films most likely show different limbs", **facts)
        if row[best] < UNSURE:
            return Band(found=False, reason="no confident match", **facts)
        chosen = self._chosen(view, patch, other, coverage)
        order = chosen[np.argsort(-row[chosen], kind="stable")]
        return Band(
            found=True,
            point=self.middle(other, best),
            coverage=coverage if self.matches.calibration else None,
            share=len(order) / int(self._on_film[other].sum()),
            region=np.column_stack([self.boxes[other, order], row[order]]).round(4).tolist(),
            **facts,
        )

    def _chosen(self, view: int, patch: int, other: int, coverage: float) -> np.ndarray:
        """Patches of the region; without a calibration, those that match by the definition's own line."""
        row = self.matches.correspondence[view, other, patch]
        if self.matches.calibration is None:
            return np.flatnonzero(row.numpy() > UNSURE)
        return np.flatnonzero(self.matches.calibration.chosen(row, coverage).numpy())

    def summary(self) -> dict[str, Any]:
        """What a client needs to draw bands by itself from the raw values."""
        calibration = self.matches.calibration
        fitted = None
        if calibration is not None:
            fitted = {"match": calibration.match, "region": calibration.region}
        return {
            **self.matches.summary(),
            "related": self.related,
            "calibration": fitted,
            "unrelated_below": UNRELATED,
            "unsure_below": UNSURE,
        }

    def raw(self) -> bytes:
        """All values as 16-bit little-endian shares of 65535: [view, other view, patch, other patch]."""
        values = self.matches.correspondence.numpy()
        return (values * np.float32(65535)).round().astype("<u2").tobytes()


def truth_answer(
    truth: Tensor, grid: tuple[int, int], sizes: list[tuple[int, int]], names: list[str]
) -> Answer:
    """The true matrix of a rendering as an answer; its patches cover the films."""
    matches = Matches(
        correspondence=truth.float(),
        grid=grid,
        fields=tuple(Frame(0.0, 0.0, float(rows), float(columns)) for rows, columns in sizes),
        images=tuple(blank(size) for size in sizes),
        names=tuple(names),
        weights="truth",
    )
    return Answer(matches)


def blank(size: tuple[int, int]) -> Tensor:
    """A film that has a size and takes no memory."""
    return torch.zeros(()).expand(size)


def _related(matches: Matches) -> list[list[float]] | None:
    if matches.calibration is None:
        return None
    views = range(len(matches))
    probability = matches.calibration.related_probability
    return [
        [1.0 if k == m else probability(strength(matches.correspondence[k, m])) for m in views]
        for k in views
    ]
