"""What a DICOM radiograph (CR, DX, XA) says of its geometry, and cameras to and from it.

Unknown stays unknown: a tag that is absent, empty, unreadable or impossible (a distance of 0) is None, never a default.
"""

import math
import warnings
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry.camera import Cameras

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Pair = tuple[float, float]
PixelKind = Literal["detector", "corrected", "unknown"]
"""Where millimetres hold: at the detector (the anatomy is magnified), corrected to the patient, or nobody says."""

_KEYWORDS = {
    "sdd_mm": "DistanceSourceToDetector",
    "sod_mm": "DistanceSourceToPatient",
    "primary": "PositionerPrimaryAngle",
    "secondary": "PositionerSecondaryAngle",
    "imager_mm": "ImagerPixelSpacing",
    "stated_mm": "PixelSpacing",
    "calibration": "PixelSpacingCalibrationType",
    "stated_magnification": "EstimatedRadiographicMagnificationFactor",
    "orientation": "PatientOrientation",
    "view": "ViewPosition",
    "laterality": "ImageLaterality",
}
_LETTERS = {
    "L": (1.0, 0.0, 0.0), "R": (-1.0, 0.0, 0.0), "P": (0.0, 1.0, 0.0),
    "A": (0.0, -1.0, 0.0), "H": (0.0, 0.0, 1.0), "F": (0.0, 0.0, -1.0),
}  # fmt: skip
_SLANT = math.sin(math.radians(22.5))
"""A direction is named by the letters of all axes on which it has more than this share."""
_AGREE = 0.5
"""Least cosine between an image's direction and its letters; one letter may name a direction 45 degrees off."""
_EXACT = 1e-9
"""Greatest sine of an angle, or offset in detector sides, that passes for none."""


@dataclass(frozen=True)
class DicomGeometry:
    """The geometry tags of one projection radiograph; None for what is unknown.

    Args:
        sdd_mm: Distance Source to Detector (0018,1110).
        sod_mm: Distance Source to Patient (0018,1111). XA measures it to the isocentre; CR and DX to the side of the
            table or bucky next to the patient, so that anatomy in front of it is magnified more than `magnification`.
        primary: Positioner Primary Angle (0018,1510), degrees, LAO positive.
        secondary: Positioner Secondary Angle (0018,1511), degrees, cranial positive.
        size: Rows and columns.
        imager_mm: Imager Pixel Spacing (0018,1164), at the detector; of a scanned film, Nominal Scanned Pixel Spacing
            (0018,2010). Distances between rows and between columns.
        stated_mm: Pixel Spacing (0028,0030), in the same order.
        calibration: Pixel Spacing Calibration Type (0028,0A02): FIDUCIAL or GEOMETRY.
        stated_magnification: Estimated Radiographic Magnification Factor (0018,1114).
        orientation: Patient Orientation (0020,0020): letters of the directions along a row and along a column.
        view: View Position (0018,5101), such as "AP" or "LL".
        laterality: Image Laterality (0020,0062) or Laterality (0020,0060).

    Source: DICOM PS3.3, X-Ray Positioner and DX Positioning modules, 10.7.1.3 (spacing), C.7.6.1.1.1 (orientation).
    """

    sdd_mm: float | None = None
    sod_mm: float | None = None
    primary: float | None = None
    secondary: float | None = None
    size: tuple[int, int] | None = None
    imager_mm: Pair | None = None
    stated_mm: Pair | None = None
    calibration: str | None = None
    stated_magnification: float | None = None
    orientation: tuple[str, str] | None = None
    view: str | None = None
    laterality: str | None = None

    @property
    def pixel_mm(self) -> Pair | None:
        """Distance between pixel centres along rows and columns in mm; `pixel_kind` says where it holds."""
        return self.stated_mm or self.imager_mm

    @property
    def pixel_kind(self) -> PixelKind:
        """Where `pixel_mm` holds.

        Example:
            >>> DicomGeometry(imager_mm=(0.14, 0.14)).pixel_kind
            'detector'
            >>> DicomGeometry(imager_mm=(0.14, 0.14), stated_mm=(0.125, 0.125)).pixel_kind
            'corrected'
            >>> DicomGeometry(stated_mm=(0.14, 0.14)).pixel_kind
            'unknown'
        """
        if self.stated_mm and (
            self.calibration or (self.imager_mm or self.stated_mm) != self.stated_mm
        ):
            return "corrected"
        return "detector" if self.imager_mm else "unknown"

    @property
    def magnification(self) -> float | None:
        """How much larger a thing at `sod_mm` is on the detector: as stated, or else sdd / sod."""
        if self.stated_magnification or not (self.sdd_mm and self.sod_mm):
            return self.stated_magnification
        return self.sdd_mm / self.sod_mm if self.sdd_mm >= self.sod_mm else None

    def completed(self, **fallbacks: Any) -> "DicomGeometry":
        """The same geometry with fields (by name) filled in where they are unknown; what is known stays."""
        unknown = {name: x for name, x in fallbacks.items() if getattr(self, name) is None}
        return replace(self, **unknown)

    def cameras(
        self,
        isocenter: tuple[float, float, float] = (0.0, 0.0, 0.0),
        seen_from: Literal["detector", "source"] | None = None,
    ) -> Cameras:
        """The one view as cameras, its central ray through the isocentre and the detector's middle.

        Args:
            isocenter: World position in mm, which no tag tells.
            seen_from: How the image is turned where Patient Orientation is unknown: head up, seen from here. What is
                known comes first.

        Raises:
            InputError: Something needed is unknown (the message lists the tags), or the tags contradict each other.
        """
        sod = self.sod_mm
        if sod is None and self.sdd_mm and self.stated_magnification:
            sod = self.sdd_mm / self.stated_magnification
        if (
            sod is None or self.sdd_mm is None or self.primary is None or self.secondary is None
            or self.imager_mm is None or self.size is None or not (self.orientation or seen_from)
        ):  # fmt: skip
            raise self._incomplete(replace(self, sod_mm=sod), seen_from)
        upright = Cameras.from_angles(
            self.primary, self.secondary,
            sod_mm=sod, sdd_mm=self.sdd_mm, size=(1, 1), pixel_mm=1.0, isocenter=isocenter,
        )  # fmt: skip
        right, down = upright.column_step, upright.row_step
        if self.orientation:
            right, down = _agreeing(right, down, self.orientation)
        elif seen_from == "source":
            right = -right
        row_step, column_step = self.imager_mm[0] * down, self.imager_mm[1] * right
        rows, columns = self.size
        first = upright.first_pixel - (columns - 1) / 2 * column_step - (rows - 1) / 2 * row_step
        return Cameras(upright.source, first, column_step, row_step, self.size)

    def tags(self) -> dict[str, Any]:
        """What is known as DICOM keywords and values, to be set on a Dataset one by one."""
        known = {
            keyword: _decimal(value)
            for name, keyword in _KEYWORDS.items()
            if (value := getattr(self, name)) is not None
        }
        return known | (dict(zip(("Rows", "Columns"), self.size, strict=True)) if self.size else {})

    @staticmethod
    def _incomplete(geometry: "DicomGeometry", seen_from: str | None) -> InputError:
        names = ("sdd_mm", "sod_mm", "primary", "secondary", "imager_mm")
        missing = [f"{_KEYWORDS[n]} ({n})" for n in names if getattr(geometry, n) is None]
        if geometry.size is None:
            missing.append("Rows and Columns (size)")
        if not (geometry.orientation or seen_from):
            missing.append("PatientOrientation (orientation, or seen_from)")
        return InputError(
            f"The DICOM tags make no camera without {', '.join(missing)}; "
            "give them by name, for example completed(sdd_mm=1000)."
        )


