"""The picture of docs/looks.md: steps of the display, drawn looks, and hardware, all on phantoms.

.venv/bin/python benchmarks/looks.py docs/images/looks.png
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch.nn.functional import interpolate

from crossray.geometry import Cameras
from crossray.projection import project
from crossray.projection.appearance import Appearance, render, sample_appearance
from crossray.projection.burnin import Mark, Shutter
from crossray.projection.display import Curve, Detail, Display, Texture
from crossray.volumes.hardware import FIBREGLASS_HU, Cast, Plate, ring, watch, wire
from crossray.volumes.phantom import phantom
from crossray.volumes.shapes import triple
from crossray.volumes.volume import Volume

SIDE, TILE = 256, 170


def camera(volume: Volume, primary: float = 0.0, field: float = 170.0) -> Cameras:
    return Cameras.from_angles(
        primary, 0, sod_mm=1000, sdd_mm=1100, size=(SIDE, SIDE), pixel_mm=1.1 * field / SIDE,
        isocenter=volume.center,
    )  # fmt: skip


def steps() -> list[torch.Tensor]:
    """The plain look, then the display's steps one after the other."""
    volume = phantom("knee", 3)
    lines = project(volume.attenuation(60), camera(volume))[0]
    display = Display(detail=Detail((3.0, 2.5, 2.0, 1.6, 1.3, 1.1), latitude=0.3, power=0.85))
    looks = [display]
    for more in (
        {"texture": Texture(trabeculae=0.03, grain=0.003, width=0.5, length=1.0)},
        {"curve": Curve(low=0.05, bend=-0.6, slope=1.0)},
        {
            "shutter": Shutter((0.46, 0.47, 0.42, 0.44), 3.0, 0.02, 0.8),
            "marks": (Mark("R", (0.12, 0.13), 0.09, 8.0, plate=0.08),),
        },
    ):
        looks.append(replace(looks[-1], **more))
    return [Appearance()(lines), *(Appearance(scatter=0.0, display=look)(lines) for look in looks)]


def drawn() -> list[torch.Tensor]:
    """Looks as training draws them."""
    views = [
        ("hand", 4, 0.0),
        ("ankle", 1, 90.0),
        ("knee", 5, 90.0),
        ("hand", 7, 50.0),
        ("ankle", 6, 0.0),
    ]
    images = []
    for seed, (limb, person, primary) in enumerate(views):
        volume = phantom(limb, person)
        lines = project(volume.attenuation(60), camera(volume, primary))[0]
        images.append(sample_appearance(np.random.default_rng(40 + seed), look="pacs")(lines))
    return images


def hardware() -> list[torch.Tensor]:
    """Wires, a plate, a plaster, wires in fibreglass, a ring and a watch."""
    knee, hand, ankle = phantom("knee", 3), phantom("hand", 4), phantom("ankle", 1)
    wires = [
        wire((-32.0, 6.0, -42.0), (28.0, -4.0, 12.0)),
        wire((32.0, 6.0, -42.0), (-28.0, -4.0, 12.0)),
    ]
    z = 0.15 * knee.values.shape[0]
    shaft = section(knee, round(z), 300)
    side = shaft[shaft[:, 0].argmin()]
    plate = Plate(
        triple(np.array([side[0], shaft[:, 1].mean(), side[2] + 20])), (0, 0, 1), (-1, 0, 0)
    ).implant()
    dressed = [
        (wires[1](wires[0](knee)), 0.0),
        (plate(knee), 0.0),
        (Cast((0.35, 1.0), seed=2)(ankle), 90.0),
        (Cast((0.0, 0.8), hu=FIBREGLASS_HU, thickness_mm=4, seed=1)(wires[0](knee)), 90.0),
        (jewellery(hand), 0.0),
    ]
    fields = (170.0, 170.0, 170.0, 170.0, 230.0)
    return [
        render(volume, camera(volume, primary, field), seed=None)[0]
        for (volume, primary), field in zip(dressed, fields, strict=True)
    ]


def section(volume: Volume, index: int, threshold: float) -> np.ndarray:
    """World positions (voxel, 3) of the largest part above a threshold in a slice."""
    labels, _ = ndimage.label(volume.values[index].numpy() > threshold)
    part = np.argwhere(labels == np.bincount(labels.ravel())[1:].argmax() + 1)
    voxels = np.column_stack([part[:, ::-1], np.full(len(part), index), np.ones(len(part))])
    return (voxels @ volume.world_from_voxel.numpy().T)[:, :3]


def jewellery(hand: Volume) -> Volume:
    slices = hand.values.shape[0]
    finger, wrist = (
        section(hand, round(0.76 * slices), -300),
        section(hand, round(0.12 * slices), -300),
    )
    inner = 2 * np.sqrt(len(finger) / np.pi) + 1
    back = np.array([wrist[:, 0].mean(), wrist[:, 1].max() + 1, wrist[0, 2]])
    pieces = [
        ring(triple(finger.mean(0)), (0, 0, 1), float(inner), 2.0),
        watch(triple(back), (0, 1, 0)),
        Cast((0.08, 0.16), gap_mm=0.5, thickness_mm=2.5, hu=100, variation=0),
    ]
    for piece in pieces:
        hand = piece(hand)
    return hand


def main(path: Path) -> None:
    rows = []
    for images in (steps(), drawn(), hardware()):
        tiles = interpolate(
            torch.stack(images)[:, None], (TILE, TILE), mode="bilinear", antialias=True
        )
        rows.append(
            torch.cat(list(torch.nn.functional.pad(tiles[:, 0], (1, 1, 1, 1), value=0.4)), 1)
        )
    picture = (torch.cat(rows).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    Image.fromarray(picture).quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
