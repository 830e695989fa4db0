"""Plastimatch's geometry: there and back, and against what plastimatch 1.9.4 (Debian) wrote and rendered.

The golden numbers come from: plastimatch drr --nrm "0.3 -0.8 0.4" --vup "0.1 0.2 1" --sad 900 --sid 1150
-o "4 10 -6" -i exact with -r "1200 1000" -z "120 150" -c "310 470", with -z "-120 150" -c "890 470", or with
-r "60 100" -z "120 150" -c "31 47"; the volume has voxels of 2 mm, one of them bright, whose
shadow's centroid was taken.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.geometry.formats import (
    PlastimatchView,
    from_geometry_file,
    from_plastimatch,
    to_geometry_file,
    to_plastimatch,
)

VIEW = PlastimatchView(
    nrm=(0.3, -0.8, 0.4), vup=(0.1, 0.2, 1.0), sad=900.0, sid=1150.0, dim=(60, 100),
    detector_size=(120.0, 150.0), image_center=(31.0, 47.0), isocenter=(4.0, 10.0, -6.0),
)  # fmt: skip
FINE = replace(VIEW, dim=(1200, 1000), image_center=(310.0, 470.0))
MIRRORED = replace(FINE, detector_size=(-120.0, 150.0), image_center=(890.0, 470.0))
FILE = """\
    3.10000000e+01     4.70000000e+01
    4.74023454e-01     1.40052388e-01    -7.54128240e-02    -3.74909463e+00
   -6.09047105e-03    -2.99955697e-01    -5.95343540e-01    -5.48142389e-01
   -2.76521192e-04     7.37389828e-04    -3.68694914e-04     7.74128713e-01
    9.00000000e+02
    1.15000000e+03
   -3.17999371e-01     8.47998302e-01    -4.23999151e-01
Extrinsic
    9.48046908e-01     2.80104775e-01    -1.50825648e-01    -7.49818927e+00
   -9.13570657e-03    -4.49933545e-01    -8.93015310e-01    -8.22213583e-01
   -3.17999371e-01     8.47998302e-01    -4.23999151e-01     8.90248020e+02
    0.00000000e+00     0.00000000e+00     0.00000000e+00     1.00000000e+00
Intrinsic
    5.00000000e-01     0.00000000e+00     0.00000000e+00     0.00000000e+00
    0.00000000e+00     6.66666667e-01     0.00000000e+00     0.00000000e+00
    0.00000000e+00     0.00000000e+00     8.69565217e-04     0.00000000e+00
"""


def numbers(text: str) -> list[float]:
    return [float(word) for word in text.split() if word not in {"Extrinsic", "Intrinsic"}]


def same(one: Cameras, other: Cameras, atol: float = 1e-8) -> None:
    assert one.size == other.size
    for name in ("source", "first_pixel", "column_step", "row_step"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=atol, rtol=0)


def turned(seed: int) -> Cameras:
    """Any cameras with pixels at right angles, seen from either side, off centre."""
    draw = torch.Generator().manual_seed(seed)
    axes, _ = torch.linalg.qr(torch.randn(3, 3, 3, generator=draw, dtype=torch.float64))
    right, down, beam = axes.unbind(1)
    source = 100 * torch.randn(3, 3, generator=draw, dtype=torch.float64) - 1000 * beam
    shift = 20 * torch.randn(3, 2, generator=draw, dtype=torch.float64)
    first = source + 1200 * beam + shift[:, :1] * right + shift[:, 1:] * down
    return Cameras(source, first, 0.4 * right, 0.7 * down, size=(30, 50))


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_there_and_back(seed: int):
    cameras = turned(seed)
    views = to_plastimatch(cameras)
    same(from_plastimatch(views), cameras)
    files = [from_geometry_file(to_geometry_file(view), cameras.size) for view in views]
    same(from_plastimatch(files), cameras)


def test_by_hand():
    """From behind, seen from the detector in front: width negative, the source at +y, the head up."""
    camera = Cameras.from_angles(0, 0, sod_mm=1000, sdd_mm=1100, size=(3, 5), pixel_mm=2)
    assert to_plastimatch(camera) == [
        PlastimatchView(
            nrm=(0, 1, 0), vup=(0, 0, 1), sad=1000, sid=1100, dim=(5, 3), detector_size=(-10, 6),
            image_center=(2, 1),
        )
    ]  # fmt: skip


def test_the_isocentre_is_kept():
    made = Cameras.from_angles(
        30, 10, 5, sod_mm=900, sdd_mm=1100, size=(3, 5), pixel_mm=2, isocenter=(10, 20, -30)
    )
    (view,) = to_plastimatch(made, (10.0, 20.0, -30.0))
    assert view.sad == pytest.approx(900)
    assert view.isocenter == pytest.approx((10, 20, -30))


def test_the_file_is_the_one_plastimatch_writes():
    written = numbers(to_geometry_file(VIEW))
    assert written == pytest.approx(numbers(FILE), rel=1e-8, abs=1e-8)
    mirrored = numbers(to_geometry_file(MIRRORED))
    assert mirrored[:6] == pytest.approx(
        (890, 470, -9.48046908, -2.80104775, 1.50825648, 74.9818927)
    )
    assert mirrored[35] == pytest.approx(-10)


def test_a_file_of_plastimatch_is_read():
    """It holds nine digits: 1e-8 of a metre."""
    same(
        from_plastimatch([from_geometry_file(FILE, (100, 60))]), from_plastimatch([VIEW]), atol=2e-5
    )


@pytest.mark.parametrize(
    ("view", "bead", "row", "column"),
    [
        (FINE, (20, -14, 10), 437.882, 389.942),
        (FINE, (-10, 6, -20), 591.957, 154.276),
        (FINE, (0, 0, 0), 462.917, 213.137),
        (MIRRORED, (20, -14, 10), 437.882, 810.058),
    ],
)
def test_a_bead_lands_where_plastimatch_renders_it(view, bead, row, column):
    spot = from_plastimatch([view]).project_points(torch.tensor([bead], dtype=torch.float64))
    assert spot[0, 0].tolist() == pytest.approx((row, column), abs=0.02)


def test_arguments_are_those_of_the_program():
    words = VIEW.arguments()
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options["--nrm"] == "0.3 -0.8 0.4"
    assert options["--dim"] == "60 100"
    assert options["--image-center"] == "31.0 47.0"
    assert options["--sad"] == "900.0"


def test_what_is_no_plastimatch_geometry_is_refused():
    camera = Cameras.from_angles(0, 0, sod_mm=1000, sdd_mm=1100, size=(3, 5), pixel_mm=2)
    with pytest.raises(InputError, match="right angles"):
        to_plastimatch(replace(camera, row_step=camera.row_step + 0.1 * camera.column_step))
    with pytest.raises(InputError, match="behind a source"):
        to_plastimatch(camera, (0.0, 2000.0, 0.0))
    with pytest.raises(InputError, match="two directions"):
        from_plastimatch([replace(VIEW, vup=VIEW.nrm)])
    for text in ("", FILE.replace("9.00000000e+02", "0"), FILE + " 1", "a picture"):
        with pytest.raises(InputError, match="47 numbers"):
            from_geometry_file(text, (100, 60))
