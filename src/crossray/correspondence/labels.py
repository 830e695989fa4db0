"""The truth of each labelled structure alone: a bone, a lesion, whatever a label map names."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.correspondence.ground_truth import correspondence
from crossray.correspondence.patches import TissueWeight
from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.volumes.volume import Volume


def correspondence_by_label(
    volume: Volume,
    labels: Volume,
    cameras: Cameras,
    patch: int = 16,
    weight: Callable[[Tensor], Tensor] | None = TissueWeight(),
    itself: bool = True,
) -> dict[int, Float[Tensor, "view view patch patch"]]:
    """The exact matrix of each label's voxels alone.

    Every voxel has one label, so the largest entry over labels is that of the whole volume's matrix.

    Args:
        volume: Hounsfield units.
        labels: As for `weights_by_label`.
        cameras: As for `correspondence`.
        patch: As for `correspondence`.
        weight: As for `correspondence`.
        itself: As for `correspondence`.

    Returns:
        A matrix for every label that occurs, 0 (what has no name) included.

    Raises:
        InputError: As for `correspondence` and `weights_by_label`.
    """
    matrices = {}
    for label, part in weights_by_label(volume, labels, weight):
        matrices[label] = correspondence(part, cameras, patch, weight=None, itself=itself)
        del part  # before the next one is made
    return matrices


def weights_by_label(
    volume: Volume,
    labels: Volume,
    weight: Callable[[Tensor], Tensor] | None = TissueWeight(),
) -> Iterator[tuple[int, Volume]]:
    """The weights of each label's voxels, 0 elsewhere: volumes for every function of this room, with `weight=None`.

    Args:
        volume: Hounsfield units.
        labels: On the same grid, whole numbers from 0; a label map in any format `read_ct` takes.
        weight: As for `correspondence`.

    Returns:
        An iterator of each label that occurs, ascending, and its weights in [0, 1].

    Raises:
        InputError: Labels on another grid, below 0 or not whole.
    """
    _check_labels(volume, labels)
    weights = volume.values if weight is None else weight(volume.values)
    return (
        (int(label), replace(volume, values=weights.where(labels.values == label, 0.0)))
        for label in sorted({n for slab in labels.values.split(16) for n in slab.unique().tolist()})
    )


def _check_labels(volume: Volume, labels: Volume) -> None:
    """Refuse labels whose grid is off by 1 % of a voxel anywhere, or that are no labels."""
    if labels.values.shape != volume.values.shape:
        raise InputError(
            f"{labels.name} has shape {tuple(labels.values.shape)} and {volume.name} {tuple(volume.values.shape)}; "
            "give labels on the volume's own grid."
        )
    z, y, x = volume.values.shape
    furthest = torch.tensor([x, y, z, 1.0], dtype=torch.float64)
    shift = (volume.voxel_from_world @ labels.world_from_voxel - torch.eye(4)) * furthest
    if shift.abs().max() > 0.01:
        raise InputError(
            f"{labels.name} lies elsewhere than {volume.name}: their world_from_voxel differ; "
            "resample the labels (nearest neighbour) to the volume's grid."
        )
    if labels.values.min() < 0 or not torch.equal(labels.values, labels.values.round()):
        raise InputError(
            f"{labels.name} holds values that are no labels; give whole numbers from 0."
        )
