"""Blurs against their own laws: weight, variance, transfer, and a plain convolution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossray.projection.blur import (
    box_taps,
    broad_gaussian,
    exponential_taps,
    filtered,
    gaussian_taps,
)


def variance(taps):
    places = np.arange(len(taps)) - len(taps) // 2
    return float(np.sum(taps * places**2))


@given(st.floats(0, 30))
def test_a_box_has_its_variance_and_no_negative_weight(width):
    taps = box_taps(width)
    assert taps.sum() == pytest.approx(1)
    assert taps.min() >= -1e-12
    assert variance(taps) == pytest.approx(width**2 / 12, abs=1e-9)


def test_boxes_by_hand():
    assert box_taps(0).tolist() == [0, 1, 0]
    # Width sqrt(8) has variance 2/3, that of three equal weights.
    np.testing.assert_allclose(box_taps(8**0.5), [0, 1 / 3, 1 / 3, 1 / 3, 0], atol=1e-12)


@given(st.floats(0.1, 0.95), st.floats(0.02, 0.25))
def test_an_exponential_has_its_transfer_at_its_frequency(transfer, frequency):
    taps = exponential_taps(transfer, frequency)
    places = np.arange(len(taps)) - len(taps) // 2
    assert np.sum(taps * np.cos(2 * np.pi * frequency * places)) == pytest.approx(
        transfer, abs=2e-3
    )


def test_beyond_a_quarter_cycle_the_lorentzian_counts():
    # 0.5 at one cycle a pixel: f0 = 1, so 1 / (1 + 1/16) at a quarter.
    taps = exponential_taps(0.5, 1.0)
    places = np.arange(len(taps)) - len(taps) // 2
    assert np.sum(taps * np.cos(np.pi / 2 * places)) == pytest.approx(16 / 17, abs=1e-3)


def test_filtered_is_a_convolution_down_rows_and_along_columns():
    rng = np.random.default_rng(0)
    image = rng.random((17, 23)).astype(np.float32)
    rows, columns = gaussian_taps(1.3), box_taps(3.7)
    padded = np.pad(image, ((len(rows) // 2,) * 2, (len(columns) // 2,) * 2), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (len(rows), len(columns)))
    expected = np.einsum("rcij,i,j->rc", windows, rows, columns)
    np.testing.assert_allclose(filtered(image, rows, columns), expected, atol=1e-6)


def test_a_broad_gaussian_is_a_gaussian():
    image = np.zeros((150, 203), np.float32)
    image[60:90, 80:140] = 1
    exact = filtered(image, gaussian_taps(14.0), gaussian_taps(20.0))
    coarse = broad_gaussian(image, 14.0, 20.0)
    assert np.abs(coarse - exact).max() < 0.02
    assert coarse.sum() == pytest.approx(image.sum(), rel=0.01)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 5), (64, 64)])
def test_flat_images_stay_flat(size):
    flat = np.full(size, 0.3, np.float32)
    np.testing.assert_allclose(broad_gaussian(flat, 50.0, 9.0), flat, rtol=1e-5)
    np.testing.assert_allclose(filtered(flat, box_taps(9), gaussian_taps(2)), flat, rtol=1e-5)
