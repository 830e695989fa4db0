"""What a limb likely is, from the cross sections of its bones; "unknown" is an answer."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from crossray.volumes.table import BODY_HU
from crossray.volumes.volume import Volume

_BONE_HU = 200.0
_SLICES = 60
_PIXEL_MM = 1.5
_KINDS = ("rays", "pair", "shaft", "joint", "many")
_SMALLEST_CM2 = 0.3  # what is smaller is a vessel, a calcification or noise


class _Section(NamedTuple):
    """One axial slice: area of the body and of each bone, largest first, in cm2."""

    body: float
    bones: Float[np.ndarray, " bone"]


def likely_anatomy(limb: Volume) -> tuple[str, str]:
    """Guess a limb's anatomy and say by what.

    About 60 axial slices are each called by their bones: rays (three or more thin ones), a pair (a large and a small
    one), a shaft (one), a joint (14 cm2 of bone and more) or many. The shares of these, and which lie above which,
    decide. The rules were set on 44 CTs and on the phantoms; they see no side and know no forearm.

    Args:
        limb: One limb in HU, z towards the head (`along_patient`), everything else air.

    Returns:
        "hand", "lower leg", "ankle", "knee", "thigh", "hip", "trunk" or "unknown"; and the evidence in words.
    """
    sections = _sections(limb)
    kinds = np.array([_kind(section) for section in sections])
    share = {kind: float((kinds == kind).mean()) for kind in _KINDS}
    height = {kind: _height(kinds, kind) for kind in _KINDS}
    height["wide"] = _height(kinds, "joint", "many")
    thickest = max(section.body for section in sections)
    words = ", ".join(f"{kind} in {part:.0%}" for kind, part in share.items() if part >= 0.05)
    return (
        _decided(share, height, thickest),
        f"of the slices, {words or 'none shows bone'}; at most {thickest:.0f} cm2",
    )


def _height(kinds: Shaped[np.ndarray, " slice"], *wanted: str) -> float:
    """How far up slices of some kinds lie on average, 0 to 1; 0.5 where there are none."""
    places = np.flatnonzero(np.isin(kinds, wanted))
    return float(places.mean() / max(1, len(kinds) - 1)) if len(places) else 0.5


def _decided(share: dict[str, float], height: dict[str, float], thickest: float) -> str:
    joint, shaft, pair = share["joint"], share["shaft"], share["pair"]
    tibia_below = pair >= 0.1 and height["pair"] < min(height["joint"], height["shaft"])
    femur_above = shaft >= 0.2 and height["joint"] < min(0.4, height["shaft"])
    femur_above &= shaft < 0.6 or joint >= 0.15
    rules = {
        "hand": share["rays"] >= 0.15 and thickest <= 70,
        "lower leg": pair >= 0.5,
        "ankle": pair >= 0.2
        and joint >= 0.05
        and height["pair"] > height["joint"]
        and thickest <= 160,
        "knee": joint >= 0.05 and (tibia_below or femur_above) and thickest <= 260,
        "hip": shaft >= 0.2
        and joint + share["many"] >= 0.2
        and height["wide"] > height["shaft"]
        and thickest > 150,
        "thigh": shaft >= 0.6 and thickest > 100,
        "trunk": share["many"] + joint >= 0.6 and shaft < 0.2 and thickest > 120,
    }
    return next((name for name, holds in rules.items() if holds), "unknown")


def _sections(limb: Volume) -> list[_Section]:
    from scipy import ndimage

    x, y, _ = limb.spacing
    steps = [max(1, round(_PIXEL_MM / step)) for step in (y, x)]
    cm2 = x * y * steps[0] * steps[1] / 100
    slices = limb.values[:: max(1, len(limb.values) // _SLICES), :: steps[0], :: steps[1]].numpy()
    found = []
    for values in slices:
        bone = ndimage.binary_fill_holes(ndimage.binary_closing(values > _BONE_HU))
        labels = np.empty(values.shape, np.int32)
        ndimage.label(bone, output=labels)
        areas = np.sort(np.bincount(labels.ravel())[1:] * cm2)[::-1]
        body = float(np.asarray(ndimage.binary_fill_holes(values > BODY_HU)).sum()) * cm2
        found.append(_Section(body, areas[areas > _SMALLEST_CM2]))
    return found


def _kind(section: _Section) -> str:
    bones = section.bones
    if not len(bones):
        return "none"
    total, first = bones.sum(), bones[0]
    if len(bones) >= 3 and first <= 3 and section.body <= 60:
        return "rays"
    if total >= 14 and section.body < 12 * total:
        return "joint"
    if first >= 0.9 * total:
        return "shaft" if first >= 3 else "part"
    second = bones[1] / first
    if 0.08 <= second <= 0.45 and bones[:2].sum() >= 0.93 * total and first <= 14:
        return "pair"
    return "many"
