"""Bands in the films' own pixels, by hand on small matrices."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.evaluation.calibration import Calibration
from crossray.matching.matches import Matches, between_centres
from crossray.matching.preprocess import Field

CALIBRATION = Calibration(
    match=(1.0, 1.0, 0.0), region=((0.5, 0.4), (0.9, 0.8)), related=(4.0, -2.0), turn=1.0
)


def matches_of(
    block, sizes=((4, 4), (4, 4)), fields=None, grid=(2, 2), calibration: Calibration | None = None
):
    """Two views whose block (0, 1) is given."""
    count = grid[0] * grid[1]
    matrix = torch.zeros(2, 2, count, count)
    matrix[0, 1], matrix[1, 0] = block, block.T
    whole = tuple(Field(0.0, 0.0, float(rows), float(columns)) for rows, columns in sizes)
    images = tuple(torch.rand(*size) for size in sizes)
    return Matches(
        matrix, grid, fields or whole, images, ("AP", "LAT"), "by hand", 0.5, calibration
    )


def test_a_band_by_hand():
    """Patch centres of a 4-pixel side lie at 0.5 and 2.5: weights 1, 3/4, 1/4, 0 for the first patch."""
    block = torch.zeros(4, 4)
    block[3, 0] = 0.8
    bands = matches_of(block).band(0, (2, 3))
    weights = torch.tensor([1.0, 0.75, 0.25, 0.0])
    assert list(bands) == [1]
    assert torch.allclose(bands[1], 0.8 * weights[:, None] * weights[None, :])


def test_the_band_has_the_other_films_size():
    matches = matches_of(torch.rand(4, 4), sizes=((10, 20), (30, 7)))
    assert matches.band(0, (9, 19))[1].shape == (30, 7)
    assert matches.band(1, (0, 0))[0].shape == (10, 20)


@given(row=st.integers(0, 9), column=st.integers(0, 19))
def test_a_band_lies_between_the_least_and_the_most_of_its_patches(row, column):
    block = torch.rand(4, 4, generator=torch.Generator().manual_seed(row * 20 + column))
    matches = matches_of(block, sizes=((10, 20), (30, 7)))
    band = matches.band(0, (row, column))[1]
    values = block[matches.patch_at(0, (row, column))]
    assert values.min() - 1e-6 <= band.min() <= band.max() <= values.max() + 1e-6


def test_every_pixel_belongs_to_the_patch_whose_box_holds_it():
    fields = (Field(0.0, -3.0, 8.0, 5.0), Field(0.0, 0.0, 4.0, 4.0))
    matches = matches_of(torch.rand(16, 16), ((8, 2), (4, 4)), fields, (4, 4))
    boxes = matches.patch_box[0]
    for row in range(8):
        for column in range(2):
            top, left, bottom, right = boxes[matches.patch_at(0, (row, column))].tolist()
            assert top <= row + 0.5 <= bottom
            assert left <= column + 0.5 <= right


def test_boxes_by_hand_with_padding_beside_the_film():
    """Columns of the grid cover [-3, -1], [-1, 1], [1, 3], [3, 5] of a film two pixels wide."""
    fields = (Field(0.0, -3.0, 8.0, 5.0), Field(0.0, 0.0, 4.0, 4.0))
    boxes = matches_of(torch.rand(16, 16), ((8, 2), (4, 4)), fields, (4, 4)).patch_box
    assert boxes.shape == (2, 16, 4)
    assert boxes[0, 4:8].tolist() == [[2, 0, 4, 0], [2, 0, 4, 1], [2, 1, 4, 2], [2, 2, 4, 2]]
    area = (boxes[0, :, 2] - boxes[0, :, 0]) * (boxes[0, :, 3] - boxes[0, :, 1])
    assert area.sum() == 8 * 2


def test_padding_does_not_dim_the_films_edge():
    """A patch wholly beside the film is no neighbour: the last patch on the film keeps its value to the edge."""
    weights = between_centres(2, (-3.0, 5.0), 4)
    assert torch.allclose(weights, torch.tensor([[0, 0.75, 0.25, 0], [0, 0.25, 0.75, 0]]))
    assert torch.equal(between_centres(4, (0.0, 4.0), 2)[[0, 3]], torch.eye(2))


@given(st.integers(1, 40), st.floats(-5, 0), st.floats(0, 5), st.integers(1, 8))
def test_weights_between_centres_sum_to_one(length, before, after, cells):
    weights = between_centres(length, (before, length + after), cells)
    assert torch.allclose(weights.sum(1), torch.ones(length), atol=1e-5)


@pytest.mark.parametrize("point", [(-1, 0), (0, 4), (4, 0), (0, -0.6)])
def test_points_beside_the_film_are_refused(point):
    with pytest.raises(InputError, match="outside view 0"):
        matches_of(torch.rand(4, 4)).band(0, point)


def test_views_that_are_not_there_are_refused():
    with pytest.raises(InputError, match="views are 0 to 1"):
        matches_of(torch.rand(4, 4)).band(2, (0, 0))


def test_the_summary_says_how_strong_the_matches_are():
    block = torch.zeros(4, 4)
    block[0, 1], block[2, 2] = 0.9, 0.3
    summary = matches_of(block).summary()
    assert summary["pairs"][0] == {"from": 0, "to": 1, "strongest": 0.9, "above_0.2": 2}
    assert summary["pairs"][1]["to"] == 0
    assert summary["views"][1]["name"] == "LAT"
    assert repr(matches_of(block)) == "Matches(AP, LAT: 2 x 2 patches, 0.50 s)"


def test_a_region_by_hand():
    """Of 0.6, 0.3 and 0.1 the likeliest is enough for a coverage of one half, the two likeliest for 90 %."""
    block = torch.zeros(4, 4)
    block[0] = torch.tensor([0.3, 0.1, 0.0, 0.6])
    matches = matches_of(block, sizes=((4, 4), (4, 6)), calibration=CALIBRATION)
    half = matches.region(0, (0, 0), 0.5)[1]
    assert half.shape == (4, 6)
    assert half.nonzero().tolist() == [[r, c] for r in (2, 3) for c in (3, 4, 5)]
    most = matches.region(0, (0, 0))[1]
    assert (most.sum(), most[:2, :3].all()) == (12, True)
    assert not matches.region(0, (3, 3))[1].any()


def test_films_with_more_in_common_are_likelier_related():
    probabilities = [
        matches_of(torch.full((4, 4), value), calibration=CALIBRATION).related()
        for value in (0.0, 0.5, 1.0)
    ]
    assert probabilities == pytest.approx([0.1192, 0.5, 0.8808], abs=1e-4)
    matches = matches_of(torch.full((4, 4), 0.5), calibration=CALIBRATION)
    assert [pair["related"] for pair in matches.summary()["pairs"]] == [0.5, 0.5]
    torch.testing.assert_close(matches.probability, matches.correspondence)


def test_the_pose_of_rows_that_match_rows():
    matrix = torch.kron(torch.eye(4), torch.ones(4, 4))
    pose = matches_of(matrix, grid=(4, 4), calibration=CALIBRATION).relative_pose()
    assert (pose.turn_deg, pose.roll_deg) == pytest.approx((90, 0), abs=1e-6)
    assert pose.level_deg == pytest.approx((0, 0), abs=1e-6)
    alike = matches_of(torch.eye(16), grid=(4, 4), calibration=CALIBRATION).relative_pose()
    assert alike.turn_deg == pytest.approx(0, abs=1)


def test_a_pose_is_refused_only_where_matches_lie_on_a_line():
    noise = torch.rand(16, 16, generator=torch.Generator().manual_seed(0))
    assert matches_of(noise, grid=(4, 4), calibration=CALIBRATION).relative_pose()
    row = torch.zeros(16, 16)
    row[:4, :4] = noise[:4, :4]
    for matrix in (row, torch.zeros(16, 16)):
        with pytest.raises(InputError, match="one line or nowhere"):
            matches_of(matrix, grid=(4, 4), calibration=CALIBRATION).relative_pose()


def test_weights_without_calibration_promise_nothing():
    matches = matches_of(torch.rand(4, 4))
    for ask in (
        lambda: matches.probability,
        matches.related,
        matches.relative_pose,
        lambda: matches.region(0, (0, 0)),
    ):
        with pytest.raises(InputError, match="crossray calibrate"):
            ask()
    assert "related" not in matches.summary()["pairs"][0]


def test_pairs_that_are_none_are_refused():
    matches = matches_of(torch.rand(4, 4), calibration=CALIBRATION)
    for pair in ((0, 0), (0, 2), (-1, 0)):
        with pytest.raises(InputError, match="no two of the 2 views"):
            matches.related(*pair)
