"""Values that are no Hounsfield units: mended where air and tissue prove how, otherwise refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.volumes.hounsfield import as_hounsfield
from crossray.volumes.phantom import phantom
from crossray.volumes.volume import Volume


def leg(noise: float = 15.0) -> torch.Tensor:
    """HU of a leg: fat about muscle about bone in air, with the noise of a scan."""
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(60.0), indexing="ij")
    radius = torch.hypot(y - 30, x - 30)
    slice_ = torch.full((60, 60), -1000.0)
    for reach, hu in ((20, -100), (17, 50), (6, 1200), (4, -50)):
        slice_[radius < reach] = hu
    noisy = slice_ + noise * torch.randn(8, 60, 60)
    return noisy.clamp(min=-1024).round()


def volume(values: torch.Tensor) -> Volume:
    return Volume(values, torch.eye(4, dtype=torch.float64), "leg.nii")


def test_hounsfield_units_pass_untouched() -> None:
    before = volume(leg())
    assert as_hounsfield(before) is before


@pytest.mark.parametrize("limb", ["hand", "knee", "ankle"])
def test_phantoms_pass_untouched(limb: str) -> None:
    before = phantom(limb, 0, 2.0)
    assert as_hounsfield(before) is before


@pytest.mark.parametrize("offset", [1000, 1024])
def test_a_missing_intercept_is_told_by_the_air(offset: int) -> None:
    before = leg()
    after = as_hounsfield(volume(before + offset))
    error = after.values - before
    assert float(error.max() - error.min()) == 0
    assert abs(float(error[0, 0, 0])) < 10  # air is found to within a bin of 10 HU
    (note,) = after.notes
    assert note.startswith("leg.nii: its values lack the rescale intercept")
    assert "air at -1000 HU" in note


@pytest.mark.parametrize("value", [-2000.0, -3024.0, -32768.0])
def test_padding_becomes_air(value: float) -> None:
    before = leg()
    y, x = np.ogrid[:60, :60]
    corners = torch.from_numpy(np.hypot(y - 30, x - 30) > 31)
    after = as_hounsfield(volume(before.masked_fill(corners, value)))
    assert torch.equal(after.values, before.masked_fill(corners, -1000))
    (note,) = after.notes
    assert f"padding value {value:g}" in note


def test_padding_hides_no_missing_intercept() -> None:
    # Padding of -2000 about stored values: both are mended, each with its own sentence.
    stored = leg() + 1024
    stored[:, :3] = -2000
    after = as_hounsfield(volume(stored))
    assert len(after.notes) == 2
    assert float(after.values[:, 30, 30].mean()) == pytest.approx(-50, abs=20)


def test_a_rare_impossible_value_is_left() -> None:
    before = leg()
    before[0, 0, 0] = -1500
    assert as_hounsfield(volume(before)).notes == ()


@pytest.mark.parametrize(
    "values",
    [
        (leg() + 1024) / 10,
        (leg() + 1024).clamp(0, 255),
        (leg() / 1000 + 1).clamp(min=0) * 0.02,
        500 + 100 * torch.randn(8, 60, 60).clamp(-4, 4),
        torch.zeros(3, 4, 5),
    ],
    ids=["slope", "8 bits", "1/mm", "no air", "nothing"],
)
def test_what_proves_nothing_is_refused(values: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"leg\.nii does not hold Hounsfield units: .*rescale"):
        as_hounsfield(volume(values))


def test_an_intercept_applied_twice_is_refused() -> None:
    with pytest.raises(InputError, match="applied twice"):
        as_hounsfield(volume(leg() - 1024))


def test_tissue_as_dense_as_bone_is_doubted() -> None:
    before = leg()
    after = as_hounsfield(volume(2 * (before + 1000) - 1000))
    (note,) = after.notes
    assert "rescale slope is wrong" in note
    assert torch.equal(after.values, 2 * (before + 1000) - 1000)


@given(st.floats(-20, 60), st.floats(5, 30))
def test_whatever_the_offset_air_ends_at_minus_a_thousand(offset: float, noise: float) -> None:
    after = as_hounsfield(volume(leg(noise).clamp(min=-1000) + 1000 + offset))
    air = after.values[:, :8, :8]
    assert float(air.median()) == pytest.approx(-1000, abs=25)
