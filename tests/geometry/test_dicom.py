"""Geometry tags of DICOM: what is known, what stays unknown, and cameras there and back."""

import math
from dataclasses import astuple, replace
from io import BytesIO

import pydicom
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.geometry.dicom import DicomGeometry, read_geometry, to_dicom

AP = DicomGeometry(
    sdd_mm=1100.0, sod_mm=1000.0, primary=0.0, secondary=0.0, size=(3, 5), imager_mm=(2.0, 1.0),
    orientation=("L", "F"),
)  # fmt: skip
UNKNOWN = DicomGeometry()


def header(**tags: object) -> Dataset:
    """A header that went through a file."""
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    file = BytesIO()
    dataset.save_as(file, implicit_vr=True, little_endian=True)
    return pydicom.dcmread(file, force=True)


def same(one: Cameras, other: Cameras, atol: float = 1e-6) -> None:
    assert one.size == other.size
    for name in ("source", "first_pixel", "column_step", "row_step"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=atol, rtol=0)


def turned(cameras: Cameras, quarters: int, mirrored: bool) -> Cameras:
    """The same detector with rows and columns numbered otherwise: a picture turned by quarters, then mirrored."""
    for _ in range(quarters):
        rows, columns = cameras.size
        cameras = Cameras(
            cameras.source,
            cameras.first_pixel + (columns - 1) * cameras.column_step,
            cameras.row_step,
            -cameras.column_step,
            (columns, rows),
        )
    if mirrored:
        first = cameras.first_pixel + (cameras.size[1] - 1) * cameras.column_step
        return replace(cameras, first_pixel=first, column_step=-cameras.column_step)
    return cameras


@settings(max_examples=40)
@given(
    primary=st.floats(-180, 180),
    secondary=st.floats(-90, 90) | st.sampled_from([-90.0, 90.0]),
    distances=st.tuples(st.floats(500, 1500), st.floats(0, 400)),
    rows=st.integers(1, 3000),
    quarters=st.integers(0, 3),
    mirrored=st.booleans(),
)
def test_there_and_back_through_a_file(primary, secondary, distances, rows, quarters, mirrored):
    sod, gap = distances
    made = Cameras.from_angles(
        primary, secondary, sod_mm=sod, sdd_mm=sod + gap, size=(rows, 40), pixel_mm=0.139,
        isocenter=(5, -7, 11),
    )  # fmt: skip
    made = turned(made.regrid((rows, 20)), quarters, mirrored)
    (geometry,) = to_dicom(made, (5, -7, 11))
    read = read_geometry(header(**geometry.tags()))
    same(read.cameras((5, -7, 11)), made, atol=1e-5)


def test_ap_by_hand():
    camera = AP.cameras()
    assert camera.source.tolist() == [[0, 1000, 0]]
    assert camera.first_pixel.tolist() == [[-2, -100, 2]]
    assert camera.column_step.tolist() == [[1, 0, 0]]
    assert camera.row_step.tolist() == [[0, 0, -2]]
    assert to_dicom(camera) == [AP]


def test_patient_orientation_turns_the_image():
    """R/F shows the same detector from behind: the patient's right on the right. F/L is turned by a quarter."""
    mirrored = replace(AP, orientation=("R", "F")).cameras()
    assert mirrored.column_step.tolist() == [[-1, 0, 0]]
    assert mirrored.first_pixel.tolist() == [[2, -100, 2]]
    lying = replace(AP, orientation=("F", "L")).cameras()
    assert lying.column_step.tolist() == [[0, 0, -1]]
    assert lying.row_step.tolist() == [[2, 0, 0]]
    oblique = replace(AP, primary=45.0, orientation=("LP", "F")).cameras()
    assert oblique.column_step[0].tolist() == pytest.approx([math.sqrt(0.5), math.sqrt(0.5), 0])


