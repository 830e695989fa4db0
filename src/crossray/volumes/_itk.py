"""The border to SimpleITK, whose world frame is LPS like ours: images to volumes and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from crossray.errors import InputError
from crossray.volumes.volume import Volume

if TYPE_CHECKING:
    import SimpleITK

_INT16 = torch.iinfo(torch.int16)


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK's C++ warnings off stderr; what matters in them is checked and raised by us."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def itk_reason(error: RuntimeError) -> str:
    """The last line of an ITK exception, without its object addresses and source lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1] if lines else "no reason given"
    return reason.partition("): ")[2] or reason.removeprefix("ITK ERROR: ")


def from_image(image: "SimpleITK.Image", name: str) -> Volume:
    """The volume of a 3-D scalar image."""
    import SimpleITK as sitk

    directions = torch.tensor(image.GetDirection(), dtype=torch.float64).reshape(3, 3)
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = directions * torch.tensor(image.GetSpacing(), dtype=torch.float64)
    affine[:3, 3] = torch.tensor(image.GetOrigin(), dtype=torch.float64)
    return Volume(torch.from_numpy(sitk.GetArrayFromImage(image)).float(), affine, name)


def to_image(volume: Volume) -> "SimpleITK.Image":
    """The image of a volume, int16 where nothing is lost by it.

    Raises:
        InputError: Axes that are not at right angles.
    """
    import SimpleITK as sitk

    steps = volume.world_from_voxel[:3, :3]
    directions = steps / torch.linalg.norm(steps, dim=0)
    if not torch.allclose(directions.T @ directions, torch.eye(3, dtype=torch.float64), atol=1e-5):
        raise InputError(
            f"{volume.name} has axes that are not at right angles, which no file format stores; "
            "resample it first."
        )
    values = volume.values.cpu()
    lowest, highest = values.min(), values.max()
    if _INT16.min <= lowest and highest <= _INT16.max and torch.equal(values, values.round()):
        values = values.to(torch.int16)
    image = sitk.GetImageFromArray(values.numpy())
    image.SetSpacing(volume.spacing)
    image.SetDirection(directions.flatten().tolist())
    image.SetOrigin(volume.world_from_voxel[:3, 3].tolist())
    return image
