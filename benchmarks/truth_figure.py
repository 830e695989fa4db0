"""Draw docs/images/truth.png: what a pixel, a bone and a patch of one view match in another.

    python benchmarks/truth_figure.py docs/images/truth.png

A phantom knee from the front and from the side. Its bones are labelled by the nearest piece of compact bone.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.colors import to_rgb
from scipy import ndimage

import crossray as cr
from crossray.correspondence import (
    BONE_WEIGHT,
    Visibility,
    band,
    correspondence,
    visibility,
    weights_by_label,
)

SIZE, PATCH = (256, 256), 16
PIXEL = (104, 128)
COMPACT_HU, LEAST_VOXELS = 550.0, 2000
AMBER, COLOURS = "#ffb000", ("#35c8ff", "#ff5c9d", "#8fe35a", "#c9a0ff")
PAPER, INK = "#0b0e13", "#f2f4f8"


def label_bones(volume: cr.Volume) -> cr.Volume:
    """For every voxel the number of the nearest bone, the largest first."""
    pieces, count = ndimage.label(volume.values.numpy() > COMPACT_HU)
    sizes = np.bincount(pieces.ravel())[1:]
    kept = [i + 1 for i in np.argsort(-sizes) if sizes[i] >= LEAST_VOXELS]
    number = np.zeros(count + 1, np.int64)
    number[kept] = np.arange(len(kept)) + 1
    bones = number[pieces]
    nearest = ndimage.distance_transform_edt(
        bones == 0, return_distances=False, return_indices=True
    )
    return cr.Volume(
        torch.from_numpy(bones[tuple(nearest)]).float(), volume.world_from_voxel, "bones"
    )


def pixel_band(volume, cameras, **options):
    """What the pixel matches in the side view, three pixels wide so that it can be seen."""
    found = band(volume, cameras, 0, PIXEL, **options)[1]
    return torch.nn.functional.max_pool2d(found[None], 3, stride=1, padding=1)[0]


def tint(image, share, colour):
    """Lay a colour over a grey or coloured image, as strongly as `share` says."""
    coloured = image if image.ndim == 3 else image[..., None].repeat(1, 1, 3)
    share = 0.8 * share[..., None]
    return coloured * (1 - share) + torch.tensor(to_rgb(colour)) * share


def draw_no_match(axes, image, codes):
    """The patches that match nothing: those of air dark, those outside in colour."""
    codes = codes.view(SIZE[0] // PATCH, -1).repeat_interleave(PATCH, 0).repeat_interleave(PATCH, 1)
    shown = tint(image, 0.6 * (codes == Visibility.OUTSIDE).float(), COLOURS[1])
    shown = tint(shown, 0.7 * (codes == Visibility.AIR).float(), "#3b4a6b")
    axes.imshow(shown.clamp(0, 1))


def main() -> None:
    """Compute and draw the four panels."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    volume = cr.phantom("knee", 0)
    cameras = cr.Cameras.from_angles(
        [0, 90], 0, sod_mm=1000, sdd_mm=1100, size=SIZE, pixel_mm=0.75, isocenter=volume.center
    )
    cameras = cr.Cameras.stack([cameras[0], cameras[1].crop(28, -10, SIZE)])
    front, side = cr.render(volume, cameras, seed=0) * 0.8
    codes = visibility(correspondence(volume, cameras, PATCH))
    by_bone = side
    for (_, bone), colour in zip(
        weights_by_label(volume, label_bones(volume), BONE_WEIGHT), COLOURS, strict=False
    ):
        by_bone = tint(by_bone, pixel_band(bone, cameras, weight=None), colour)
    figure, panels = pyplot.subplots(1, 4, figsize=(12, 3.4), facecolor=PAPER)
    panels[0].imshow(front, cmap="gray", vmin=0, vmax=1)
    panels[0].plot(PIXEL[1], PIXEL[0], "+", color=AMBER, markersize=14, markeredgewidth=2)
    panels[1].imshow(tint(side, pixel_band(volume, cameras), AMBER))
    panels[2].imshow(by_bone)
    draw_no_match(panels[3], front, codes[0, 1])
    titles = (
        "A pixel of the front view", "What it matches in the side view", "The same, bone by bone",
        "Unmatched: pink outside, blue air",
    )  # fmt: skip
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, color=INK, fontsize=10)
        axes.axis("off")
    figure.tight_layout()
    figure.savefig(Path(sys.argv[1]), dpi=100, facecolor=PAPER)


if __name__ == "__main__":
    main()
