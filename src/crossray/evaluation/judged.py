"""A matcher's word on pairs of views beside what is so: what a calibration is fitted to and judged on."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from crossray.correspondence.epipolar import LevelAgreement, half_turn, level_agreement
from crossray.correspondence.patches import POSITIVE_ABOVE
from crossray.data.sample import Sample
from crossray.errors import InputError
from crossray.evaluation.slope import Predict
from crossray.geometry import Cameras
from crossray.geometry.epipolar import fundamental_matrix
from crossray.geometry.views import turn_deg

STRANGERS = ("another person", "noise")
"""Kinds of second view that does not belong to the first."""


@dataclass(frozen=True)
class JudgedPair:
    """What a matcher said of two views of one limb, and what is so.

    Args:
        person: Whose limb.
        predicted: Its matrix.
        truth: The true one.
        strangers: By kind of second view that does not belong (another person's, noise): the `strength` it found.
        agreement: How the levels lie by the predicted matrix; all zeros where it tells nothing.
        cameras: Of the two views.
    """

    person: str
    predicted: Float[Tensor, "patch patch"]
    truth: Float[Tensor, "patch patch"]
    strangers: dict[str, float]
    agreement: LevelAgreement
    cameras: Cameras

    @property
    def turn_deg(self) -> float:
        """Angle between the two beams, 0 to 180."""
        return turn_deg(self.cameras)

    @property
    def cosine(self) -> float:
        """Of the angle between the two beams."""
        return math.cos(math.radians(self.turn_deg))

    def roll_error_deg(self, told: float | None = None) -> float:
        """Distance of a roll, by default the matrix's, to that of the epipolar lines through the views' middles."""
        fundamental = fundamental_matrix(self.cameras, 0, 1)
        rows, columns = self.cameras.size
        middle = torch.tensor([(rows - 1) / 2, (columns - 1) / 2, 1.0], dtype=torch.float64)
        first, second = (fundamental.T @ middle)[:2], (fundamental @ middle)[:2]
        angles = [torch.rad2deg(torch.atan2(line[1], line[0])).item() for line in (first, second)]
        told = self.agreement.roll_deg if told is None else told
        return abs(half_turn(angles[0] - angles[1] - told))

    @cached_property
    def both_ways(self) -> tuple[Float[Tensor, "query patch"], Bool[Tensor, "query patch"]]:
        """Every patch of either view that matches something in the other: what was said, and which match."""
        said = torch.cat([self.predicted, self.predicted.T])
        true = torch.cat([self.truth, self.truth.T]) > POSITIVE_ABOVE
        asked = true.any(1)
        return said[asked], true[asked]


def strength(matrix: Float[Tensor, "patch other_patch"]) -> float:
    """How much two views have in common: the mean over all patches of their best match.

    Patches that match nothing at all lie beside their film or where it is bare, and are left out.
    """
    best = (matrix.amax(0), matrix.amax(1))
    return sum((each.sum() / (each > 0).sum().clamp(min=1)).item() for each in best) / 2


def judged(
    predict: Predict,
    samples: Sequence[tuple[str, str, Sample]],
    grid: tuple[int, int],
    seed: int = 0,
) -> Iterator[JudgedPair]:
    """Ask a matcher about the first two views of every sample, and about the first beside a stranger of every kind.

    Args:
        predict: The matcher.
        samples: Person, volume name and sample.
        grid: Rows and columns of the patch grid.
        seed: Of the noise, and of who is set beside whom.

    Raises:
        InputError: Samples of a single person.
    """
    persons = [person for person, _, _ in samples]
    rng = np.random.default_rng(seed)
    for person, _, sample in samples:
        others = [i for i, other in enumerate(persons) if other != person]
        if not others:
            raise InputError("Strangers need CTs of two people or more; give a folder with more.")
        first, second = sample.images[:2]
        seconds = [second, samples[rng.choice(others)][2].images[1], _noise(rng, second)]
        with torch.inference_mode():
            said = predict(torch.stack([torch.stack([first, each]) for each in seconds]))[:, 0, 1]
        said = said.float().cpu()
        yield JudgedPair(
            person=person,
            predicted=said[0],
            truth=sample.correspondence[0, 1],
            strangers={
                kind: strength(matrix) for kind, matrix in zip(STRANGERS, said[1:], strict=True)
            },
            agreement=_agreement(said[0], grid),
            cameras=sample.cameras[[0, 1]],
        )


def _agreement(matrix: Float[Tensor, "patch patch"], grid: tuple[int, int]) -> LevelAgreement:
    """What the matrix tells of the levels; no roll and no correlation where it tells nothing."""
    try:
        return level_agreement(matrix, grid)
    except InputError:
        return LevelAgreement(0.0, 0.0, 0.0, 0.0)


def _noise(
    rng: np.random.Generator, like: Float[Tensor, "row column"]
) -> Float[Tensor, "row column"]:
    """Noise with grain of 1 to 64 pixels, from 0 to 1."""
    grain = 2 ** int(rng.integers(7))
    size = [max(2, side // grain) for side in like.shape]
    coarse = torch.from_numpy(rng.normal(size=(1, 1, *size))).float()
    smooth = functional.interpolate(coarse, size=tuple(like.shape), mode="bicubic")[0, 0]
    low, high = smooth.quantile(torch.tensor([0.01, 0.99]))
    return ((smooth - low) / (high - low)).clamp(0, 1)
