"""From the places of slices to an even stack: sorted, freed of doubles, and with small holes bridged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.volumes.dicom_headers import Slice

# How far a slice may lie from its place in an even stack, as a share of the distance between
# slices. Positions rounded to 0.1 mm pass, one missing slice does not.
_TOLERANCE = 0.1
_SAME_MM = 1e-3

BRIDGED_MM = 6.0
"""Values are interpolated between slices at most this far apart ..."""
BRIDGED_STEPS = 3.0
"""... and at most this many times the usual distance: no more than two missing slices in a row."""


@dataclass(frozen=True)
class Stack:
    """An even stack of slices.

    Args:
        slices: From first to last along their normal, one a place.
        at: Place of every slice of the stack, as a fractional index into `slices`; None where it is they.
        world_from_voxel: Affine of the stack, LPS in mm; sheared where the gantry was tilted.
        notes: What had to be repaired.
    """

    slices: list[Slice]
    at: Float[Tensor, " even"] | None
    world_from_voxel: Float[Tensor, "4 4"]
    notes: tuple[str, ...]


def even_stack(
    folder: Path, slices: Sequence[Slice], same_pixels: Callable[[Slice, Slice], bool]
) -> Stack:
    """Sort slices along their normal and make one even stack of them.

    Args:
        folder: What to call them in messages.
        slices: In any order.
        same_pixels: Whether two slices hold the same values.

    Raises:
        InputError: Fewer than two slices, slices of several grids or orientations, two different ones at one place,
            slices beside the line through the others, or a hole too wide to interpolate across.
    """
    _check_grids(folder, slices)
    row, column = torch.tensor(slices[0].orientation, dtype=torch.float64).reshape(2, 3)
    normal = torch.linalg.cross(row, column)
    ordered = sorted(slices, key=lambda one: float(_positions([one])[0] @ normal))
    kept = _without_doubles(folder, ordered, same_pixels)
    notes = []
    if len(kept) < len(ordered):
        notes.append(
            f"{folder}: {len(ordered) - len(kept)} slice(s) were there twice; one of each was kept."
        )
    _require(len(kept) > 1, f"{folder} holds one slice; give the folder of its slices.")
    positions = _positions(kept)
    _check_line(folder, positions, positions @ normal)
    at, note = _even_places(folder, positions @ normal)
    count = len(kept) if at is None else len(at)
    between_rows, between_columns = slices[0].pixel_mm
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, 0] = row * between_columns
    affine[:3, 1] = column * between_rows
    affine[:3, 2] = (positions[-1] - positions[0]) / (count - 1)
    affine[:3, 3] = positions[0]
    return Stack(kept, at, affine, (*notes, *note))


def _require(good: bool, message: str) -> None:
    if not good:
        raise InputError(message)


def _positions(slices: Sequence[Slice]) -> Float[Tensor, "slice 3"]:
    return torch.tensor([one.position for one in slices], dtype=torch.float64)


def _check_grids(folder: Path, slices: Sequence[Slice]) -> None:
    first = slices[0]
    _require(
        all((one.size, one.pixel_mm) == (first.size, first.pixel_mm) for one in slices),
        f"{folder} has slices of different size or pixel spacing; keep those of one stack only.",
    )
    orientation = torch.tensor([one.orientation for one in slices], dtype=torch.float64)
    _require(
        float((orientation - orientation[0]).abs().max()) < 1e-3,
        f"{folder} has slices of different orientation (a localizer?); keep those of one stack.",
    )


def _without_doubles(
    folder: Path, ordered: Sequence[Slice], same_pixels: Callable[[Slice, Slice], bool]
) -> list[Slice]:
    """One slice a place; two that differ at one place are two phases or two series."""
    kept = [ordered[0]]
    for one in ordered[1:]:
        last = kept[-1]
        apart = float(torch.linalg.norm(_positions([one]) - _positions([last])))
        if apart > _SAME_MM:
            kept.append(one)
            continue
        _require(
            same_pixels(last, one),
            f"{folder} has two different slices at the same place (several phases?), {Path(last.file).name} and "
            f"{Path(one.file).name}; keep one of each.",
        )
    return kept


def _check_line(
    folder: Path, positions: Float[Tensor, "slice 3"], height: Float[Tensor, " slice"]
) -> None:
    """Refuse slices beside the line through the first and the last, and two at one height."""
    gaps = height.diff()
    share = ((height - height[0]) / (height[-1] - height[0]))[:, None]
    off = torch.linalg.norm(positions - torch.lerp(positions[0], positions[-1], share), dim=1)
    _require(
        float(gaps.min()) > _SAME_MM and float(off.max()) < _TOLERANCE * float(gaps.median()),
        f"{folder} has slices that lie beside each other instead of in one stack; export the "
        "series again, or keep those of one stack.",
    )


def _even_places(
    folder: Path, height: Float[Tensor, " slice"]
) -> tuple[Float[Tensor, " even"] | None, tuple[str, ...]]:
    """Where the slices of an even stack lie among those there are, and what to say about it."""
    gaps = height.diff()
    usual, widest = float(gaps.median()), int(gaps.argmax())
    first, last = float(height[0]), float(height[-1])
    even = torch.linspace(first, last, len(height), dtype=torch.float64)
    if float((height - even).abs().max()) < _TOLERANCE * usual:
        return None, ()
    hole = f"{float(gaps[widest]):.2f} mm between slices {widest + 1} and {widest + 2}"
    _require(
        float(gaps[widest]) <= min(BRIDGED_MM, (BRIDGED_STEPS + _TOLERANCE) * usual),
        f"{folder} has unevenly spaced slices, {hole} but {usual:.2f} mm elsewhere, too wide a "
        f"hole to interpolate ({BRIDGED_MM:g} mm and two missing slices are the most); add the missing slices or "
        "export the series again.",
    )
    count = round((last - first) / usual) + 1
    wanted = torch.linspace(first, last, count, dtype=torch.float64)
    above = torch.searchsorted(height, wanted).clamp(1, len(height) - 1)
    at = above - 1 + (wanted - height[above - 1]) / gaps[above - 1]
    steps = gaps / usual
    missing = int(steps.round().sum()) - len(gaps)
    if missing > 0 and float((steps - steps.round()).abs().max()) < 2 * _TOLERANCE:
        note = f"{missing} slice(s) missing ({hole}, {usual:.2f} mm elsewhere) were interpolated linearly."
    else:
        note = (
            f"its slices are unevenly spaced ({float(gaps.min()):.2f} to {float(gaps.max()):.2f} mm); they were "
            f"resampled linearly to {(last - first) / (count - 1):.2f} mm."
        )
    return at, (f"{folder}: {note}",)