def test_an_orientation_that_contradicts_the_angles_is_refused():
    with pytest.raises(InputError, match="PatientOrientation P/F contradicts"):
        replace(AP, orientation=("P", "F")).cameras()


def test_letters_name_the_directions_of_rows_and_columns():
    made = Cameras.from_angles(
        [0, 45, 90, 180, 0], [0, 0, 0, 10, -40],
        sod_mm=1000, sdd_mm=1100, size=(3, 5), pixel_mm=1,
    )  # fmt: skip
    assert [g.orientation for g in to_dicom(made)] == [
        ("L", "F"), ("LP", "F"), ("P", "F"), ("R", "F"), ("L", "FP"),
    ]  # fmt: skip


def test_what_is_unknown_stays_unknown():
    assert read_geometry(header()) == UNKNOWN
    assert UNKNOWN.pixel_kind == "unknown"
    assert UNKNOWN.magnification is None
    assert UNKNOWN.tags() == {}


@pytest.mark.parametrize(
    "tags",
    [
        {"DistanceSourceToDetector": 0}, {"DistanceSourceToDetector": -1100}, {"DistanceSourceToPatient": ""},
        {"PositionerPrimaryAngle": 400}, {"PositionerSecondaryAngle": -91}, {"ImagerPixelSpacing": [0, 0]},
        {"ImagerPixelSpacing": [0.1]}, {"PixelSpacing": [0.1, -0.1]}, {"PatientOrientation": ["", ""]},
        {"PatientOrientation": ["X", "F"]}, {"PatientOrientation": ["LR", "F"]}, {"PatientOrientation": "L"},
        {"EstimatedRadiographicMagnificationFactor": 0.5}, {"Rows": 0, "Columns": 4}, {"Rows": 4},
        {"ViewPosition": " "}, {"ImageLaterality": ""}, {"PixelSpacingCalibrationType": ""},
    ],
)  # fmt: skip
def test_nonsense_is_unknown(tags):
    assert read_geometry(header(**tags)) == UNKNOWN


def test_damaged_text_is_unknown():
    dataset = header(DistanceSourceToDetector=1100, PositionerPrimaryAngle=0)
    raw = dataset.get_item("DistanceSourceToDetector")
    dataset[raw.tag] = raw._replace(value=b"a metre ")
    assert read_geometry(dataset) == DicomGeometry(primary=0.0)


def test_an_angle_of_zero_is_known():
    assert read_geometry(header(PositionerPrimaryAngle="0")).primary == 0.0


def test_everything_is_read():
    tags = {
        "DistanceSourceToDetector": 1150, "DistanceSourceToPatient": 1000, "PositionerPrimaryAngle": -30,
        "PositionerSecondaryAngle": 15, "Rows": 20, "Columns": 30, "ImagerPixelSpacing": [0.2, 0.1],
        "PixelSpacing": [0.18, 0.09], "PixelSpacingCalibrationType": "GEOMETRY",
        "EstimatedRadiographicMagnificationFactor": 1.1, "PatientOrientation": ["L", "F"], "ViewPosition": "AP",
        "Laterality": "R",
    }  # fmt: skip
    geometry = read_geometry(header(**tags))
    assert astuple(geometry) == (
        1150, 1000, -30, 15, (20, 30), (0.2, 0.1), (0.18, 0.09), "GEOMETRY", 1.1, ("L", "F"), "AP", "R",
    )  # fmt: skip
    assert geometry.pixel_mm == (0.18, 0.09)
    assert geometry.magnification == 1.1
    again = tags | {"ImageLaterality": "R"}
    del again["Laterality"]
    assert header(**geometry.tags()) == header(**again)


