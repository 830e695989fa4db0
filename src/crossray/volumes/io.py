"""CT volumes from and to disk: NIfTI, NRRD, MetaImage and DICOM series."""

import csv
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from crossray.errors import InputError
from crossray.files import written_whole
from crossray.volumes._itk import from_image, itk_reason, quiet_itk, to_image
from crossray.volumes.dicom import is_dicom_folder, read_series
from crossray.volumes.dicom_headers import is_dicom
from crossray.volumes.hounsfield import as_hounsfield
from crossray.volumes.nifti import check_nifti
from crossray.volumes.volume import Volume

if TYPE_CHECKING:
    import SimpleITK

READABLE = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
"""File names `list_cts` takes for a CT; `read_ct` also tries others."""
WRITABLE = (".nii", ".nii.gz", ".nrrd", ".mha")
"""Formats that live in one file, so that a write can be all or nothing."""

_FINEST_MM, _COARSEST_MM = 0.01, 20.0


@dataclass(frozen=True)
class CtFile:
    """One CT of a collection.

    Args:
        path: File or DICOM folder, for `read_ct`.
        person: Whose CT it is; split collections by person, never by file.
        split: "train", "val" or "test" where the collection proposes one.
        anatomy: What the CT shows, in words, where the collection says so.
        terms: Its licence, where the collection says so.
    """

    path: Path
    person: str
    split: str | None = None
    anatomy: str | None = None
    terms: str | None = None


def read_ct(path: str | Path, series: str | None = None) -> Volume:
    """Read a CT, with orientation and spacing exactly as in the file.

    What can be repaired beyond doubt is (docs/ct.md lists it), and said: in the volume's `notes`, and as a warning of
    the logger "crossray", which Python prints on stderr unless told otherwise.

    Args:
        path: A NIfTI, NRRD or MetaImage file, a folder that holds one DICOM series, or a multi-frame DICOM file.
        series: Which series of a DICOM folder to read where there are several: its
            SeriesInstanceUID or its description.

    Returns:
        Hounsfield units [z, y, x] with `world_from_voxel` in LPS mm; named after the file.

    Raises:
        InputError: A path that does not exist or cannot be read, a folder with no or several
            series, wide gaps between slices, a single slice, an image that is not 3-D with one value per
            voxel, NaN, values that are not HU.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            f"{path} does not exist; give a CT as .nii.gz, .nrrd, .mha or a folder of DICOM slices."
        )
    if series is not None and not path.is_dir():
        raise InputError(
            f"{path} is a file, but series={series!r} chooses within a folder of DICOM slices; "
            "leave it out."
        )
    volume = as_hounsfield(
        read_series(path, series) if path.is_dir() or is_dicom(path) else _read_file(path)
    )
    if not all(_FINEST_MM <= step <= _COARSEST_MM for step in volume.spacing):
        raise InputError(
            f"{path} has voxels of {' x '.join(f'{step:.4g}' for step in volume.spacing)} mm; a CT has {_FINEST_MM} to "
            f"{_COARSEST_MM:g} mm, so its spacing is wrong or not in mm."
        )
    for note in volume.notes:
        logging.getLogger("crossray").warning(note)
    return volume


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write a volume; the file appears whole or not at all.

    Stored as int16 where every value is a whole number that fits, as float32 otherwise.

    Args:
        path: Where to write, as .nii, .nii.gz, .nrrd or .mha. An existing file is replaced.
        volume: What to write.

    Raises:
        InputError: Another file name, a folder that does not exist, or a grid whose axes are not at
            right angles (no format stores a shear).
    """
    import SimpleITK as sitk

    path = Path(path)
    suffix = _suffix(path)
    if suffix not in WRITABLE:
        raise InputError(f"{path} cannot be written: the name must end in {', '.join(WRITABLE)}.")
    if not path.parent.is_dir():
        raise InputError(
            f"{path.parent} is not a folder; make it before writing {path.name} there."
        )
    image = to_image(volume)
    with written_whole(path) as partial:
        sitk.WriteImage(image, str(partial), useCompression=True)


