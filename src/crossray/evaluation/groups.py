"""Kinds of pairs of views a score is also given for: how far apart they look, and how much of one the other shows."""

import torch

from crossray.correspondence.patches import POSITIVE_ABOVE
from crossray.data.sample import Sample
from crossray.geometry.views import turn_deg

ANGLES = (45.0, 70.0)
OVERLAPS = (0.25, 0.5)
"""Inner edges of the groups; the outer ones are 0, 90 degrees and 1."""


def groups_of(sample: object) -> list[tuple[str, str]]:
    """The groups of a pair of views, as kind and name; none for what is no rendered pair.

    `angle`: between the two beams taken as undirected lines, as opposite beams show the same. `overlap`: share of the
    patches of both views that match anything in the other.
    """
    if not isinstance(sample, Sample) or len(sample.images) != 2:
        return []
    turn = turn_deg(sample.cameras)
    seen = sample.correspondence[[0, 1], [1, 0]].amax(-1) > POSITIVE_ABOVE
    return [
        ("angle", _between(min(turn, 180 - turn), (0.0, *ANGLES, 90.0), " degrees")),
        ("overlap", _between(seen.float().mean().item(), (0.0, *OVERLAPS, 1.0), "")),
    ]


def _between(value: float, edges: tuple[float, ...], unit: str) -> str:
    place = int(torch.bucketize(value, torch.tensor(edges[1:-1]), right=True))
    return f"{edges[place]:g} to {edges[place + 1]:g}{unit}"
