"""The phantom limbs: the same for the same seed, anatomical in what can be counted, and lying where they say."""

from functools import cache

import numpy as np
import pytest
import torch
from scipy import ndimage

from crossray.errors import InputError
from crossray.volumes.phantom import phantom, phantom_side
from crossray.volumes.volume import Volume

LIMBS = ("hand", "knee", "ankle")


@cache
def limb(name: str, seed: int = 0, spacing_mm: float = 2.0) -> Volume:
    return phantom(name, seed, spacing_mm)


def bone_parts(volume: Volume, least_mm3: float = 60) -> list[np.ndarray]:
    """Masks of the separate shells of compact bone."""
    labels, count = ndimage.label(volume.values.numpy() > 600)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:] * np.prod(volume.spacing)
    return [labels == index + 1 for index in np.flatnonzero(sizes > least_mm3)]


@pytest.mark.parametrize("name", LIMBS)
def test_same_seed_gives_the_same_bytes(name: str):
    again = phantom(name, 3, 3.0)
    assert torch.equal(again.values, phantom(name, 3, 3.0).values)
    assert torch.equal(again.world_from_voxel, phantom(name, 3, 3.0).world_from_voxel)


@pytest.mark.parametrize("name", LIMBS)
def test_another_seed_is_another_limb(name: str):
    shapes = {limb(name, seed).values.shape for seed in range(4)}
    assert len(shapes) == 4


@pytest.mark.parametrize("name", LIMBS)
@pytest.mark.parametrize("spacing_mm", [1.7, 4.0])
def test_centre_is_the_origin_and_spacing_is_as_asked(name: str, spacing_mm: float):
    volume = limb(name, 1, spacing_mm)
    assert torch.allclose(volume.center, torch.zeros(3, dtype=torch.float64), atol=1e-9)
    assert volume.spacing == pytest.approx((spacing_mm,) * 3)
    assert torch.equal(
        volume.world_from_voxel[:3, :3], spacing_mm * torch.eye(3, dtype=torch.float64)
    )


@pytest.mark.parametrize("name", LIMBS)
@pytest.mark.parametrize("seed", range(4))
def test_air_lies_all_round_beside_the_limb(name: str, seed: int):
    hu = limb(name, seed).values
    for face in (hu[:, 0], hu[:, -1], hu[:, :, 0], hu[:, :, -1]):
        assert (face == -1000).all()
    distal = {"hand": hu[-1], "ankle": hu[0]}.get(name)
    assert distal is None or (distal == -1000).all()


@pytest.mark.parametrize("seed", [0, 3])
def test_the_fibula_is_on_the_outside_of_the_side_it_says(seed: int):
    volume = limb("knee", seed)
    lowest = volume.values[4].numpy() > 300
    labels, _ = ndimage.label(ndimage.binary_fill_holes(lowest))
    sizes = np.bincount(labels.ravel())[1:]
    tibia, fibula = np.argsort(sizes)[::-1][:2] + 1
    (_, tibia_x), (_, fibula_x) = ndimage.center_of_mass(labels > 0, labels, [tibia, fibula])
    assert phantom_side("knee", seed) == ("left" if fibula_x > tibia_x else "right")


@pytest.mark.parametrize("name", LIMBS)
def test_tissues_have_their_hu_and_their_share(name: str):
    hu = limb(name, 0, 1.0).values
    inside = hu[hu > -500]
    assert float(hu.min()) == -1000
    assert 1000 < float(hu.max()) < 2200

    def share(low: float, high: float) -> float:
        return float(((inside >= low) & (inside < high)).float().mean())

    assert 0.02 < share(800, 2200) < 0.2, "compact bone"
    assert 0.02 < share(150, 800) < 0.35, "spongy bone"
    assert 0.2 < share(0, 120) < 0.9, "muscle and tendon"
    assert 0.03 < share(-150, -60) < 0.5, "fat"
    assert float((hu < -990).float().mean()) > 0.2, "air"


@pytest.mark.parametrize("name", LIMBS)
def test_flesh_is_not_homogeneous(name: str):
    hu = limb(name, 0, 1.0).values
    muscle = hu[(hu > 0) & (hu < 120)]
    assert float(muscle.std()) > 4


