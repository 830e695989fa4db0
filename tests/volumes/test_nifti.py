"""NIfTI headers that leave the place or the size of voxels open."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from crossray.errors import InputError
from crossray.volumes.io import read_ct

QFORM, SFORM, PIXDIM, UNITS, QUATERN, SROW = 252, 254, 76, 123, 256, 280
"""Where the fields stand in a NIfTI-1 header."""


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Path]:
    """A sound file of 0.5 x 0.75 x 3 mm, LPS, at (10, 20, 30), with some header fields overwritten."""
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5) - 1000)
    image.SetSpacing((0.5, 0.75, 3))
    image.SetOrigin((10, 20, 30))
    path = tmp_path / "leg.nii"
    sitk.WriteImage(image, str(path))

    def edit(*fields: tuple[int, str, tuple[float, ...]]) -> Path:
        raw = bytearray(path.read_bytes())
        for at, kind, values in fields:
            struct.pack_into("<" + kind, raw, at, *values)
        path.write_bytes(raw)
        return path

    return edit


def rows(*steps: float) -> tuple[int, str, tuple[float, ...]]:
    """An sform from its first three columns, row by row, at the origin."""
    x, y, z = (steps[i : i + 3] for i in (0, 3, 6))
    return SROW, "12f", (*x, 0.0, *y, 0.0, *z, 0.0)


def test_a_sound_header_needs_no_note(edited: Callable[..., Path]) -> None:
    volume = read_ct(edited())
    assert volume.notes == ()
    assert torch.equal(
        volume.world_from_voxel[:3, 3], torch.tensor([10, 20, 30], dtype=torch.float64)
    )


@pytest.mark.parametrize("codes", [(0, 1), (1, 0)], ids=["sform", "qform"])
def test_one_form_is_enough(edited: Callable[..., Path], codes: tuple[int, int]) -> None:
    volume = read_ct(edited((QFORM, "2h", codes)))
    assert volume.notes == ()
    assert volume.world_from_voxel[:3, 3].tolist() == [10, 20, 30]


def test_no_form_leaves_left_and_right_open(edited: Callable[..., Path]) -> None:
    (note,) = read_ct(edited((QFORM, "2h", (0, 0)))).notes
    assert note.startswith("leg.nii: ")
    assert "do not rely on left and right" in note


def test_two_places_are_said(edited: Callable[..., Path]) -> None:
    volume = read_ct(edited(rows(0.5, 0, 0, 0, 0.75, 0, 0, 0, 3)))
    assert "the sform's was taken" in volume.notes[0]
    # RAS +x, +y are LPS -x, -y.
    assert volume.world_from_voxel.diag().tolist() == [-0.5, -0.75, 3, 1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([rows(0.5, 0, 0, 0, -0.75, 0, 0, 0, 3)], "mirror image"),
        ([(PIXDIM + 4, "f", (0.0,))], "voxels of 0 x 0.75 x 3 mm"),
        ([(PIXDIM + 4, "f", (-0.5,))], "voxels of -0.5 x 0.75 x 3 mm"),
        ([(PIXDIM + 4, "3f", (1.0, 1.0, 1.0))], "two spacings, 1 x 1 x 1 mm"),
        ([rows(-0.5, 0.1, 0, 0, -0.743, 0, 0, 0, 3)], "not at right angles"),
        ([(QFORM, "2h", (0, 1)), rows(*[0.0] * 9)], "cannot be read"),
        ([(UNITS, "B", (1,))], "voxels of 500 x 750 x 3000 mm"),
        ([(UNITS, "B", (3,))], "not in mm"),
    ],
    ids=["mirrored", "flat", "negative", "two", "sheared", "empty", "metres", "micrometres"],
)
def test_unclear_places_are_refused(
    edited: Callable[..., Path], fields: list[tuple[int, str, tuple[float, ...]]], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read_ct(edited(*fields))