def list_cts(path: str | Path) -> list[CtFile]:
    """List the CTs of a folder and whose they are.

    With an index.csv in the folder (columns file and person; split and anatomy where known) the
    index decides. Without one, every CT file and every sub-folder of DICOM slices is its own
    person.

    Args:
        path: A folder of CTs, one DICOM folder, an index with another name or place, or a single CT file.

    Returns:
        The CTs in the order of the index, otherwise sorted by name.

    Raises:
        InputError: A path that does not exist, a folder without CTs, an index without the columns
            or with files that are not there, a person in two splits.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            f"{path} does not exist; give a folder of CTs (.nii.gz, .nrrd, .mha or DICOM folders)."
        )
    if path.suffix == ".csv":
        return _read_index(path)
    if not path.is_dir():
        return [CtFile(path, _stem(path))]
    index = path / "index.csv"
    if index.exists():
        return _read_index(index)
    if is_dicom_folder(path):
        return [CtFile(path, path.name)]
    found = [
        entry
        for entry in sorted(path.iterdir())
        if _suffix(entry) in READABLE or is_dicom_folder(entry)
    ]
    if not found:
        raise InputError(
            f"{path} holds no CT; put .nii.gz, .nrrd, .mha files or folders of DICOM slices there."
        )
    return [CtFile(entry, _stem(entry)) for entry in found]


def _read_index(index: Path) -> list[CtFile]:
    with index.open(newline="", encoding="utf-8-sig") as text:
        reader = csv.DictReader(text)
        missing = {"file", "person"} - set(reader.fieldnames or ())
        rows = list(reader)
    if missing or not rows:
        lacks = f"the column {' and '.join(sorted(missing))}" if missing else "any row"
        raise InputError(
            f"{index} lacks {lacks}; it needs a line per CT with file and person (split and "
            "anatomy may follow)."
        )
    files = [
        CtFile(
            index.parent / row["file"],
            row["person"],
            row.get("split") or None,
            row.get("anatomy") or None,
            row.get("terms") or None,
        )
        for row in rows
    ]
    absent = [file.path.name for file in files if not file.path.exists()]
    if absent:
        raise InputError(
            f"{index} names {len(absent)} file(s) that are not there, such as {absent[0]}; add or "
            "unlist them."
        )
    splits: dict[str, str] = {}
    for file in files:
        if file.split and splits.setdefault(file.person, file.split) != file.split:
            raise InputError(
                f"{index} puts {file.person} into two splits, {splits[file.person]} and {file.split}; a person tested "
                "on must not be trained on, so give all CTs of a person one split."
            )
    return files


def _read_file(path: Path) -> Volume:
    notes = check_nifti(path) if _suffix(path) in (".nii", ".nii.gz") else ()
    return replace(from_image(_read_image(path), path.name), notes=notes)


def _read_image(path: Path) -> "SimpleITK.Image":
    """The image alone: ITK's reader would keep what the file holds as long as it lives."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetOutputPixelType(sitk.sitkFloat32)
    with quiet_itk():
        try:
            reader.ReadImageInformation()
            _check_header(path, reader)
            return reader.Execute()
        except RuntimeError as error:
            raise InputError(
                f"{path} cannot be read as a CT ({itk_reason(error)}); give .nii.gz, .nrrd, .mha "
                "or a folder of DICOM slices."
            ) from error


def _check_header(path: Path, reader: "SimpleITK.ImageFileReader") -> None:
    """Refuse what is no 3-D scalar image before its pixels are read."""
    size = reader.GetSize()
    shape = " x ".join(map(str, size))
    if reader.GetNumberOfComponents() != 1:
        raise InputError(
            f"{path} holds {reader.GetNumberOfComponents()} values per voxel; a CT has one, "
            "convert it to HU."
        )
    if len(size) > 3:
        raise InputError(
            f"{path} has {len(size)} axes ({shape}); extract one volume of the series into its own "
            "file."
        )
    if len(size) < 3 or size[2] == 1:
        raise InputError(
            f"{path} is a single slice ({shape}); give the whole CT, for DICOM the folder of its "
            "slices."
        )


def _suffix(path: Path) -> str:
    """The lower-case file type, ".nii.gz" included."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def _stem(path: Path) -> str:
    suffix = _suffix(path)
    return path.name[: -len(suffix)] if suffix in READABLE else path.name
