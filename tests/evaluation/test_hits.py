"""The band hit rate: ties, and answers whose rate is known."""

import numpy as np
import pytest
import torch

from crossray.data.annotations import Film, Label, Place, Study
from crossray.errors import InputError
from crossray.evaluation.hits import band_hits, hit

ROWS, COLUMNS, SIZE, SIDE = 300, 200, 64, 8


def study(points: int, person: str = "ann", **changes) -> Study:
    rng = np.random.default_rng(3)
    places = [
        {
            view: Place(point=(row, float(rng.uniform(0, COLUMNS - 1))))
            for view, row in zip("ab", rng.uniform(0, ROWS - 1, 2).tolist(), strict=True)
        }
        for _ in range(points)
    ]
    labels = tuple(Label(verdict="same", places=place, **changes) for place in places)
    films = {view: Film(file=view, size=(ROWS, COLUMNS)) for view in "ab"}
    return Study(study=person, person=person, films=films, labels=labels)


def films() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {view: torch.rand(ROWS, COLUMNS, generator=generator) for view in "ab"}


def test_ties_share_the_band():
    assert hit(torch.zeros(256), 7) == pytest.approx(0.1)
    scores = torch.zeros(10)
    scores[4] = 1
    assert hit(scores, 4) == 1
    assert hit(scores, 5) == 0


def same_height(images: torch.Tensor) -> torch.Tensor:
    rows = torch.arange(SIDE * SIDE) // SIDE
    return (-(rows[:, None] - rows).abs().float()).expand(len(images), 2, 2, -1, -1)


def test_the_same_height_scores_as_the_same_height():
    found = band_hits(same_height, [(study(30), films())], prior=same_height, size=SIZE)
    assert found.matcher == found.same_height == found.prior
    assert found.studies[0].trials > 100


def test_an_answer_to_no_question_is_told():
    """A matcher that names the same patches whatever is asked scores as its own mean does."""

    def bright(images: torch.Tensor) -> torch.Tensor:
        patches = torch.nn.functional.adaptive_avg_pool2d(images, SIDE).flatten(2)
        return patches[:, None, :, None].expand(-1, 2, -1, SIDE * SIDE, -1)

    found = band_hits(bright, [(study(30), films())], size=SIZE)
    assert found.matcher == pytest.approx(found.unasked, abs=0.01)


def test_one_grey_scores_chance():
    def constant(images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), 2, 2, SIDE * SIDE, SIDE * SIDE)

    people = [(study(20, person), films()) for person in ("ann", "bob")]
    found = band_hits(constant, people, size=SIZE)
    assert found.matcher == pytest.approx(found.chance)
    assert found.low == pytest.approx(found.high)
    assert np.isnan(found.prior)
    assert found.unasked == pytest.approx(found.chance)


def test_the_same_seed_gives_the_same_windows():
    one, two = (band_hits(same_height, [(study(9), films())], size=SIZE, draws=3) for _ in range(2))
    other = band_hits(same_height, [(study(9), films())], size=SIZE, draws=3, seed=1)
    assert one.studies == two.studies or np.isnan(one.prior)
    assert one.matcher == two.matcher != other.matcher


@pytest.mark.parametrize("unfit", [study(0), study(4, remarks=("doubtful",))])
def test_nothing_to_ask_for_is_refused(unfit):
    with pytest.raises(InputError, match="label some first"):
        band_hits(same_height, [(unfit, films())], size=SIZE)
