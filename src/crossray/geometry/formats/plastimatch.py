"""Plastimatch: the options of `plastimatch drr`, and the geometry files that it writes and `plastimatch fdk` reads.

Its world is LPS too. Three things are as plastimatch 1.9.4 does them, found by running it: resolution, size and centre
of the detector are (columns, rows) although its help says "row col"; the detector is seen from the source; and a
negative width shows it from the other side.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry.camera import Cameras

Vector = tuple[float, float, float]
_NUMBERS = 47


@dataclass(frozen=True)
class PlastimatchView:
    """One view in the names of `plastimatch drr`; lengths in mm.

    Args:
        nrm: From the isocentre towards the source; any length.
        vup: Roughly towards the detector's top row; any length.
        sad: Isocentre to source.
        sid: Source to detector, at right angles.
        dim: Detector columns and rows.
        detector_size: Width and height; a negative width for an image seen from the detector.
        image_center: Column and row at which the source's perpendicular meets the detector.
        isocenter: World position.
    """

    nrm: Vector
    vup: Vector
    sad: float
    sid: float
    dim: tuple[int, int]
    detector_size: tuple[float, float]
    image_center: tuple[float, float]
    isocenter: Vector = (0.0, 0.0, 0.0)

    def arguments(self) -> list[str]:
        """The view as arguments of `plastimatch drr`."""
        options = {
            "--nrm": self.nrm,
            "--vup": self.vup,
            "--sad": (self.sad,),
            "--sid": (self.sid,),
            "--dim": self.dim,
            "--detector-size": self.detector_size,
            "--image-center": self.image_center,
            "--isocenter": self.isocenter,
        }
        return [
            word
            for name, numbers in options.items()
            for word in (name, " ".join(map(str, numbers)))
        ]


def to_plastimatch(
    cameras: Cameras, isocenter: Float[Tensor, " 3"] | Vector = (0.0, 0.0, 0.0)
) -> list[PlastimatchView]:
    """The cameras as plastimatch's options.

    Args:
        cameras: Views with rows and columns at right angles.
        isocenter: World point; each view's own isocentre is the foot of this point on the view's central ray.

    Raises:
        InputError: Slanting pixels, or an isocentre that lies behind a source.
    """
    point = torch.as_tensor(isocenter, dtype=torch.float64)
    return [_view(cameras[view], point) for view in range(len(cameras))]


def _view(camera: Cameras, isocenter: Float[Tensor, " 3"]) -> PlastimatchView:
    width, height = float(camera.column_step.norm()), float(camera.row_step.norm())
    right, down = camera.column_step[0] / width, camera.row_step[0] / height
    if abs(float(right @ down)) > 1e-9:
        raise InputError(
            "plastimatch knows only detectors whose rows and columns meet at right angles."
        )
    source = camera.source[0]
    central = source - camera.first_pixel[0]
    towards_source = torch.linalg.cross(down, right)
    seen_from_detector = float(central @ towards_source) < 0
    if seen_from_detector:
        towards_source = -towards_source
    sad = float((source - isocenter) @ towards_source)
    if sad <= 0:
        raise InputError(
            "The isocentre lies behind a source; give a point between source and detector."
        )
    rows, columns = camera.size
    return PlastimatchView(
        nrm=_triple(towards_source),
        vup=_triple(-down),
        sad=sad,
        sid=float(central @ towards_source),
        dim=(columns, rows),
        detector_size=((-1 if seen_from_detector else 1) * columns * width, rows * height),
        image_center=(float(central @ right) / width, float(central @ down) / height),
        isocenter=_triple(source - sad * towards_source),
    )


def from_plastimatch(views: list[PlastimatchView]) -> Cameras:
    """Cameras of plastimatch's options.

    Raises:
        InputError: `vup` along `nrm`, numbers that make no camera, or detectors of several sizes.
    """
    return Cameras.stack([_camera(view) for view in views])


def _camera(view: PlastimatchView) -> Cameras:
    right, down, towards_source = _axes(view)
    isocenter = torch.tensor(view.isocenter, dtype=torch.float64)
    source = isocenter + view.sad * towards_source
    column_step = right * (view.detector_size[0] / view.dim[0])
    row_step = down * (view.detector_size[1] / view.dim[1])
    foot = source - view.sid * towards_source
    first = foot - view.image_center[0] * column_step - view.image_center[1] * row_step
    vectors = (vector[None] for vector in (source, first, column_step, row_step))
    return Cameras(*vectors, size=(view.dim[1], view.dim[0]))


def to_geometry_file(view: PlastimatchView) -> str:
    """What `plastimatch drr` writes beside an image: centre, 3 x 4 matrix and its two factors, distances, direction.

    The matrix maps world (x, y, z, 1) to (column, row) from the image's centre, times depth / sid.
    """
    right, down, towards_source = _axes(view)
    source = torch.tensor(view.isocenter, dtype=torch.float64) + view.sad * towards_source
    extrinsic = torch.eye(4, dtype=torch.float64)
    extrinsic[:3, :3] = torch.stack([right, down, -towards_source])
    extrinsic[:3, 3] = -extrinsic[:3, :3] @ source
    per_mm = [count / side for count, side in zip(view.dim, view.detector_size, strict=True)]
    intrinsic = torch.zeros(3, 4, dtype=torch.float64)
    intrinsic[:, :3] = torch.tensor([*per_mm, 1 / view.sid], dtype=torch.float64).diag()
    lines = [
        _line(view.image_center),
        *map(_line, intrinsic @ extrinsic),
        _line([view.sad]),
        _line([view.sid]),
        _line(-towards_source),
        "Extrinsic",
        *map(_line, extrinsic),
        "Intrinsic",
        *map(_line, intrinsic),
    ]
    return "\n".join(lines) + "\n"


def from_geometry_file(text: str, size: tuple[int, int]) -> PlastimatchView:
    """The view of a geometry file.

    Args:
        text: The file's content.
        size: Detector rows and columns, which the file does not hold.

    Raises:
        InputError: Not the numbers of such a file.
    """
    words = [word for word in text.split() if word not in {"Extrinsic", "Intrinsic"}]
    try:
        numbers = np.array(words, dtype=np.float64)
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != _NUMBERS or not (numbers[[14, 15, 35, 40]] != 0).all():
        raise InputError(
            f"This is no geometry file of plastimatch: it needs {_NUMBERS} numbers, with distances and pixels above 0."
        )
    extrinsic, intrinsic = numbers[19:35].reshape(4, 4), numbers[35:47].reshape(3, 4)
    right_down_beam, shift = extrinsic[:3, :3], extrinsic[:3, 3]
    sad, sid = float(numbers[14]), float(numbers[15])
    rows, columns = size
    return PlastimatchView(
        nrm=_triple(-right_down_beam[2]),
        vup=_triple(-right_down_beam[1]),
        sad=sad,
        sid=sid,
        dim=(columns, rows),
        detector_size=(columns / float(intrinsic[0, 0]), rows / float(intrinsic[1, 1])),
        image_center=(float(numbers[0]), float(numbers[1])),
        isocenter=_triple(sad * right_down_beam[2] - right_down_beam.T @ shift),
    )


def _axes(view: PlastimatchView) -> Float[Tensor, "3 3"]:
    """Unit vectors as rows: to the right and down as the source sees the detector, and towards the source."""
    nrm, vup = torch.tensor([view.nrm, view.vup], dtype=torch.float64)
    right = torch.linalg.cross(vup, nrm)
    if (
        float(right.norm()) <= 1e-9 * float(nrm.norm() * vup.norm())
        or view.sad <= 0
        or view.sid <= 0
    ):
        raise InputError(
            "plastimatch needs vup and nrm in two directions, and sad and sid above 0."
        )
    axes = torch.stack([right, torch.linalg.cross(right, nrm), nrm])
    return axes / axes.norm(dim=1, keepdim=True)


def _triple(vector: Float[Tensor, " 3"] | np.ndarray) -> Vector:
    x, y, z = vector.tolist()
    return x, y, z


def _line(numbers: Tensor | list[float] | tuple[float, ...]) -> str:
    return " ".join(f"{float(number):24.16e}" for number in numbers)