def read_geometry(dataset: "Dataset") -> DicomGeometry:
    """The geometry tags of a CR, DX or XA image.

    Args:
        dataset: The header; pixels are not touched. Only its method `get` is used.
    """

    def value(*keywords: str) -> Any:
        """The first of the tags that holds anything; pydicom raises many errors on bad text."""
        for keyword in keywords:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found = dataset.get(keyword)
            except Exception:
                continue
            if found is not None and found != "":
                return found
        return None

    orientation = value("PatientOrientation")
    return DicomGeometry(
        sdd_mm=_positive(value("DistanceSourceToDetector")),
        sod_mm=_positive(value("DistanceSourceToPatient")),
        primary=_within(value("PositionerPrimaryAngle"), -180, 180),
        secondary=_within(value("PositionerSecondaryAngle"), -90, 90),
        size=_size(value("Rows"), value("Columns")),
        imager_mm=_pair(value("ImagerPixelSpacing", "NominalScannedPixelSpacing")),
        stated_mm=_pair(value("PixelSpacing")),
        calibration=_text(value("PixelSpacingCalibrationType")),
        stated_magnification=_within(value("EstimatedRadiographicMagnificationFactor"), 1, 100),
        orientation=_orientation(orientation),
        view=_text(value("ViewPosition")),
        laterality=_text(value("ImageLaterality", "Laterality")),
    )


