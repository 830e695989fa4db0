"""`crossray render`: radiographs of a CT or a phantom, with cameras and truth."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.correspondence import correspondence, visibility
from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.geometry.projections import RAISED, Side, named_cameras
from crossray.matching.files import all_or_none
from crossray.projection.appearance import render as render_radiographs
from crossray.volumes.io import read_ct
from crossray.volumes.phantom import phantom, phantom_side
from crossray.volumes.table import remove_table
from crossray.volumes.volume import Volume

PATCH = 16
MARGIN = 1.05
"""The field of a whole limb, relative to the limb's longest side."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """The detector of all views.

    Args:
        size: Pixels along each side.
        field_mm: Side of the field at the isocentre; 0 for the whole limb.
    """

    size: int = 512
    field_mm: float = 0.0

    def field_of(self, volume: Volume) -> float:
        """Side of the field at the isocentre, mm.

        Raises:
            InputError: A negative field.
        """
        if self.field_mm < 0:
            raise InputError(f"--field-mm is {self.field_mm}; give a positive size in mm, or 0.")
        z, y, x = volume.values.shape
        sides = [n * step for n, step in zip((x, y, z), volume.spacing, strict=True)]
        return self.field_mm or MARGIN * max(sides)


@dataclass(frozen=True, kw_only=True)
class Geometry(Film):
    """Where the views are taken from; angles in degrees, one for all views or one a view.

    Args:
        primary: Positioner primary angle, LAO positive.
        secondary: Positioner secondary angle, cranial positive.
        roll: Rotation of the detector about the beam.
        sod_mm: Source to isocentre, the volume's centre.
        sdd_mm: Source to detector.
    """

    primary: tuple[float, ...] = (0.0, 90.0)
    secondary: tuple[float, ...] = (0.0,)
    roll: tuple[float, ...] = (0.0,)
    sod_mm: float = 1000.0
    sdd_mm: float = 1100.0

    def cameras(self, volume: Volume) -> Cameras:
        """The cameras around a volume's centre.

        Raises:
            InputError: Numbers of angles that do not fit each other, or distances that make no camera.
        """
        return Cameras.from_angles(
            self.primary,
            self.secondary,
            self.roll,
            sod_mm=self.sod_mm,
            sdd_mm=self.sdd_mm,
            size=(self.size, self.size),
            pixel_mm=self.field_of(volume) / self.size * self.sdd_mm / self.sod_mm,
            isocenter=volume.center,
        )


@dataclass(frozen=True, kw_only=True)
class NamedGeometry(Film):
    """Projections by name, nominal.

    Args:
        projections: Names such as "knee:ap".
        side: Of the limb; None where nobody said.
        raised: The arm was scanned above the head.
    """

    projections: tuple[str, ...]
    side: Side | None = None
    raised: bool = False

    def of_phantom(self, limb: str, seed: int) -> "NamedGeometry":
        """The same projections of a phantom, which knows its side and how it lies."""
        return replace(self, side=self.side or phantom_side(limb, seed), raised=limb == "hand")

    def cameras(self, volume: Volume) -> Cameras:
        """The cameras around a volume's centre.

        Raises:
            InputError: Unknown names, or a side that nobody said.
        """
        if self.side is None:
            raise InputError(
                "A CT does not say which limb it shows, and films of left and right differ; add --side left or right."
            )
        return named_cameras(
            self.projections,
            self.side,
            volume.center,
            size=(self.size, self.size),
            field_mm=self.field_of(volume),
            world_from_limb=RAISED if self.raised else None,
        )


def load(ct: Path | None, limb: str | None, seed: int, series: str | None) -> Volume:
    """A CT without couch, or a phantom.

    Raises:
        InputError: Both or neither, or a CT that cannot be read.
    """
    if limb is not None and ct is None:
        return phantom(limb, seed)
    if ct is None or limb is not None:
        raise InputError("Name either a CT or a phantom limb, for example --limb hand.")
    return remove_table(read_ct(ct, series))


def render(
    volume: Volume,
    geometry: Geometry | NamedGeometry,
    seed: int,
    out: Path,
    look: Literal["plain", "pacs", "film"] = "plain",
) -> None:
    """Render, and write the views, a contact sheet, the cameras and the true correspondence."""
    cameras = geometry.cameras(volume)
    images = render_radiographs(volume, cameras, seed=seed, look=look)
    truth = correspondence(volume, cameras, patch=PATCH)
    with all_or_none(out) as partial:
        names = [f"view-{view}.png" for view in range(len(images))]
        for name, image in zip(names, images, strict=True):
            write_png(partial / name, image)
        write_sheet(partial / "sheet.png", images)
        (partial / "cameras.json").write_text(_cameras_json(cameras, geometry, volume, seed))
        write_truth(partial / "correspondence.npz", truth, names, cameras.size)
    print(
        f"Rendered {len(cameras)} views of {volume.name}, {geometry.field_of(volume):.0f} mm wide:"
    )
    for file in sorted(out.glob("view-*.png")):
        print(f"  {file}")
    for name in ("sheet.png", "cameras.json", "correspondence.npz"):
        print(f"  {out / name}")


def write_png(path: Path, image: Float[Tensor, "row column"]) -> None:
    """An image in [0, 1] as a 16-bit PNG."""
    from PIL import Image

    Image.fromarray((image.clamp(0, 1) * 65535).round().numpy().astype(np.uint16)).save(path)


def write_truth(path: Path, truth: Tensor, names: Sequence[str], size: tuple[int, int]) -> None:
    """The true matrix of rendered views, what becomes of each patch, and the files it is of."""
    side = math.isqrt(truth.shape[-1])
    np.savez_compressed(
        path,
        correspondence=truth.numpy(),
        visibility=visibility(truth).numpy(),
        grid=np.array([[side, side]] * len(names)),
        image_size=np.array([size] * len(names)),
        files=np.array(names),
    )


def write_sheet(path: Path, images: Float[Tensor, "view row column"]) -> None:
    """All views side by side as an 8-bit PNG."""
    from PIL import Image

    gap = torch.full((images.shape[1], max(4, images.shape[2] // 64)), 0.06)
    tiles = [tile for image in images for tile in (gap, image)][1:]
    sheet = (torch.cat(tiles, dim=1).clamp(0, 1) * 255).round().to(torch.uint8)
    Image.fromarray(sheet.numpy()).save(path)


def _cameras_json(
    cameras: Cameras, geometry: Geometry | NamedGeometry, volume: Volume, seed: int
) -> str:
    """The cameras as vectors in LPS mm, and what they were made from."""
    vectors = ("source", "first_pixel", "column_step", "row_step")
    content = {
        "frame": "DICOM patient LPS, mm; pixel centres at whole numbers",
        "volume": volume.name,
        "seed": seed,
        "isocenter": volume.center.tolist(),
        "size": list(cameras.size),
        "views": [
            {name: getattr(cameras, name)[view].tolist() for name in vectors}
            for view in range(len(cameras))
        ],
        "made_from": asdict(geometry) | {"field_mm": geometry.field_of(volume)},
    }
    return json.dumps(content, indent=2) + "\n"
