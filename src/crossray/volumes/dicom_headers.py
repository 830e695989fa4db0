"""What the headers of a folder of DICOM files say: its series, and where each slice of one lies."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossray.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_FRAMES = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_TAGS = [
    *("SeriesInstanceUID", "SeriesDescription", "Modality", "ImageType", "NumberOfFrames"),
    *("Rows", "Columns", "SamplesPerPixel", "RescaleSlope", "RescaleIntercept"),
    *_PLACE,
    *_FRAMES,
]


@dataclass(frozen=True)
class Slice:
    """Where one image of a CT lies and what its stored values mean.

    Args:
        file: The DICOM file that holds it.
        frame: Its number in a multi-frame file, otherwise 0.
        position: World position of the first pixel's centre, LPS in mm (0020,0032).
        orientation: Directions along a row and along a column (0020,0037).
        pixel_mm: Distance between rows and between columns (0028,0030).
        size: Rows and columns.
        rescale: Slope and intercept from stored values to HU (0028,1053 and 0028,1052); 1 and 0 where missing.
    """

    file: str
    frame: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_mm: tuple[float, ...]
    size: tuple[int, int]
    rescale: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Series:
    """The images of one SeriesInstanceUID, by file.

    Args:
        uid: The SeriesInstanceUID.
        headers: The headers, without pixels.
    """

    uid: str
    headers: "dict[str, Dataset]"

    @property
    def description(self) -> str:
        """SeriesDescription, empty where there is none."""
        return str(next(iter(self.headers.values())).get("SeriesDescription", ""))

    @property
    def is_stack(self) -> bool:
        """Whether it can be a CT volume: no localizer, no other modality, more than two images, all placed."""
        headers = list(self.headers.values())
        images = sum(_frames(header) for header in headers)
        placed = all(
            _FRAMES[1] in header or header.get(_PLACE[0]) is not None for header in headers
        )
        return (
            images > 2
            and placed
            and all(_modality(h) == "CT" and not is_localizer(h) for h in headers)
        )

    def __str__(self) -> str:
        heights = [
            h.ImagePositionPatient for h in self.headers.values() if h.get(_PLACE[0]) is not None
        ]
        gap = ""
        if len(heights) > 1:
            ends = [[float(p[axis]) for p in heights] for axis in range(3)]
            length = sum((max(end) - min(end)) ** 2 for end in ends) ** 0.5
            gap = f", {length / (len(heights) - 1):.2f} mm apart"
        kinds = {_modality(header) for header in self.headers.values()} - {"CT"}
        kind = f", {'/'.join(sorted(kinds))}" if kinds else ""
        return f"{self.uid} ({self.description or 'no description'}, {len(self.headers)} files{gap}{kind})"


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its preamble."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def scan(place: Path) -> list[Series]:
    """The series of images that a folder directly holds, or of one file.

    ITK's own scan leaves out a file it cannot read without a word, and with it a slice.

    Raises:
        InputError: A DICOM file whose header cannot be read.
    """
    import pydicom

    found: dict[str, dict[str, Dataset]] = {}
    for path in sorted(place.iterdir()) if place.is_dir() else [place]:
        if path.is_file() and is_dicom(path):
            try:
                header = pydicom.dcmread(path, specific_tags=_TAGS)
            except Exception as error:  # whatever is wrong with the file, pydicom's errors are many
                raise InputError(
                    f"{path} is a damaged DICOM file; copy or export it again."
                ) from error
            if "Rows" in header:
                uid = str(header.get("SeriesInstanceUID", "unnamed"))
                found.setdefault(uid, {})[str(path)] = header
    return [Series(uid, headers) for uid, headers in found.items()]


def is_localizer(header: "Dataset") -> bool:
    """Whether an image is a scout view, by its ImageType (0008,0008)."""
    return "LOCALIZER" in [str(word).upper() for word in header.get("ImageType") or ()]


def slices_of(folder: Path, series: Series) -> Iterator[Slice]:
    """The slices of a CT series, in the order of their files.

    Raises:
        InputError: Images that are no CT, in colour, or without position, orientation, spacing.
    """
    modalities = {_modality(header) for header in series.headers.values()}
    if modalities != {"CT"}:
        raise InputError(
            f"{folder} holds {'/'.join(sorted(modalities))} images; give a CT, whose values are HU."
        )
    for file, header in series.headers.items():
        if int(header.get("SamplesPerPixel") or 1) != 1:
            raise InputError(f"{file} is a colour image; give the CT itself, whose values are HU.")
        if _FRAMES[1] not in header and _frames(header) > 1:
            raise InputError(
                f"{file} is a multi-frame file that does not say where its frames lie; convert it "
                "to .nii.gz, for example by dcm2niix."
            )
        for frame in range(_frames(header)):
            yield _slice(folder, file, frame, header)


def _slice(folder: Path, file: str, frame: int, header: "Dataset") -> Slice:
    values = [_value(header, frame, name) for name in _PLACE]
    if any(value is None for value in values):
        raise InputError(
            f"{folder} has slices without position, orientation or spacing, such as {Path(file).name}; export the "
            "axial series."
        )
    position, orientation, pixel_mm = (tuple(map(float, value)) for value in values)
    slope, intercept = (
        _value(header, frame, name) for name in ("RescaleSlope", "RescaleIntercept")
    )
    return Slice(
        file,
        frame,
        position,
        orientation,
        pixel_mm,
        (int(header.Rows), int(header.Columns)),
        (1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)),
    )


_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}


def _value(header: "Dataset", frame: int, name: str) -> Any:
    """An attribute of one frame: its own, that of all frames, or that of the file."""
    for group in reversed(_FRAMES):
        items = header.get(group) or []
        item = items[min(frame, len(items) - 1)] if items else {}
        inner = item.get(_GROUPS[name]) if items else None
        if inner and inner[0].get(name) is not None:
            return inner[0].get(name)
    return header.get(name)


def _frames(header: "Dataset") -> int:
    return int(header.get("NumberOfFrames") or 1)


def _modality(header: "Dataset") -> str:
    return str(header.get("Modality", "CT"))