def to_dicom(
    cameras: Cameras, isocenter: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> list[DicomGeometry]:
    """The views as DICOM's tags.

    Args:
        cameras: Views whose central rays pass through the isocentre and the detector's middle, and whose rows and
            columns run as the positioner's do, or turned by quarters or mirrored.
        isocenter: World position in mm; no tag tells it.

    Raises:
        InputError: What the tags cannot say: any other roll, slanting pixels, a detector off the central ray.
    """
    point = torch.tensor(isocenter, dtype=torch.float64)
    return [_to_dicom(cameras[view], point) for view in range(len(cameras))]


def _to_dicom(camera: Cameras, isocenter: Float[Tensor, " 3"]) -> DicomGeometry:
    column_mm, row_mm = float(camera.column_step.norm()), float(camera.row_step.norm())
    along_row, along_column = camera.column_step[0] / column_mm, camera.row_step[0] / row_mm
    rows, columns = camera.size
    source = camera.source[0]
    middle = camera.first_pixel[0] + (columns - 1) / 2 * camera.column_step[0]
    middle = middle + (rows - 1) / 2 * camera.row_step[0]
    sdd = float((middle - source).norm())
    beam = (middle - source) / sdd
    sod = float((isocenter - source) @ beam)
    if abs(float(along_row @ along_column)) > _EXACT:
        raise InputError("DICOM's tags know no slanting pixels; regrid the view to upright ones.")
    if max(abs(float(beam @ along_row)), abs(float(beam @ along_column))) > _EXACT:
        raise InputError(
            "DICOM's tags know no detector off the central ray; crop the view about the point where it meets it."
        )
    if float((isocenter - source - sod * beam).norm()) > _EXACT * sdd or not 0 < sod <= sdd * (
        1 + _EXACT
    ):
        raise InputError(
            "The central ray misses the isocentre between source and detector, which DICOM's tags cannot say."
        )
    right, down = _upright(along_row, along_column, beam)
    return DicomGeometry(
        sdd_mm=sdd,
        sod_mm=min(sod, sdd),
        primary=math.degrees(math.atan2(right[1], right[0])),
        secondary=math.degrees(math.atan2(beam[2], -down[2])),
        size=camera.size,
        imager_mm=(row_mm, column_mm),
        orientation=(_letters(along_row), _letters(along_column)),
    )


def _upright(
    along_row: Float[Tensor, " 3"], along_column: Float[Tensor, " 3"], beam: Float[Tensor, " 3"]
) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """The two directions turned by quarters, or mirrored, to right and down as the positioner holds the detector."""
    for right, down in _eight(along_row, along_column):
        seen_from_detector = float(torch.linalg.cross(right, down) @ beam) < 0
        if seen_from_detector and abs(float(right[2])) <= _EXACT and float(down[2]) <= _EXACT:
            return right, down
    right, down = min(_eight(along_row, along_column), key=lambda pair: float(pair[1][2]))
    roll = math.degrees(math.atan2(right[2], -down[2]))
    raise InputError(
        f"DICOM's tags know no roll, but the view is rolled by {abs(roll):.3g} degrees; make it with roll=0."
    )


def _agreeing(
    right: Float[Tensor, "1 3"], down: Float[Tensor, "1 3"], orientation: tuple[str, str]
) -> tuple[Float[Tensor, "1 3"], Float[Tensor, "1 3"]]:
    """The two directions turned by quarters, or mirrored, to run as Patient Orientation says."""
    wanted = [_direction(letters) for letters in orientation]

    def agreement(pair: tuple[Tensor, Tensor]) -> float:
        return min(float(run[0] @ want) for run, want in zip(pair, wanted, strict=True))

    best = max(_eight(right, down), key=agreement)
    if agreement(best) < _AGREE:
        raise InputError(
            f"PatientOrientation {'/'.join(orientation)} contradicts the positioner's angles; "
            "correct one of them, or set it to None and give seen_from."
        )
    return best


def _eight(one: Tensor, other: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Two directions in either order, forwards or backwards: quarter turns and mirror images of a picture."""
    signs = list(product((1, -1), repeat=2))
    return [(a * one, b * other) for a, b in signs] + [(a * other, b * one) for a, b in signs]


def _direction(letters: str) -> Float[Tensor, " 3"]:
    """The unit vector in the middle of the directions that letters name."""
    total = torch.tensor([_LETTERS[letter] for letter in letters], dtype=torch.float64).sum(0)
    return total / total.norm()


def _letters(direction: Float[Tensor, " 3"]) -> str:
    """Letters of the axes along which a direction runs, the most important first."""
    shares = {
        letter: float(direction @ torch.tensor(axis, dtype=torch.float64))
        for letter, axis in _LETTERS.items()
    }
    return "".join(x for x in sorted(shares, key=lambda x: -shares[x]) if shares[x] > _SLANT)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _positive(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number > 0 else None


def _within(value: Any, low: float, high: float) -> float | None:
    number = _number(value)
    return number if number is not None and low <= number <= high else None


def _size(rows: Any, columns: Any) -> tuple[int, int] | None:
    pair = _pair((rows, columns))
    return None if pair is None else (int(pair[0]), int(pair[1]))


def _pair(value: Any) -> Pair | None:
    """Two positive numbers, or None for anything else a header may hold."""
    numbers = [_positive(part) for part in value] if _is_list(value) else []
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        return None
    return numbers[0], numbers[1]


def _is_list(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str)


def _text(value: Any) -> str | None:
    return str(value or "").strip() or None


def _orientation(value: Any) -> tuple[str, str] | None:
    words = [str(word).strip().upper() for word in value] if _is_list(value) else []
    named = len(words) == 2 and all(words) and set("".join(words)) <= set(_LETTERS)
    opposed = any(set(pair) <= set(word) for word in words for pair in ("LR", "AP", "HF"))
    return (words[0], words[1]) if named and not opposed else None


def _decimal(value: Any) -> Any:
    """Numbers short enough for a DICOM decimal string of 16 characters: to 1e-9 mm or degrees."""
    if isinstance(value, float):
        return round(value, 9)
    return [_decimal(part) for part in value] if isinstance(value, tuple) else value
