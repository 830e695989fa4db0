"""A CT from a folder of DICOM slices, with every assumption about the stack checked."""

import warnings
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from crossray.errors import InputError
from crossray.volumes.dicom_headers import Series, Slice, is_dicom, is_localizer, scan, slices_of
from crossray.volumes.dicom_stack import even_stack
from crossray.volumes.resample import interpolate
from crossray.volumes.volume import Volume


def is_dicom_folder(path: Path) -> bool:
    """Whether a folder directly holds at least one DICOM file (by its preamble)."""
    return path.is_dir() and any(
        is_dicom(entry) for entry in sorted(path.iterdir()) if entry.is_file()
    )


def read_series(folder: Path, series: str | None = None) -> Volume:
    """Read the one CT series of a folder, or the named one.

    The affine comes from ImagePositionPatient (0020,0032), ImageOrientationPatient (0020,0037) and
    PixelSpacing (0028,0030), so a tilted gantry gives a sheared affine and not a wrong volume. Enhanced multi-frame
    files are read like so many slices.

    Args:
        folder: A folder that holds the slices, in any order.
        series: SeriesInstanceUID or SeriesDescription, needed where there are several.

    Returns:
        Values [z, y, x] after RescaleSlope and RescaleIntercept of each slice, named after the folder; its notes say
        what was left out, dropped or interpolated.

    Raises:
        InputError: No series, several without a choice, a series that is no CT or no stack of slices.
    """
    chosen, notes = _choose(folder, scan(folder), series)
    chosen, scouts = _without_localizers(folder, chosen)
    stack = even_stack(folder, list(slices_of(folder, chosen)), _same_pixels)
    values = _read(stack.slices)
    if stack.at is not None:
        values = interpolate(values, stack.at, dim=0)
    notes = (*notes, *scouts, *stack.notes)
    return Volume(values, stack.world_from_voxel, folder.name, notes)


def _choose(
    folder: Path, found: list[Series], series: str | None
) -> tuple[Series, tuple[str, ...]]:
    """The series to read, and a note about those left out."""
    if not found:
        raise InputError(
            f"{folder} holds no DICOM series; give the folder that directly holds the CT slices, "
            "or a .nii.gz."
        )
    listing = "; ".join(map(str, found))
    if series is not None:
        matches = [one for one in found if series in (one.uid, one.description)]
        if len(matches) != 1:
            count = "several series" if matches else "no series"
            raise InputError(
                f"{folder} holds {count} called {series!r}, but {listing}; choose one with series=UID."
            )
        return matches[0], ()
    stacks = [one for one in found if one.is_stack] if len(found) > 1 else found
    if len(stacks) != 1:
        raise InputError(
            f"{folder} holds {len(found)} series: {listing}; choose one with series=UID (--series "
            "UID), or put it in a folder of its own."
        )
    left_out = "; ".join(str(one) for one in found if one is not stacks[0])
    note = f"{folder}: left out what is no stack of axial CT slices: {left_out}."
    return stacks[0], (note,) if left_out else ()


def _without_localizers(folder: Path, series: Series) -> tuple[Series, tuple[str, ...]]:
    """The series without scout views, where something else is left."""
    kept = {file: header for file, header in series.headers.items() if not is_localizer(header)}
    dropped = len(series.headers) - len(kept)
    if not kept or not dropped:
        return series, ()
    return Series(series.uid, kept), (f"{folder}: left out {dropped} localizer image(s).",)


def _read(slices: list[Slice]) -> Float[Tensor, "slice row column"]:
    values = torch.empty(len(slices), *slices[0].size)
    for file, frames in groupby(enumerate(slices), key=lambda pair: pair[1].file):
        pixels = _pixels(file)
        for place, one in frames:
            slope, intercept = one.rescale
            stored = pixels[one.frame].astype(np.float64)
            values[place] = torch.from_numpy(stored * slope + intercept)
    return values


def _same_pixels(one: Slice, other: Slice) -> bool:
    return torch.equal(_read([one]), _read([other]))


def _pixels(file: str) -> Shaped[np.ndarray, "frame row column"]:
    """The stored values of a file.

    Raises:
        InputError: Pixels cut short, missing, or in an encoding nothing here decodes.
    """
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters in them is raised below
        try:
            pixels = pydicom.dcmread(file).pixel_array
        except Exception as error:  # pydicom and its decoders raise all kinds
            reason = " ".join(str(error).split())
            raise InputError(
                f"{file} ends before its last pixel, holds none, or cannot be decoded ({reason}); copy or export the "
                "slice again, uncompressed."
            ) from error
    return pixels[None] if pixels.ndim == 2 else pixels