@pytest.mark.parametrize(
    ("imager", "stated", "calibration", "kind"),
    [
        ((0.2, 0.2), None, None, "detector"),
        ((0.2, 0.2), (0.2, 0.2), None, "detector"),
        ((0.2, 0.2), (0.18, 0.18), None, "corrected"),
        ((0.2, 0.2), (0.2, 0.2), "FIDUCIAL", "corrected"),
        (None, (0.18, 0.18), "GEOMETRY", "corrected"),
        (None, (0.18, 0.18), None, "unknown"),
        ((0.2, 0.2), None, "GEOMETRY", "detector"),
        (None, None, "GEOMETRY", "unknown"),
    ],
)
def test_where_millimetres_hold(imager, stated, calibration, kind):
    geometry = DicomGeometry(imager_mm=imager, stated_mm=stated, calibration=calibration)
    assert geometry.pixel_kind == kind
    assert geometry.pixel_mm == (stated or imager)


def test_magnification():
    assert AP.magnification == pytest.approx(1.1)
    assert replace(AP, stated_magnification=1.2).magnification == 1.2
    assert replace(AP, sod_mm=None).magnification is None
    assert replace(AP, sod_mm=1200.0).magnification is None
    # The stated magnification tells where the patient was: 1100 / 1.1.
    same(replace(AP, sod_mm=None, stated_magnification=1.1).cameras(), AP.cameras())


def test_missing_tags_are_named_and_never_guessed():
    film = DicomGeometry(size=(3, 5), imager_mm=(2.0, 1.0), primary=0.0)
    with pytest.raises(InputError) as error:
        film.cameras()
    message = str(error.value)
    missing = (
        "SourceToDetector",
        "SourceToPatient",
        "PositionerSecondaryAngle",
        "PatientOrientation",
    )
    assert all(word in message for word in missing)
    known = "PositionerPrimaryAngle", "ImagerPixelSpacing", "Rows"
    assert not any(word in message for word in known)
    whole = film.completed(sdd_mm=1100.0, sod_mm=1000.0, primary=77.0, secondary=0.0)
    assert whole.primary == 0.0, "what is known stays"
    same(whole.cameras(seen_from="detector"), AP.cameras())
    same(whole.cameras(seen_from="source"), replace(AP, orientation=("R", "F")).cameras())
    # A pixel size that nobody places is none at the detector.
    with pytest.raises(InputError, match="ImagerPixelSpacing"):
        replace(AP, imager_mm=None, stated_mm=(2.0, 1.0)).cameras()


def test_what_the_tags_cannot_say_is_refused():
    def arm(**changes) -> Cameras:
        numbers = {"primary": 20, "secondary": 10, "roll": 0} | changes
        return Cameras.from_angles(**numbers, sod_mm=1000, sdd_mm=1100, size=(4, 4), pixel_mm=1)

    with pytest.raises(InputError, match=r"rolled by 13 degrees"):
        to_dicom(arm(roll=13))
    with pytest.raises(InputError, match="off the central ray"):
        to_dicom(arm().crop(0, 1, (4, 4)))
    with pytest.raises(InputError, match="misses the isocentre"):
        to_dicom(arm(), (30.0, 0.0, 0.0))
    slanting = replace(arm(), row_step=arm().row_step + 0.1 * arm().column_step)
    with pytest.raises(InputError, match="slanting"):
        to_dicom(slanting)
    assert to_dicom(arm(roll=90))[0].orientation == ("H", "L"), "quarter turns can be said"


def test_real_films(shared):
    """What nine real headers say; none of them tells its distances, and no film makes a camera unasked."""
    folder = shared / "data" / "radiographs" / "dicom"
    found = {}
    for path in sorted(folder.glob("*.dcm")):
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        geometry = found[path.stem] = read_geometry(dataset)
        assert geometry.size == (dataset.Rows, dataset.Columns)
        with pytest.raises(InputError, match="DistanceSourceToDetector"):
            geometry.cameras(seen_from="source")
    assert len(found) == 9
    leg = found["RG3_RLE"]
    assert (leg.view, leg.laterality, leg.orientation) == ("AP", "R", ("R", "F"))
    assert leg.pixel_kind == "unknown"
    assert found["RG2_JPLY"].pixel_mm == (0.2, 0.2)
