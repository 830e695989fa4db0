"""The pictures of docs/conventions.md, made by the program itself.

Run as: python docs/pictures.py. It redraws them into docs/images; they show phantom limbs only.
"""

from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image

from crossray.geometry import Cameras
from crossray.geometry.projections import PROJECTIONS, RAISED, named_cameras
from crossray.projection.appearance import render
from crossray.volumes.phantom import phantom, phantom_side
from crossray.volumes.volume import Volume

matplotlib.use("Agg")
from matplotlib import pyplot as plt

IMAGES = Path(__file__).parent / "images"
SEEDS = {"hand": 1, "knee": 0, "ankle": 2}
SHOWN_BY = {"hand": "hand", "wrist": "hand", "knee": "knee", "ankle": "ankle", "foot": "ankle"}
"""Which phantom shows a region; no phantom has an elbow."""
LEAD_HU = 20000.0
INK, GREY = "#222222", "#888888"


def main() -> None:
    """Draw all pictures."""
    IMAGES.mkdir(exist_ok=True)
    frame()
    angles()
    projections()


def frame() -> None:
    """The patient frame and a camera: its source, first pixel and two steps, many times enlarged."""
    camera = Cameras.from_angles(
        30, 15, sod_mm=420, sdd_mm=700, size=(6, 8), pixel_mm=45, isocenter=(0, 0, 0)
    )
    source, first = camera.source[0].numpy(), camera.first_pixel[0].numpy()
    column, row = camera.column_step[0].numpy(), camera.row_step[0].numpy()
    up = np.array([0.0, 0.0, 1.0])
    figure = plt.figure(figsize=(8, 5.2))
    axes = figure.add_axes((0, 0, 1, 1), projection="3d", computed_zorder=False)
    for direction, name in (
        ((1, 0, 0), "x: Left"),
        ((0, 1, 0), "y: Posterior"),
        ((0, 0, 1), "z: Superior"),
    ):
        tip = 150 * np.array(direction)
        axes.quiver(0, 0, 0, *tip, color=GREY, arrow_length_ratio=0.12, linewidth=1.5)
        axes.text(*(1.15 * tip), name, color=GREY, ha="center")
    pixels = camera.pixel_positions()[0].reshape(-1, 3).numpy()
    axes.scatter(*pixels.T, s=7, color="#7aa6d6")
    corners = [
        first + i * row + j * column
        for i, j in ((-0.5, -0.5), (-0.5, 7.5), (5.5, 7.5), (5.5, -0.5), (-0.5, -0.5))
    ]
    axes.plot(*np.transpose(corners), color="#3b6ea5", linewidth=1)
    for corner in corners[:4]:
        axes.plot(*np.transpose([source, corner]), color="#3b6ea5", linewidth=0.4)
    axes.scatter(*source, s=45, color="#c0392b")
    axes.text(*(source - 40 * up), "source", color="#c0392b", ha="center")
    axes.scatter(*first, s=30, color="#1e8449")
    axes.text(*(first + 45 * up), "first_pixel (0, 0)", color="#1e8449", ha="center")
    axes.quiver(*first, *column, color="#b9770e", linewidth=2.2, arrow_length_ratio=0.3)
    axes.text(*(first + 1.2 * column - 12 * up), "column_step", color="#b9770e")
    axes.quiver(*first, *row, color="#7d3c98", linewidth=2.2, arrow_length_ratio=0.3)
    axes.text(*(first + 1.5 * row), "row_step", color="#7d3c98")
    middle = pixels.mean(0)
    axes.plot(*np.transpose([source, middle]), color="#c0392b", linewidth=0.8, linestyle="--")
    axes.scatter(0, 0, 0, s=25, color=INK)
    axes.text(*(-30 * up), "isocentre ", color=INK, ha="right")
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim")
    axes.view_init(elev=24, azim=-20)
    axes.set_box_aspect(None, zoom=1.6)
    _save(figure, "frame.png", dpi=110)


def angles() -> None:
    """Signs: one hand with a lead L on the patient's left, turned by each angle alone."""
    volume = _lettered(phantom("hand", SEEDS["hand"], 0.7))
    turns = [
        ("primary 0, secondary 0, roll 0", (0, 0, 0)), ("primary +30 (LAO)", (30, 0, 0)),
        ("secondary +30 (cranial)", (0, 30, 0)), ("roll +30", (0, 0, 30)),
        ("primary +90", (90, 0, 0)), ("primary -30 (RAO)", (-30, 0, 0)),
        ("secondary -30 (caudal)", (0, -30, 0)), ("roll -30", (0, 0, -30)),
    ]  # fmt: skip
    primary, secondary, roll = np.transpose([turn for _, turn in turns]).tolist()
    cameras = Cameras.from_angles(
        primary, secondary, roll, sod_mm=900, sdd_mm=1000, size=(256, 256), pixel_mm=1.3,
        isocenter=volume.center,
    )  # fmt: skip
    tiles = zip((name for name, _ in turns), render(volume, cameras, seed=None), strict=True)
    _grid(list(tiles), 4, "angles.png")


def projections() -> None:
    """Every named projection of a left limb; a right limb's films are these in a mirror."""
    limbs = {}
    for limb, seed in SEEDS.items():
        volume = phantom(limb, seed, 0.7)
        limbs[limb] = volume if phantom_side(limb, seed) == "left" else _mirrored(volume)
    tiles = []
    for name, projection in PROJECTIONS.items():
        region = name.split(":")[0]
        if region not in SHOWN_BY:
            continue
        limb = limbs[SHOWN_BY[region]]
        center = limb.center + torch.tensor(CENTERS[region], dtype=torch.float64)
        camera = named_cameras(
            [name], "left", center, size=(256, 256), field_mm=0.9 * projection.field_mm,
            world_from_limb=RAISED if SHOWN_BY[region] == "hand" else None,
        )  # fmt: skip
        tiles.append((name, render(limb, camera, seed=None)[0]))
    _grid(tiles, 5, "projections.png")


CENTERS = {
    "hand": (0, 0, 20), "wrist": (0, 0, -45), "knee": (0, 0, 0), "ankle": (0, 45, 10), "foot": (0, 0, -20),
}  # fmt: skip
"""Where each region lies in its phantom, from the volume's centre in mm."""


def _mirrored(volume: Volume) -> Volume:
    """The other limb of the pair; phantoms are centred on the world's origin."""
    return replace(volume, values=volume.values.flip(2))


def _lettered(volume: Volume) -> Volume:
    """The volume with a lead letter L beside its upper left, to be read from in front."""
    values = volume.values.clone()
    depth, height, width = values.shape
    y, z, x = height // 2, int(0.86 * depth), width - 26
    values[z - 30 : z, y - 2 : y + 2, x : x + 5] = LEAD_HU
    values[z - 30 : z - 25, y - 2 : y + 2, x : x + 18] = LEAD_HU
    return replace(volume, values=values)


def _grid(tiles: list[tuple[str, torch.Tensor]], columns: int, name: str) -> None:
    rows = -(-len(tiles) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(2.1 * columns, 2.32 * rows), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, image) in zip(grid.flat, tiles, strict=False):
        axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=9, color=INK, pad=3)
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.95, 0.02, 0.12)
    _save(figure, name, dpi=100)


def _save(figure: plt.Figure, name: str, dpi: int) -> None:
    """In 64 colours: half the size, and no difference to the eye."""
    figure.savefig(IMAGES / name, dpi=dpi, facecolor="white")
    plt.close(figure)
    with Image.open(IMAGES / name) as image:
        small = image.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small.save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    main()
