"""A CT from a folder of classic DICOM slices, with every assumption about the stack checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.volumes._itk import itk_reason, quiet_itk
from crossray.volumes.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

    Headers = dict[str, Dataset]

# How far a slice may lie from its place in an even stack, as a share of the distance between
# slices. Positions rounded to 0.1 mm pass, one missing slice does not.
_TOLERANCE = 0.1

_PLACE = ["ImagePositionPatient", "ImageOrientationPatient"]
_GRID = ["PixelSpacing", "Rows", "Columns"]
_SERIES = ["SeriesInstanceUID", "SeriesDescription", "Modality", "NumberOfFrames"]
_TAGS = [*_SERIES, *_PLACE, *_GRID]


@dataclass(frozen=True)
class _Stack:
    """The slices of a series from first to last, and the affine their headers imply (LPS, mm)."""

    files: list[str]
    world_from_voxel: Float[Tensor, "4 4"]


def is_dicom_folder(path: Path) -> bool:
    """Whether a folder directly holds at least one DICOM file (by its preamble)."""
    return path.is_dir() and any(
        _is_dicom(entry) for entry in sorted(path.iterdir()) if entry.is_file()
    )


def read_series(folder: Path, series: str | None = None) -> Volume:
    """Read the one CT series of a folder, or the named one.

    The affine comes from ImagePositionPatient (0020,0032), ImageOrientationPatient (0020,0037) and
    PixelSpacing (0028,0030), so a tilted gantry gives a sheared affine and not a wrong volume.

    Args:
        folder: A folder that holds the slices, in any order.
        series: SeriesInstanceUID or SeriesDescription, needed where there are several.

    Returns:
        Hounsfield units [z, y, x] (RescaleSlope and RescaleIntercept applied per slice), named
        after the folder.

    Raises:
        InputError: No series, several without a choice, a series that is no CT or no even stack of
            slices.
    """
    import SimpleITK as sitk

    headers = _choose(folder, _scan(folder), series)
    stack = _stack(folder, headers)
    with quiet_itk():
        try:
            image = sitk.ReadImage(stack.files, sitk.sitkFloat32)
        except RuntimeError as error:
            raise InputError(
                f"The slices in {folder} cannot be read ({itk_reason(error)}); export the series "
                "again, uncompressed."
            ) from error
    return Volume(
        torch.from_numpy(sitk.GetArrayFromImage(image)), stack.world_from_voxel, folder.name
    )


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _scan(folder: Path) -> "dict[str, Headers]":
    """The headers of the images in a folder, by file within SeriesInstanceUID.

    ITK's own scan leaves out a file it cannot read without a word, and with it a slice.
    """
    import pydicom

    found: dict[str, Headers] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and _is_dicom(path):
            header = pydicom.dcmread(path, specific_tags=_TAGS)
            if "Rows" in header:
                uid = str(header.get("SeriesInstanceUID", "unnamed"))
                found.setdefault(uid, {})[str(path)] = header
    return found


def _choose(folder: Path, found: "dict[str, Headers]", series: str | None) -> "Headers":
    if not found:
        raise InputError(
            f"{folder} holds no DICOM series; give the folder that directly holds the CT slices, "
            "or a .nii.gz."
        )
    described = {
        uid: str(next(iter(headers.values())).get("SeriesDescription", ""))
        for uid, headers in found.items()
    }
    listing = "; ".join(
        f"{uid} ({text or 'no description'}, {len(found[uid])} files)"
        for uid, text in described.items()
    )
    if series is None and len(found) > 1:
        raise InputError(
            f"{folder} holds {len(found)} series: {listing}; choose one with series=UID or in a "
            "folder of its own."
        )
    matches = [uid for uid, text in described.items() if series is None or series in (uid, text)]
    if len(matches) != 1:
        count = "several series" if matches else "no series"
        raise InputError(
            f"{folder} holds {count} called {series!r}, but {listing}; choose one with series=UID."
        )
    return found[matches[0]]


def _stack(folder: Path, found: "Headers") -> _Stack:
    """Sort the slices along their normal and check that they make one even stack."""
    headers = list(found.values())
    modalities = {str(header.get("Modality", "CT")) for header in headers}
    _require(
        modalities == {"CT"},
        f"{folder} holds {'/'.join(sorted(modalities))} images; give a CT, whose values are HU.",
    )
    _require(
        all(int(header.get("NumberOfFrames") or 1) == 1 for header in headers),
        f"{folder} holds a multi-frame DICOM file; convert it to .nii.gz, for example by dcm2niix.",
    )
    _require(len(headers) > 1, f"{folder} holds one slice; give the folder of the whole series.")
    _require(
        all(header.get(tag) is not None for header in headers for tag in _PLACE + _GRID),
        f"{folder} has slices without position, orientation or spacing; export the axial series.",
    )
    _require(
        all(header[tag].value == headers[0][tag].value for header in headers for tag in _GRID),
        f"{folder} has slices of different size or pixel spacing; keep those of one stack only.",
    )
    for file in found:
        _check_pixels(file)
    return _even_stack(folder, list(found), headers)


def _check_pixels(file: str) -> None:
    """Refuse raw pixels cut short, which ITK fills with what is left of another slice."""
    import pydicom

    tags = ["Rows", "Columns", "BitsAllocated", "PixelData"]
    header = pydicom.dcmread(file, specific_tags=tags)
    stored = len(header.get("PixelData") or b"")
    syntax = header.file_meta.get("TransferSyntaxUID")
    whole = 1
    if syntax is None or not syntax.is_compressed:
        whole = header.Rows * header.Columns * int(header.get("BitsAllocated") or 16) // 8
    _require(
        stored >= whole,
        f"{file} ends before its last pixel or holds none; copy or export the slice again.",
    )


def _require(good: bool, message: str) -> None:
    if not good:
        raise InputError(message)


def _even_stack(folder: Path, files: list[str], headers: "Sequence[Dataset]") -> _Stack:
    orientation = torch.tensor(
        [list(map(float, h.ImageOrientationPatient)) for h in headers], dtype=torch.float64
    )
    positions = torch.tensor(
        [list(map(float, h.ImagePositionPatient)) for h in headers], dtype=torch.float64
    )
    _require(
        float((orientation - orientation[0]).abs().max()) < 1e-3,
        f"{folder} has slices of different orientation (a localizer?); keep those of one stack.",
    )
    row, column = orientation[0].reshape(2, 3)
    height = positions @ torch.linalg.cross(row, column)
    order = torch.argsort(height)
    _check_even(folder, positions[order], height[order])
    between_rows, between_columns = map(float, headers[0].PixelSpacing)
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, 0] = row * between_columns
    affine[:3, 1] = column * between_rows
    affine[:3, 2] = (positions[order[-1]] - positions[order[0]]) / (len(files) - 1)
    affine[:3, 3] = positions[order[0]]
    return _Stack([files[i] for i in order.tolist()], affine)


def _check_even(
    folder: Path, positions: Float[Tensor, "slice 3"], height: Float[Tensor, " slice"]
) -> None:
    """Refuse doubled slices, gaps, and slices beside the line through the first and the last."""
    gaps = height.diff()
    usual = float(gaps.median())
    _require(
        float(gaps.min()) > 1e-3,
        f"{folder} has two slices at the same place (several phases?); keep one of each.",
    )
    share = torch.linspace(0, 1, len(positions), dtype=torch.float64)[:, None]
    off = torch.linalg.norm(positions - torch.lerp(positions[0], positions[-1], share), dim=1)
    worst = int((gaps - usual).abs().argmax())
    _require(
        float(off.max()) < _TOLERANCE * usual,
        f"{folder} has unevenly spaced slices, {float(gaps[worst]):.2f} mm between slices "
        f"{worst + 1} and {worst + 2} but {usual:.2f} mm elsewhere; add the missing slices or "
        "export the series again.",
    )
