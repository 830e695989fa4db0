"""Faulty DICOM series: what is mended, what is said about it, and where mending ends."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence as Items

from crossray.errors import InputError
from crossray.volumes.io import read_ct

Slice = Callable[..., FileDataset]
Stored = Callable[[int], np.ndarray]
Series = Callable[..., None]

SCOUT = {
    "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.9",
    "SeriesDescription": "scout",
    "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
    "ImageOrientationPatient": [1, 0, 0, 0, 0, -1],
}


def save(header: FileDataset, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    header.save_as(path, enforce_file_format=True)


@pytest.fixture
def at_heights(tmp_path: Path, ct_slice: Slice, pixels: Stored) -> Callable[..., Path]:
    """A folder whose slice n lies at the n-th height in mm and holds the values of slice n."""

    def write(heights: Sequence[float], along: Sequence[float] = (0, 0, 1)) -> Path:
        for number, height in enumerate(heights):
            position = [height * part for part in along]
            save(
                ct_slice(number, pixels(number), ImagePositionPatient=position),
                tmp_path / "ct" / f"{number}.dcm",
            )
        return tmp_path / "ct"

    return write


def only_note(folder: Path) -> str:
    (note,) = read_ct(folder).notes
    assert folder.name in note
    return note


def test_a_sound_series_needs_no_note(at_heights: Callable[..., Path]) -> None:
    assert read_ct(at_heights([0, 2, 4])).notes == ()


def test_notes_are_said(at_heights: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="crossray"):
        volume = read_ct(at_heights([0, 2, 6, 8]))
    assert tuple(record.message for record in caplog.records) == volume.notes


@pytest.mark.parametrize(
    ("heights", "missing", "place"),
    [([0, 2, 6, 8], 1, 2.0), ([0, 6, 8, 10, 12], 2, 0.0), ([*range(0, 40, 2), 42], 1, 38.0)],
    ids=["one", "two in a row", "near the end"],
)
def test_missing_slices_are_interpolated(
    at_heights: Callable[..., Path], heights: list[float], missing: int, place: float
) -> None:
    folder = at_heights(heights)
    volume = read_ct(folder)
    note = only_note(folder)
    assert f"{missing} slice(s) missing" in note
    assert volume.spacing[2] == pytest.approx(2)
    assert len(volume.values) == len(heights) + missing
    # Stored values rise by 100 from a slice to the next, so by the hole's share in between.
    before = heights.index(place)
    index = int(place / 2)
    rise = 100 / (missing + 1)
    assert float(volume.values[index + 1, 0, 0]) == pytest.approx(-1024 + 100 * before + rise)
    for number, height in enumerate(heights):
        assert float(volume.values[int(height / 2), 0, 0]) == pytest.approx(-1024 + 100 * number)


@pytest.mark.parametrize(
    ("heights", "gap"),
    [
        ([0, 2, 10, 12], "8.00 mm between slices 2 and 3"),
        ([0, 1, 2, 6, 7], "4.00 mm between slices 3 and 4"),
        ([0, 5, 10, 20, 25], "10.00 mm between slices 3 and 4"),
    ],
    ids=["three slices", "three thin slices", "beyond 6 mm"],
)
def test_wide_holes_are_refused(
    at_heights: Callable[..., Path], heights: list[float], gap: str
) -> None:
    with pytest.raises(InputError, match=f"{gap}.*too wide a hole"):
        read_ct(at_heights(heights))


def test_uneven_slices_are_resampled(at_heights: Callable[..., Path]) -> None:
    # 2 mm, then 3 mm: of an even grid over 11 mm in steps of 2.2 mm, place 3 lies at 6.6 mm.
    folder = at_heights([0, 2, 4, 6, 8, 11])
    volume = read_ct(folder)
    assert "2.00 to 3.00 mm" in only_note(folder)
    assert volume.spacing[2] == pytest.approx(11 / 6)
    assert float(volume.values[3, 0, 0]) == pytest.approx(-1024 + 100 * 5.5 / 2)
    assert float(volume.values[-1, 0, 0]) == pytest.approx(-1024 + 500)


def test_a_tilted_stack_with_a_hole_stays_a_shear(at_heights: Callable[..., Path]) -> None:
    volume = read_ct(at_heights([0, 2, 6, 8], along=(0, 0.25, 1)))
    assert volume.world_from_voxel[:3, 2].tolist() == pytest.approx([0, 0.5, 2])


def test_slices_beside_the_stack_are_refused(
    at_heights: Callable[..., Path], ct_slice: Slice, pixels: Stored
) -> None:
    folder = at_heights([0, 2, 4, 6])
    save(ct_slice(9, pixels(9), ImagePositionPatient=[30, 0, 8]), folder / "beside.dcm")
    save(ct_slice(9, pixels(9), ImagePositionPatient=[0, 0, 10]), folder / "last.dcm")
    with pytest.raises(InputError, match="beside each other"):
        read_ct(folder)


def test_the_same_slice_twice_is_kept_once(
    at_heights: Callable[..., Path], ct_slice: Slice, pixels: Stored
) -> None:
    folder = at_heights([0, 2, 4])
    save(ct_slice(1, pixels(1), ImagePositionPatient=[0, 0, 2]), folder / "again.dcm")
    assert "1 slice(s) were there twice" in only_note(folder)
    assert len(read_ct(folder).values) == 3


def test_two_slices_at_one_place_are_refused_by_name(
    at_heights: Callable[..., Path], ct_slice: Slice, pixels: Stored
) -> None:
    folder = at_heights([0, 2, 4])
    save(ct_slice(1, pixels(7), ImagePositionPatient=[0, 0, 2]), folder / "other.dcm")
    with pytest.raises(InputError, match=r"same place .*1\.dcm and other\.dcm"):
        read_ct(folder)


def test_scouts_and_other_pictures_are_left_out(
    tmp_path: Path, write_series: Series, pixels: Stored
) -> None:
    folder = tmp_path / "ct"
    write_series(folder, range(4))
    write_series(folder, range(2), **SCOUT)
    write_series(
        folder, [0], SeriesInstanceUID="1.2.3", SeriesDescription="dose", ImagePositionPatient=None
    )
    volume = read_ct(folder)
    assert len(volume.values) == 4
    (note,) = volume.notes
    assert "left out" in note
    assert "(scout, 2 files" in note
    assert "(dose, 1 files" in note


def test_a_scout_within_the_series_is_left_out(
    tmp_path: Path, write_series: Series, ct_slice: Slice, pixels: Stored
) -> None:
    folder = tmp_path / "ct"
    write_series(folder, range(4))
    fields = {name: SCOUT[name] for name in ("ImageType", "ImageOrientationPatient")}
    save(ct_slice(9, pixels(9), **fields), folder / "scout.dcm")
    assert "1 localizer" in only_note(folder)
    assert len(read_ct(folder).values) == 4


def test_only_scouts_are_refused(tmp_path: Path, write_series: Series) -> None:
    write_series(tmp_path / "ct", [0], **SCOUT)
    with pytest.raises(InputError, match="one slice"):
        read_ct(tmp_path / "ct")


def test_colour_is_refused(tmp_path: Path, ct_slice: Slice) -> None:
    for number in range(3):
        header = ct_slice(number, np.zeros((3, 4, 3)), SamplesPerPixel=3)
        save(header, tmp_path / "ct" / f"{number}.dcm")
    with pytest.raises(InputError, match="colour image"):
        read_ct(tmp_path / "ct")


def test_a_damaged_header_is_refused(tmp_path: Path, write_series: Series) -> None:
    write_series(tmp_path / "ct", range(3))
    path = tmp_path / "ct" / "bone98.dcm"
    path.write_bytes(path.read_bytes()[:150] + b"\xff" * 40)
    with pytest.raises(InputError, match=r"bone98\.dcm is a damaged DICOM file"):
        read_ct(tmp_path / "ct")


def item(**fields: object) -> Items:
    group = Dataset()
    for name, value in fields.items():
        setattr(group, name, value)
    return Items([group])


def enhanced(make: Slice, stored: Stored) -> FileDataset:
    """Three frames, last first, with their places in functional groups."""
    frames = np.stack([stored(n) for n in (2, 1, 0)])
    header = make(0, frames[0], ImagePositionPatient=None, ImageOrientationPatient=None)
    del header.PixelSpacing, header.RescaleSlope, header.RescaleIntercept
    header.NumberOfFrames = 3
    header.PixelData = frames.astype(np.uint16).tobytes()
    header.SharedFunctionalGroupsSequence = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=item(PixelSpacing=[0.7, 0.5]),
        PixelValueTransformationSequence=item(RescaleSlope=1, RescaleIntercept=-1024),
    )
    places = [
        item(PlanePositionSequence=item(ImagePositionPatient=[-10, -20, z])) for z in (9, 7, 5)
    ]
    header.PerFrameFunctionalGroupsSequence = Items([place[0] for place in places])
    return header


def test_an_enhanced_file_is_read_like_its_slices(
    tmp_path: Path, write_series: Series, ct_slice: Slice, pixels: Stored
) -> None:
    write_series(tmp_path / "classic", range(3))
    save(enhanced(ct_slice, pixels), tmp_path / "enhanced" / "all.dcm")
    classic = read_ct(tmp_path / "classic")
    for path in (tmp_path / "enhanced", tmp_path / "enhanced" / "all.dcm"):
        volume = read_ct(path)
        assert torch.equal(volume.values, classic.values)
        assert torch.equal(volume.world_from_voxel, classic.world_from_voxel)


def test_frames_without_places_are_refused(tmp_path: Path, ct_slice: Slice, pixels: Stored) -> None:
    header = enhanced(ct_slice, pixels)
    del header.PerFrameFunctionalGroupsSequence
    save(header, tmp_path / "ct" / "all.dcm")
    with pytest.raises(InputError, match="where its frames lie"):
        read_ct(tmp_path / "ct")
