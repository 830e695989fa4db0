"""What ITK passes over in silence when it reads NIfTI: files cut short, and NaN, which it zeroes."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from crossray.errors import InputError

# NIfTI-1 and -2: bytes of the header, and where in it the data type, the eight dimensions and the
# offset of the voxels stand, with their types. Source: nifti1.h, nifti2.h.
_LAYOUTS = {
    348: ((70, "i2"), (40, "i2"), (108, "f4")),
    540: ((12, "i2"), (16, "i8"), (168, "i8")),
}
_FLOATS = {16: "f4", 64: "f8"}
_BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8}


def check_nifti(path: Path) -> None:
    """Refuse a NIfTI file that ends early, is damaged, or holds NaN or infinity.

    Args:
        path: A single-file NIfTI (.nii or .nii.gz) whose header ITK has accepted.

    Raises:
        InputError: As said, naming the file.
    """
    raw = _content(path)
    layout = _layout(raw)
    if layout is None:
        return
    order, fields = layout
    kind, dimensions, offset = (
        np.frombuffer(raw, order + code, count=count, offset=at)
        for (at, code), count in zip(fields, (1, 8, 1), strict=True)
    )
    voxels = int(dimensions[1 : 1 + int(dimensions[0])].prod(dtype=np.int64))
    first, datatype = int(offset[0]), int(kind[0])
    if len(raw) < first + voxels * _BYTES.get(datatype, 0):
        raise InputError(f"{path} ends before its last voxel; copy or download it again.")
    if datatype in _FLOATS:
        values = np.frombuffer(raw, order + _FLOATS[datatype], count=voxels, offset=first)
        if not np.isfinite(values).all():
            raise InputError(
                f"{path} holds NaN or infinite values; replace them (air is -1000 HU)."
            )


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is cut short or damaged; copy or download it again.") from error


def _layout(raw: bytes) -> tuple[str, tuple[tuple[int, str], ...]] | None:
    """Byte order and fields of the header, by its first number; None for no NIfTI."""
    for order in "<>":
        size = int(np.frombuffer(raw, order + "i4", count=1)[0]) if len(raw) >= 4 else 0
        if size in _LAYOUTS and len(raw) >= size:
            return order, _LAYOUTS[size]
    return None