@pytest.mark.parametrize(("name", "fewest"), [("hand", 21), ("knee", 4), ("ankle", 12)])
def test_bones_are_separate(name: str, fewest: int):
    assert fewest <= len(bone_parts(limb(name, 0, 1.0))) <= 40


@pytest.mark.parametrize("name", LIMBS)
def test_shafts_are_rings_of_compact_bone_about_marrow(name: str):
    """In the cut face's neighbour, each bone's shell closes and what it encloses is fatty."""
    volume = limb(name, 0, 1.0)
    hu = volume.values.numpy()[3 if name == "hand" else -4]
    shell = hu > 600
    inside = ndimage.binary_fill_holes(shell) & ~ndimage.binary_dilation(shell)
    _, bones = ndimage.label(ndimage.binary_fill_holes(shell))
    assert bones == (1 if name == "knee" else 2)
    assert inside.sum() > 10
    assert np.median(hu[inside]) < 100


def test_knee_has_a_joint_space_between_condyle_and_plateau():
    hu = limb("knee", 0, 1.0).values.numpy()
    femur, tibia = sorted(bone_parts(limb("knee", 0, 1.0)), key=np.sum)[-1:-3:-1]
    if femur.nonzero()[0].mean() < tibia.nonzero()[0].mean():
        femur, tibia = tibia, femur
    top = np.where(tibia.any(0), len(tibia) - 1 - tibia[::-1].argmax(0), -1)
    bottom = np.where(femur.any(0), femur.argmax(0), len(femur))
    facing = (top >= 0) & (bottom < len(femur)) & (bottom > top)
    gap = (bottom - top - 1)[facing]
    assert facing.sum() > 600
    assert 2 <= np.percentile(gap, 25) <= 8
    row, column = np.argwhere(facing)[len(np.argwhere(facing)) // 2]
    assert hu[top[row, column] + 1 : bottom[row, column], row, column].min() < 250


def test_both_sides_occur_with_the_fibula_behind_and_lateral():
    sides = set()
    for seed in range(8):
        volume = limb("ankle", seed)
        labels, count = ndimage.label(ndimage.binary_fill_holes(volume.values[-8].numpy() > 350))
        sizes = ndimage.sum_labels(labels > 0, labels, range(1, count + 1))
        tibia, fibula = (np.argsort(sizes)[::-1] + 1)[:2]
        (tibia_y, tibia_x), (fibula_y, fibula_x) = ndimage.center_of_mass(
            labels > 0, labels, [tibia, fibula]
        )
        assert abs(fibula_x - tibia_x) > abs(fibula_y - tibia_y)
        sides.add(bool(fibula_x > tibia_x))
    assert sides == {True, False}


def test_spacing_only_samples_the_same_limb():
    fine, coarse = limb("hand", 5, 1.0), limb("hand", 5, 2.0)
    masses = [float((v.values + 1000).sum()) * np.prod(v.spacing) for v in (fine, coarse)]
    assert masses[1] == pytest.approx(masses[0], rel=0.02)
    offset = (fine.world_from_voxel[:3, 3] - coarse.world_from_voxel[:3, 3]).numpy()[::-1]
    blurred = ndimage.gaussian_filter(fine.values.numpy(), 0.8)
    at = [(np.arange(n) * 2.0 - o) for n, o in zip(coarse.values.shape, offset, strict=True)]
    sampled = ndimage.map_coordinates(blurred, np.meshgrid(*at, indexing="ij"), order=1, cval=-1000)
    assert np.corrcoef(sampled.ravel(), coarse.values.numpy().ravel())[0, 1] > 0.98


def test_sizes_vary_between_children_and_adults():
    heights = [len(limb("hand", seed).values) * 2.0 for seed in range(8)]
    assert max(heights) > 1.25 * min(heights)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("elbow",), "elbow"),
        (("hand", -1), "seed"),
        (("hand", 0, 0.01), "spacing"),
        (("hand", 0, float("nan")), "spacing"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(arguments: tuple, words: str):
    with pytest.raises(InputError, match=words):
        phantom(*arguments)
