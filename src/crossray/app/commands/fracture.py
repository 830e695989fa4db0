"""`crossray fracture`: a bone of a CT or a phantom broken, in any number of views, with one truth for all."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.app.commands.render import PATCH, write_png, write_sheet
from crossray.correspondence import correspondence
from crossray.data.lesions import LesionViews, broken_lines, lesion_views
from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.matching.files import all_or_none
from crossray.projection import project
from crossray.projection.appearance import Look, sample_appearance
from crossray.volumes.fracture import Broken, FractureConfig, break_bone
from crossray.volumes.fracture.drawing import Kind
from crossray.volumes.volume import Volume

SOD_MM, SDD_MM = 1000.0, 1100.0


@dataclass(frozen=True, kw_only=True)
class Shots:
    """How the views are taken: about the fracture.

    Args:
        primary: Positioner primary angle in degrees, LAO positive, one a view.
        secondary: Positioner secondary angle, cranial positive, one for all or one a view.
        size: Pixels along each side.
        field_mm: Side of the field at the fracture.
        look: Of the images.
    """

    primary: tuple[float, ...] = (0.0, 90.0)
    secondary: tuple[float, ...] = (0.0,)
    size: int = 512
    field_mm: float = 160.0
    look: Look = "plain"

    def cameras(self, center: tuple[float, float, float]) -> Cameras:
        """The cameras about a place.

        Raises:
            InputError: Numbers of angles that do not fit each other, or a field that is not positive.
        """
        if self.field_mm <= 0:
            raise InputError(f"--field-mm is {self.field_mm}; give a positive size in mm.")
        return Cameras.from_angles(
            self.primary, self.secondary, sod_mm=SOD_MM, sdd_mm=SDD_MM, size=(self.size, self.size),
            pixel_mm=self.field_mm / self.size * SDD_MM / SOD_MM, isocenter=center,
        )  # fmt: skip


def fracture(volume: Volume, seed: int, kind: str | None, shots: Shots, out: Path) -> None:
    """Break a bone, and write the views with and without the break, a contact sheet, and the truth."""
    kinds: tuple[Kind, ...] = tuple(name for name in get_args(Kind) if kind in (None, name))
    if not kinds:
        raise InputError(f"--kind {kind} is unknown; choose from {', '.join(get_args(Kind))}.")
    broken = break_bone(volume, seed, FractureConfig(kinds=kinds))
    cameras = shots.cameras(broken.fracture.center)
    before = project(broken.intact.attenuation(), cameras)
    after = broken_lines(broken, before, cameras)
    truth = lesion_views(broken, before, after, cameras)
    twins = [_shown(lines, seed, shots.look) for lines in (before, after)]
    with all_or_none(out) as partial:
        for name, images in zip(("intact", "view"), twins, strict=True):
            for view, image in enumerate(images):
                write_png(partial / f"{name}-{view}.png", image)
        write_sheet(partial / "sheet.png", torch.cat(twins))
        told = _told(broken, truth, volume.name, seed)
        (partial / "fracture.json").write_text(json.dumps(told, indent=2) + "\n")
        views = [
            {"file": view["file"], "boxes": [{"box": view["box"]}] if view["box"] else []}
            for view in told["views"]
        ]
        (partial / "boxes.json").write_text(json.dumps({"views": views}, indent=2) + "\n")
        matrix = correspondence(broken.lesion, cameras, PATCH, weight=None)
        np.savez_compressed(
            partial / "lesion.npz", depth_mm=truth.depth_mm.numpy(), correspondence=matrix.numpy()
        )
    print(f"Broke {volume.name}: {broken.fracture.kind}, severity {broken.fracture.severity:.2f}")
    for view in told["views"]:
        print(f"  {out / view['file']}: visibility {view['visibility']:.2f}")
    for name in ("sheet.png", "fracture.json", "boxes.json", "lesion.npz"):
        print(f"  {out / name}")


def _shown(
    lines: Float[Tensor, "view row column"], seed: int, look: Look
) -> Float[Tensor, "view row column"]:
    """The same looks for whatever is shown."""
    rng = np.random.default_rng(seed)
    return torch.stack([sample_appearance(rng, look=look)(view) for view in lines])


def _told(broken: Broken, truth: LesionViews, name: str, seed: int) -> dict:
    """What `fracture.json` holds."""
    views = [
        {
            "file": f"view-{view}.png",
            "intact": f"intact-{view}.png",
            "lesion": 0,
            "box": box.tolist() if box[2] > box[0] else None,
            "visibility": round(float(seen), 4),
        }
        for view, (box, seen) in enumerate(zip(truth.boxes, truth.visibility, strict=True))
    ]
    return {
        "frame": "DICOM patient LPS, mm and degrees; boxes: first row, first column, last row, last column, as edges",
        "volume": name,
        "seed": seed,
        "lesions": [asdict(broken.fracture)],
        "views": views,
    }
