"""CT slices as a scanner writes them, for every test that reads DICOM."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def _ct_slice(number: int, pixels: np.ndarray, **fields: object) -> FileDataset:
    """One CT slice with the fields a scanner writes, 2 mm from the one before; None leaves a field out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID = CTImageStorage
    header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    header.Modality = "CT"
    header.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    header.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2"
    header.SeriesDescription = "bone"
    header.InstanceNumber = number + 1
    header.ImagePositionPatient = [-10.0, -20.0, 5.0 + 2 * number]
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.PixelSpacing = [0.7, 0.5]  # between rows, then between columns
    header.SliceThickness = 2.0
    header.Rows, header.Columns = pixels.shape[:2]
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit = 15
    header.PixelRepresentation = 0
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    for name, value in fields.items():
        setattr(header, name, value)
        if value is None:
            delattr(header, name)
    header.PixelData = pixels.astype(np.uint16).tobytes()
    return header


@pytest.fixture
def ct_slice() -> Callable[..., FileDataset]:
    """Makes one slice: number, stored pixels, fields that differ."""
    return _ct_slice


@pytest.fixture
def pixels() -> Callable[[int], np.ndarray]:
    """Stored values of slice n: 100 n and up, in 3 rows of 4, air and fat after the intercept of -1024."""
    return lambda number: 100 * number + np.arange(12).reshape(3, 4)


@pytest.fixture
def write_series(pixels: Callable[[int], np.ndarray]) -> Callable[..., None]:
    """Writes slices into a folder, with file names that run against their positions."""

    def write(folder: Path, numbers: Iterable[int], **fields: object) -> None:
        folder.mkdir(exist_ok=True)
        for number in numbers:
            header = _ct_slice(number, pixels(number), **fields)
            name = f"{header.get('SeriesDescription', 'slice')}{99 - number}.dcm"
            header.save_as(folder / name, enforce_file_format=True)

    return write
