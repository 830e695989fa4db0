"""Real radiographs in: PNG, JPEG, TIFF and DICOM files become one kind of image, grey, in [0, 1], bone bright.

The values are for looking at and for matching, not for measuring: the darkest pixel becomes 0 and the brightest 1.
"""

import contextlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.data.decoding import MAX_PIXELS, DicomFile, decode
from crossray.errors import InputError
from crossray.geometry.dicom import PixelKind, read_geometry

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DICOM_SUFFIXES = {".dcm", ".dicom", ".dic", ".ima"}
_PICTURES = ("PNG", "JPEG", "TIFF")  # pillow would start programs for some of the others
_INTERPRETATION, _TILE_WIDTH, _TILE_LENGTH = 262, 322, 323  # tags of TIFF; 0 is white


@dataclass(frozen=True, repr=False)
class Radiograph:
    """One view of a limb on film.

    Args:
        pixels: Display values (row, column) in [0, 1], bone bright, float32.
        pixel_mm: Distance between pixel centres along (rows, columns) in mm, or None where the file does not say.
        pixel_mm_kind: Where `pixel_mm` holds: "detector" on the detector's surface (magnified anatomy), "corrected" in
            the patient, calibrated by a fiducial or by geometry; "unknown" where the file does not say.
        name: What to call the view, usually the file's name without its suffix.
        view: The projection's name as the file gives it (DICOM View Position, "AP", "LL"), or None.
        laterality: "L", "R" or as the file gives it, or None.
    """

    pixels: Float[Tensor, "row column"]
    pixel_mm: tuple[float, float] | None = None
    pixel_mm_kind: PixelKind = "unknown"
    name: str = "radiograph"
    view: str | None = None
    laterality: str | None = None

    def __repr__(self) -> str:
        rows, columns = self.pixels.shape
        size = (
            "size in mm unknown"
            if self.pixel_mm is None
            else f"{self.pixel_mm[0]:g} x {self.pixel_mm[1]:g} mm"
        )
        return f"Radiograph({self.name}: {rows} x {columns} pixels, {size} ({self.pixel_mm_kind}))"


def read_radiograph(path: str | Path) -> Radiograph:
    """Read one radiograph from a PNG, JPEG, TIFF or DICOM file.

    Colour becomes grey, 16 bits are kept, a photograph's orientation tag is obeyed. DICOM values pass through the
    modality LUT, the VOI LUT or window, and then the inversion of MONOCHROME1, in this order, so that bone is bright.
    Files of other kinds are taken as they look: bone must be bright in them already.

    Args:
        path: The file. DICOM is recognised by its content; its name does not matter.

    Returns:
        The radiograph, its values stretched to the whole of [0, 1].

    Raises:
        InputError: The file is missing, unreadable, empty, no image, damaged, in an encoding without a decoder, of
            several frames, larger than 100 megapixels, or of one single grey.

    Source: DICOM PS3.3 C.11 (look-up tables), C.7.6.3.1.2 (photometric interpretation), 10.7.1.3 (pixel spacing).
    """
    path = Path(path)
    if _is_dicom(path):
        return _read_dicom(path)
    values = _read_picture(path)
    return Radiograph(_stretch(values, path), name=path.stem)


def _is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its magic word, or by its suffix for old files without a preamble."""
    if path.is_dir():
        raise InputError(f"{path} is a folder, not an image; name one image file a view.")
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path of this radiograph.") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened ({error.strerror}); check that you may read it."
        ) from None
    if not head:
        raise InputError(f"{path} is empty (0 bytes); copy or export this radiograph again.")
    return head[128:] == b"DICM" or path.suffix.lower() in _DICOM_SUFFIXES


def _read_picture(path: Path) -> np.ndarray:
    """Grey values of a PNG, JPEG or TIFF file as they are stored."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # pillow warns of what is refused below in our own words
        try:
            image = stack.enter_context(Image.open(path, formats=_PICTURES))
            _check_size(path, image.width, image.height, getattr(image, "n_frames", 1))
            tags = getattr(image, "tag_v2", {})  # of a TIFF
            _check_size(path, tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0), 1)
            deep = image.mode in {"F", "I"} or image.mode.startswith("I;16")
            grey = image if deep else image.convert("L")
            values = np.asarray(ImageOps.exif_transpose(grey))
            # pillow turns 8 bits over itself
            return -values.astype(np.float64) if deep and tags.get(_INTERPRETATION) == 0 else values
        except InputError:
            raise
        except UnidentifiedImageError:
            raise InputError(
                f"{path} is not an image; a PNG, JPEG, TIFF or DICOM file is needed."
            ) from None
        except Image.DecompressionBombError:
            raise InputError(_too_large(path, "far more")) from None
        except Exception as error:  # decoders raise anything on damaged files
            raise _damaged(path, error) from error


