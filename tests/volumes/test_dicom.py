"""DICOM series: any stack is read as it lies, small faults are mended and said, the rest is refused in a sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import FileDataset

from crossray.errors import InputError
from crossray.volumes.io import read_ct

Slice = Callable[..., FileDataset]
Stored = Callable[[int], np.ndarray]
Series = Callable[..., None]

OTHER = "1.2.826.0.1.3680043.8.498.3"


def refused(path: Path, *words: str, **options: str) -> None:
    """`read_ct` refuses a path in one line that names it and holds the words."""
    with pytest.raises(InputError) as error:
        read_ct(path, **options)
    message = str(error.value)
    assert "\n" not in message
    for word in (path.name, *words):
        assert word in message


def save(header: FileDataset, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def test_dicom_series_by_hand(tmp_path: Path, pixels: Stored, write_series: Series) -> None:
    write_series(tmp_path / "ct", range(5))
    volume = read_ct(tmp_path / "ct")
    assert volume.values.dtype == torch.float32
    wanted = torch.tensor(np.stack([pixels(n) for n in range(5)])).float() - 1024
    assert torch.equal(volume.values, wanted)
    assert volume.world_from_voxel.tolist() == [
        [0.5, 0, 0, -10],
        [0, 0.7, 0, -20],
        [0, 0, 2, 5],
        [0, 0, 0, 1],
    ]
    assert volume.name == "ct"


def test_dicom_slices_run_along_their_normal(
    tmp_path: Path, ct_slice: Slice, pixels: Stored
) -> None:
    # Coronal slices: columns to the left, rows downwards; the normal points to +y, the back.
    folder = tmp_path / "ct"
    folder.mkdir()
    for number in range(3):
        header = ct_slice(
            number,
            pixels(number),
            ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
            ImagePositionPatient=[1.0, 30 - 4 * number, 7.0],
        )
        save(header, folder / f"{number}.dcm")
    volume = read_ct(folder)
    assert float(volume.values[0, 0, 0]) == 200 - 1024
    assert volume.world_from_voxel.tolist() == [
        [0.5, 0, 0, 1],
        [0, 0, 4, 22],
        [0, -0.7, 0, 7],
        [0, 0, 0, 1],
    ]


def test_dicom_tilted_gantry_is_a_shear(tmp_path: Path, ct_slice: Slice, pixels: Stored) -> None:
    folder = tmp_path / "ct"
    folder.mkdir()
    for number in range(4):
        position = [0.0, 0.3 * number, 2.0 * number]
        header = ct_slice(number, pixels(number), ImagePositionPatient=position)
        save(header, folder / f"{number}.dcm")
    step = read_ct(folder).world_from_voxel[:3, 2]
    torch.testing.assert_close(step, torch.tensor([0, 0.3, 2.0], dtype=torch.float64))


def test_dicom_rescale_of_every_slice(tmp_path: Path, ct_slice: Slice, pixels: Stored) -> None:
    folder = tmp_path / "ct"
    folder.mkdir()
    for number, (slope, intercept) in enumerate([(1, -1024), (2, -1000), (0.5, -900.5)]):
        rescale = {"RescaleSlope": slope, "RescaleIntercept": intercept}
        header = ct_slice(number, pixels(0), **rescale)
        save(header, folder / f"{number}.dcm")
    assert read_ct(folder).values[:, 0, 2].tolist() == [-1022, -996, -899.5]


def test_dicom_folder_without_series(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no DICOM series", "directly holds")
    (tmp_path / "empty" / "notes.txt").write_text("nothing here")
    refused(tmp_path / "empty", "no DICOM series")


def test_dicom_folder_with_several_series(tmp_path: Path, write_series: Series) -> None:
    folder = tmp_path / "ct"
    write_series(folder, range(5))
    write_series(folder, range(3), SeriesInstanceUID=OTHER, SeriesDescription="soft")
    refused(
        folder, "2 series", "(bone, 5 files, 2.00 mm apart)", f"{OTHER} (soft, 3 files", "--series"
    )
    assert len(read_ct(folder, series="bone").values) == 5
    assert len(read_ct(folder, series=OTHER).values) == 3
    refused(folder, "no series called 'lung'", OTHER, series="lung")


def test_dicom_positions_rounded_to_a_tenth_pass(
    tmp_path: Path, ct_slice: Slice, pixels: Stored
) -> None:
    folder = tmp_path / "ct"
    folder.mkdir()
    for number in range(8):
        position = [0.0, 0.0, round(0.625 * 3 * number, 1)]
        header = ct_slice(number, pixels(number), ImagePositionPatient=position)
        save(header, folder / f"{number}.dcm")
    assert read_ct(folder).spacing[2] == pytest.approx(1.875, abs=0.01)


def test_dicom_one_slice(tmp_path: Path, write_series: Series) -> None:
    write_series(tmp_path / "ct", [0])
    refused(tmp_path / "ct", "one slice")
    refused(tmp_path / "ct" / "bone99.dcm", "one slice", "folder of its slices")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "different orientation"),
        ({"PixelSpacing": [0.7, 0.6]}, "different size or pixel spacing"),
        ({"Modality": "PT"}, "CT/PT images"),
        ({"NumberOfFrames": 2}, "multi-frame"),
        ({"ImagePositionPatient": None}, "without position"),
    ],
)
def test_dicom_slice_that_does_not_belong(
    tmp_path: Path,
    fields: dict[str, object],
    words: str,
    ct_slice: Slice,
    pixels: Stored,
    write_series: Series,
) -> None:
    write_series(tmp_path / "ct", range(4))
    header = ct_slice(4, pixels(4), **fields)
    save(header, tmp_path / "ct" / "other.dcm")
    refused(tmp_path / "ct", words)


def test_dicom_slice_cut_short(tmp_path: Path, write_series: Series) -> None:
    write_series(tmp_path / "ct", range(3))
    path = tmp_path / "ct" / "bone98.dcm"
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    refused(tmp_path / "ct", "bone98.dcm", "before its last pixel")
    path.write_bytes(whole)
    header = pydicom.dcmread(path)
    header.PixelData = header.PixelData[:6]
    header.save_as(path)
    refused(tmp_path / "ct", "bone98.dcm", "before its last pixel")
