"""Whether a CT holds Hounsfield units, told by its air and tissue, and mended where these prove how."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from crossray.errors import InputError
from crossray.volumes.volume import AIR_HU, Volume

# No matter lies below -1000 HU; noise in air reaches down to here, padding lies lower.
_LOWEST_HU = -1200.0
_FAT_HU = -100.0
_PADDED = 0.001  # share of voxels from which one impossible value is padding ...
_ALONE = 100.0  # ... if no other value lies so near above it
_STRAY = 0.01  # share of other impossible values (streaks of metal) that is let pass

# Air stored without its intercept lies a little above 0, and this far below fat or muscle.
_STORED_AIR = (-60.0, 100.0)
_AIR_TO_TISSUE = (850.0, 1150.0)
_DENSEST_AIR, _DENSE_HU = -850.0, 400.0
_LOOKED_AT = 2_000_000


def as_hounsfield(volume: Volume) -> Volume:
    """The volume in HU, with a note for each thing mended.

    Padding (a value below -1200 HU that stands alone and fills at least 0.1 % of the voxels) becomes air. Values
    without their intercept are shifted so that air lies at -1000, where the volume proves it: nothing is as thin as
    fat, air lies about 0, and tissue 850 to 1150 above it.

    Args:
        volume: What a file holds after its own rescaling.

    Returns:
        The same volume where all is well.

    Raises:
        InputError: Values that are not HU, with no proof of what they are.

    Source:
        N. Otsu, IEEE Trans Syst Man Cybern 9 (1979) 62-66.
    """
    padding = _padding(volume.values)
    values = _spread(volume.values)
    for value in padding:
        values = values[values != value]
    shift, note = _shift(volume.name, values)
    notes = [*(f"the padding value {value:g} became air." for value in padding), *note]
    if not notes:
        return volume
    hu = volume.values + shift
    for mended, stored in zip(hu, volume.values, strict=True):
        for value in padding:
            mended[stored == value] = AIR_HU
    said = tuple(f"{volume.name}: {note}" for note in notes)
    return replace(volume, values=hu, notes=volume.notes + said)


def _padding(values: Float[Tensor, "z y x"]) -> list[float]:
    """Impossible values that stand alone and are too frequent to be noise."""
    found = []
    lowest, left = float(values.min()), values.numel()
    while lowest < _LOWEST_HU:
        count, above = _beyond(values, lowest)
        if not count or 1 - count / left < _PADDED or above - lowest < _ALONE:
            break
        found.append(lowest)
        lowest, left = above, count
    return found


def _beyond(values: Float[Tensor, "z y x"], bound: float) -> tuple[int, float]:
    """How many values lie above a bound, and the least of them; slice by slice, to save memory."""
    count, least = 0, float("inf")
    for plane in values:
        above = plane[plane > bound]
        if above.numel():
            count, least = count + above.numel(), min(least, float(above.min()))
    return count, least


def _shift(name: str, values: Shaped[np.ndarray, " voxel"]) -> tuple[float, list[str]]:
    """What to add to make HU of values, and what to say about it."""
    below = float((values < _LOWEST_HU).mean())
    if below > _STRAY:
        raise InputError(
            f"{name} has {below:.1%} of its voxels below {_LOWEST_HU:g} HU, where no matter lies; its rescale is "
            "wrong or was applied twice, export it again."
        )
    low, high = np.quantile(values, (0.001, 0.999))
    air, tissue = _peaks(values, low, high)
    if low <= _FAT_HU:
        if air > _DENSEST_AIR or tissue < _DENSE_HU:
            return 0.0, []
        return 0.0, [
            f"apart from air, most of it lies at {tissue:.0f} HU; unless it is dry bone, its rescale slope is wrong."
        ]
    if (
        _STORED_AIR[0] <= air <= _STORED_AIR[1]
        and _AIR_TO_TISSUE[0] <= tissue - air <= _AIR_TO_TISSUE[1]
    ):
        return AIR_HU - air, [
            f"its values lack the rescale intercept (air lies at {air:.0f}, tissue at {tissue:.0f}); "
            f"{air - AIR_HU:.0f} was taken off, which puts air at -1000 HU."
        ]
    raise InputError(
        f"{name} does not hold Hounsfield units: its values run from {low:.4g} to {high:.4g}, but air lies at -1000 "
        "and fat at -100; export the CT with its rescale slope and intercept."
    )


def _spread(values: Tensor) -> Shaped[np.ndarray, " voxel"]:
    """Values of voxels spread evenly over a volume, about two million at most."""
    step = max(1, int(np.ceil((values.numel() / _LOOKED_AT) ** (1 / 3))))
    return values[::step, ::step, ::step].numpy().ravel()


def _peaks(values: Shaped[np.ndarray, " voxel"], low: float, high: float) -> tuple[float, float]:
    """The values most frequent below and above the threshold that parts a volume best."""
    counts, edges = np.histogram(values, bins=256, range=(low, max(high, low + 1e-6)))
    centres = (edges[:-1] + edges[1:]) / 2
    share = counts.cumsum() / counts.sum()
    moment = (counts * centres).cumsum() / counts.sum()
    between = (moment[-1] * share - moment) ** 2 / np.maximum(share * (1 - share), 1e-12)
    cut = int(between[:-1].argmax()) + 1
    return float(centres[counts[:cut].argmax()]), float(centres[cut + counts[cut:].argmax()])
