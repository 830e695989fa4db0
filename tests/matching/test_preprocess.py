"""Films in the network's field: aspect, padding, contrast, and the way back to the film's pixels."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.matching.preprocess import fit_film, for_display, normalise

sides = st.integers(32, 300)


def test_a_tall_film_by_hand():
    """64 x 32 into 16 x 16: a quarter of the size, 8 columns of film between 4 and 4 of padding."""
    film = torch.arange(32.0).repeat(64, 1)
    image, field, _ = fit_film(film, (16, 16))
    assert image.shape == (16, 16)
    assert field == (0.0, -16.0, 64.0, 48.0)
    assert torch.equal(image[:, :4], image[:, 4:5].expand(-1, 4))
    assert torch.equal(image[:, 12:], image[:, 11:12].expand(-1, 4))
    assert torch.all(
        image[:, 4:10] < image[:, 5:11]
    )  # the brightest column is bare and sets no contrast


def test_a_wide_film_by_hand():
    film = torch.arange(32.0)[:, None].repeat(1, 64)
    image, field, _ = fit_film(film, (16, 16))
    assert field == (-16.0, 0.0, 48.0, 64.0)
    assert torch.equal(image[:4], image[4:5].expand(4, -1))


def test_a_film_of_the_fields_size_stays_itself():
    film = torch.rand(64, 64)
    image, field, _ = fit_film(film, (64, 64))
    assert field == (0.0, 0.0, 64.0, 64.0)
    assert torch.allclose(image, normalise(film))


@given(rows=sides, columns=sides)
def test_the_field_holds_the_film_and_keeps_its_aspect(rows, columns):
    film = torch.rand(rows, columns)
    image, field, _ = fit_film(film, (64, 64))
    assert image.shape == (64, 64)
    assert 0 <= image.min() <= image.max() <= 1
    assert field.row0 <= 0
    assert field.column0 <= 0
    assert field.row1 >= rows - 1e-6
    assert field.column1 >= columns - 1e-6
    row_step, column_step = (field.row1 - field.row0) / 64, (field.column1 - field.column0) / 64
    # The shorter side is rounded to whole pixels of the field.
    assert row_step / column_step == pytest.approx(1.0, abs=0.5 * 300 / 32 / 64 * 2)


def test_a_shutter_sets_no_contrast():
    film = 0.1 + 0.5 * torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    shut = film.clone()
    shut[:, 40:] = 1
    fitted = fit_film(shut, (64, 64))
    assert fitted.seen[:, :40].all()
    assert not fitted.seen[:, 40:].any()
    assert torch.allclose(fitted.image[:, :40], normalise(film[:, :40]), atol=0.01)
    assert fitted.seen_patches((4, 4)).tolist() == [True, True, True, False] * 4


def test_a_film_of_two_greys_is_bare_nowhere():
    film = torch.zeros(64, 64)
    film[:, 30:] = 1
    assert fit_film(film, (64, 64)).seen.all()


@given(gain=st.floats(0.01, 1000), offset=st.floats(-100, 100))
def test_gain_and_offset_do_not_matter(gain, offset):
    film = torch.rand(40, 50, generator=torch.Generator().manual_seed(1)).double()
    a, b = normalise(film.float()), normalise((film * gain + offset).float())
    assert torch.allclose(a, b, atol=2e-3 if gain < 1 else 1e-4)


def test_quantiles_by_hand():
    """Of 0..100 the quantiles are 1 and 99; 50 lies halfway; a marker far above changes nothing."""
    film = torch.arange(101.0).view(1, 101).repeat(40, 1)
    assert normalise(film)[0, [0, 1, 50, 99, 100]].tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    film[0, 0] = 1e6
    assert normalise(film)[1, 50].item() == pytest.approx(0.5, abs=0.02)


def test_a_film_that_varies_in_few_pixels_only():
    film = torch.zeros(100, 100)
    film[0, 0] = 1.0
    assert normalise(film).max() == 1


def test_bad_films_are_refused():
    for film, reason in (
        (torch.rand(31, 500), "31 x 500"),
        (torch.full((40, 40), 3.0), "blank"),
        (torch.full((40, 40), torch.nan), "NaN"),
    ):
        with pytest.raises(InputError, match=reason) as caught:
            fit_film(film, (64, 64), "wrist.png")
        assert str(caught.value).startswith("wrist.png")


def test_for_display_shrinks_only():
    assert for_display(torch.rand(400, 100), 200).shape == (200, 50)
    small = for_display(torch.tensor([[2.0, 4.0], [3.0, 6.0]]), 200)
    assert small.tolist() == [[0.0, 0.5], [0.25, 1.0]]
