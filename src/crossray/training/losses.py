"""Losses between a predicted and a true correspondence, both in [0, 1].

Each is a mean over the pairs of patches that are known; what is not labelled costs nothing. A view is never
compared with itself, and block (l, k) is the transpose of (k, l), so only `upper_blocks` are looked at.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossray.correspondence.patches import POSITIVE_ABOVE

POSITIVE_WEIGHT = 4.0  # one pair in thirty matches; this much more counts an error on a full match
SMALLEST = 1e-6  # probabilities are kept this far from 0 and 1: a logarithm of at most 14

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def squared_error(
    prediction: Float[Tensor, "*any"],
    truth: Float[Tensor, "*any"],
    known: Bool[Tensor, "*any"] | None = None,
) -> Float[Tensor, ""]:
    """The paper's loss: mean of (prediction - truth)^2.

    Args:
        prediction: Correspondence in [0, 1].
        truth: Correspondence in [0, 1].
        known: Pairs that carry a label; all, if None.

    Returns:
        Mean over the known pairs; 0 where none is known.
    """
    return _mean((prediction - truth).square(), known)


def weighted_squared_error(
    prediction: Float[Tensor, "*any"],
    truth: Float[Tensor, "*any"],
    known: Bool[Tensor, "*any"] | None = None,
) -> Float[Tensor, ""]:
    """Squared error in which a pair weighs 1 + 4 x truth, so that the few matches are heard.

    Args:
        prediction: Correspondence in [0, 1].
        truth: Correspondence in [0, 1].
        known: Pairs that carry a label; all, if None.

    Returns:
        Mean over the known pairs; 0 where none is known.
    """
    return _mean((1 + POSITIVE_WEIGHT * truth) * (prediction - truth).square(), known)


def match_squared_error(
    prediction: Float[Tensor, "*any"],
    truth: Float[Tensor, "*any"],
    known: Bool[Tensor, "*any"] | None = None,
) -> Float[Tensor, ""]:
    """Squared error against whether two patches match, C > 0.2: its least is the probability that they do.

    The average precision ranks by that probability, not by the mean of C.

    Args:
        prediction: Probability of a match, in [0, 1].
        truth: Correspondence in [0, 1].
        known: Pairs that carry a label; all, if None.

    Returns:
        Mean over the known pairs; 0 where none is known.
    """
    return squared_error(prediction, (truth > POSITIVE_ABOVE).to(prediction.dtype), known)


def cross_entropy(
    prediction: Float[Tensor, "*any"],
    truth: Float[Tensor, "*any"],
    known: Bool[Tensor, "*any"] | None = None,
) -> Float[Tensor, ""]:
    """Binary cross-entropy with a soft target, -t log p - (1 - t) log(1 - p), in nats.

    Args:
        prediction: Correspondence in [0, 1].
        truth: Correspondence in [0, 1].
        known: Pairs that carry a label; all, if None.

    Returns:
        Mean over the known pairs; 0 where none is known.
    """
    safe = prediction.clamp(SMALLEST, 1 - SMALLEST)
    return _mean(-(truth * safe.log() + (1 - truth) * torch.log1p(-safe)), known)


LOSSES: dict[str, Loss] = {
    "squared_error": squared_error,
    "weighted_squared_error": weighted_squared_error,
    "match_squared_error": match_squared_error,
    "cross_entropy": cross_entropy,
}


def _mean(cost: Tensor, known: Tensor | None) -> Tensor:
    if known is None:
        return cost.mean()
    return torch.where(known, cost, 0.0).sum() / known.sum().clamp(min=1)
