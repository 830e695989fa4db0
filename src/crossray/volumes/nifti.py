"""What ITK passes over in silence when it reads NIfTI: files cut short, NaN, which it zeroes, and unclear places."""

import gzip
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float

from crossray.errors import InputError

_FIELDS = ("datatype", "dim", "vox_offset", "pixdim", "qform", "sform", "quatern", "srow")
# NIfTI-1 and -2 by the bytes of their headers: types of the fields and where they stand. `quatern` holds the three
# quaternion parameters and the three offsets. Source: nifti1.h, nifti2.h.
_LAYOUTS = {
    348: (
        ("i2", "8i2", "f4", "8f4", "i2", "i2", "6f4", "(3,4)f4"),
        (70, 40, 108, 76, 252, 254, 256, 280),
    ),
    540: (
        ("i2", "8i8", "i8", "8f8", "i4", "i4", "6f8", "(3,4)f8"),
        (12, 16, 168, 104, 344, 348, 352, 400),
    ),
}
_FLOATS = {16: "f4", 64: "f8"}
_BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8}


def check_nifti(path: Path) -> tuple[str, ...]:
    """Refuse a NIfTI file that is no sound CT, and say what it leaves open.

    Args:
        path: A single-file NIfTI (.nii or .nii.gz).

    Returns:
        Notes: an orientation that is missing, or given twice and differently.

    Raises:
        InputError: A file that ends early, is damaged, holds NaN or infinity, or does not say beyond doubt how large
            its voxels are, which side is left, or that its axes are at right angles.
    """
    raw = _content(path)
    found = _header(raw)
    if found is None:
        return ()
    order, header = found
    axes = int(header["dim"][0])
    voxels = int(header["dim"][1 : 1 + axes].prod(dtype=np.int64))
    first, datatype = int(header["vox_offset"]), int(header["datatype"])
    if len(raw) < first + voxels * _BYTES.get(datatype, 0):
        raise InputError(f"{path} ends before its last voxel; copy or download it again.")
    if datatype in _FLOATS:
        values = np.frombuffer(raw, order + _FLOATS[datatype], count=voxels, offset=first)
        if not all(np.isfinite(some).all() for some in np.array_split(values, 64)):
            raise InputError(
                f"{path} holds NaN or infinite values; replace them (air is -1000 HU)."
            )
    return _check_place(path, header) if axes >= 3 else ()


def _check_place(path: Path, header: np.void) -> tuple[str, ...]:
    """Compare the three ways in which NIfTI says where voxels lie; ITK takes the sform where it can."""
    spacing = np.asarray(header["pixdim"][1:4], float)
    if not (spacing > 0).all():
        raise InputError(
            f"{path} gives voxels of {_times(spacing)} mm; write it again with its spacing (pixdim)."
        )
    if header["qform"] <= 0 and header["sform"] <= 0:
        return (
            f"{path.name}: it does not say how it lies in the patient (no sform, no qform); its axes were taken to run "
            "to the left, back and head, so do not rely on left and right.",
        )
    sform = np.asarray(header["srow"], float)
    if header["sform"] <= 0 or not sform.any():
        return ()
    steps = np.linalg.norm(sform[:, :3], axis=0)
    if not np.allclose(steps, spacing, rtol=0.01):
        raise InputError(
            f"{path} gives two spacings, {_times(spacing)} mm (pixdim) and {_times(steps)} mm (sform); write it again "
            "with the right one."
        )
    directions = sform[:, :3] / steps
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3):
        raise InputError(
            f"{path} has axes that are not at right angles (a tilted gantry?); give the DICOM folder instead."
        )
    return _compare_forms(path, header, sform) if header["qform"] > 0 else ()


def _compare_forms(path: Path, header: np.void, sform: Float[np.ndarray, "3 4"]) -> tuple[str, ...]:
    """A note where sform and qform differ; refused where one is the other's mirror image."""
    from scipy.spatial.transform import Rotation

    b, c, d, *offset = map(float, header["quatern"])
    a = max(0.0, 1 - b * b - c * c - d * d) ** 0.5
    turned = Rotation.from_quat([b, c, d, a]).as_matrix() * header["pixdim"][1:4]
    turned[:, 2] *= -1 if header["pixdim"][0] < 0 else 1
    if np.linalg.det(turned) * np.linalg.det(sform[:, :3]) < 0:
        raise InputError(
            f"{path} gives two orientations, of which one is the mirror image of the other (sform and qform); write "
            "it again with the right one."
        )
    qform = np.column_stack([turned, offset])
    if np.allclose(qform, sform, atol=1e-2):
        return ()
    return (
        f"{path.name}: it gives two places in the patient (sform and qform); the sform's was taken.",
    )


def _times(lengths: Float[np.ndarray, " 3"]) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths)


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is cut short or damaged; copy or download it again.") from error


def _header(raw: bytes) -> tuple[str, np.void] | None:
    """Byte order and header, by its first number; None for no NIfTI."""
    for order in ("<", ">"):
        size = int(np.frombuffer(raw, order + "i4", count=1)[0]) if len(raw) >= 4 else 0
        if size in _LAYOUTS and len(raw) >= size:
            formats, offsets = _LAYOUTS[size]
            layout = np.dtype(
                {
                    "names": _FIELDS,
                    "formats": formats,
                    "offsets": offsets,
                    "itemsize": size,
                }
            )
            return order, np.frombuffer(raw, layout.newbyteorder(order), count=1)[0]
    return None