def _read_dicom(path: Path) -> Radiograph:
    """The displayed image of a DICOM file, and what its header says about the view."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # header details that do not matter to the image
        try:
            with DicomFile(path) as file:
                dataset = pydicom.dcmread(file, force=True)
            values = _displayed(dataset, path)
        except InputError:
            raise
        except Exception as error:  # and so do parsers of headers
            raise _damaged(path, error) from error
    geometry = read_geometry(dataset)
    return Radiograph(
        pixels=_stretch(values, path),
        pixel_mm=geometry.pixel_mm,
        pixel_mm_kind=geometry.pixel_kind,
        name=path.stem,
        view=geometry.view,
        laterality=geometry.laterality,
    )


def _displayed(dataset: "Dataset", path: Path) -> np.ndarray:
    """Pixel values after modality LUT, VOI LUT or window, and the inversion of MONOCHROME1; padding is darkest."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    if "PixelData" not in dataset or "Rows" not in dataset or "Columns" not in dataset:
        raise InputError(
            f"{path} is no DICOM image (it holds no pixels); name the image file of this view."
        )
    _check_size(path, dataset.Columns, dataset.Rows, int(dataset.get("NumberOfFrames") or 1))
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise InputError(f"{path} is coloured by a palette; export it in grey.")
    stored = decode(dataset, path)
    colour = (3,) if dataset.get("SamplesPerPixel") == 3 else ()
    if stored.shape != (dataset.Rows, dataset.Columns, *colour):
        raise InputError(f"{path} holds several frames; give one still image a view.")
    if stored.ndim == 3:
        return _grey(stored)
    values = apply_modality_lut(stored, dataset)
    if (whole := np.rint(values)).shape == values.shape and np.array_equal(whole, values):
        values = whole.astype(np.int32)  # a VOI LUT is looked up by whole numbers
    shown = np.asarray(apply_voi_lut(values, dataset), dtype=np.float64)
    if shown.min() == shown.max():
        shown = values.astype(np.float64)  # the window misses the image altogether
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        shown = -shown
    if (padding := dataset.get("PixelPaddingValue")) is not None and not (stored == padding).all():
        shown[stored == padding] = shown[stored != padding].min()
    return shown


def _grey(colour: np.ndarray) -> np.ndarray:
    """Luma (ITU-R BT.601, as pillow's own conversion) of RGB values (row, column, 3)."""
    return colour[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def _stretch(values: np.ndarray, path: Path) -> Float[Tensor, "row column"]:
    """Grey values with the darkest at 0 and the brightest at 1."""
    values = np.array(values, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise InputError(
            f"{path} has shape {values.shape}; a radiograph has rows and columns only."
        )
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{path} holds NaN or infinite values; export this radiograph again.")
    if low == high:
        raise InputError(
            f"{path} is blank (every pixel has the value {low:g}); give a radiograph with an image on it."
        )
    return torch.from_numpy(((values - low) / (high - low)).astype(np.float32))


def _check_size(path: Path, width: int, height: int, frames: int) -> None:
    """Refuse what is no single radiograph before its pixels are decoded."""
    if frames > 1:
        raise InputError(f"{path} holds {frames} frames; give one still image a view.")
    if width * height > MAX_PIXELS:
        raise InputError(_too_large(path, f"{width} x {height}"))


def _too_large(path: Path, size: str) -> str:
    limit = f"{MAX_PIXELS // 1_000_000} megapixels"
    return f"{path} has {size} pixels and {limit} are allowed; make it smaller first."


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    return InputError(
        f"{path} is damaged or cut short and cannot be read ({reason}); copy or export it again."
    )
