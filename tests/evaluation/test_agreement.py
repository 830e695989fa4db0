"""Agreement of readers, by hand."""

import pytest

from crossray.data.annotations import Film, Label, Place, Study
from crossray.evaluation.agreement import agreement


def label(reader, a, b=None, verdict="same", **more):
    places = {"A": Place(point=a)} | ({"B": Place(point=b)} if b else {})
    hidden = () if b else ("B",)
    return Label(
        verdict=verdict if b else "hidden", places=places, hidden=hidden, reader=reader, **more
    )


def study(*labels):
    film = {"size": (300, 400)}  # a diagonal of 500
    films = {view: Film(file=f"{view}.png", **film) for view in "AB"}
    return Study(study="s", person="p", films=films, labels=labels)


def test_the_same_question_by_place():
    one, two = label("Anna", (100, 100), (200, 200)), label("Bo", (105, 100), (203, 204))
    (pair,) = agreement([study(one, two)])
    assert (pair.readers, pair.questions, pair.verdicts) == (("Anna", "Bo"), 1, 1.0)
    assert (pair.places, pair.pixels, pair.distance) == (1, 5.0, 0.01)
    assert pair.kappa is None


def test_the_same_question_by_name_counts_all_films():
    one = label("Anna", (100, 100), (200, 200), name="tip")
    two = label("Bo", (150, 100), (200, 230), name="tip")
    (pair,) = agreement([study(one, two)])
    assert (pair.places, pair.pixels) == (2, 40.0)


def test_kappa_by_hand():
    """Verdicts same-same, same-hidden, hidden-hidden, hidden-hidden: 0.75 agree, 0.5 by chance."""
    anna = [
        label("Anna", (10, 10), (9, 9)),
        label("Anna", (60, 10), (9, 9)),
        label("Anna", (110, 10)),
        label("Anna", (160, 10)),
    ]
    bo = [
        label("Bo", (10, 10), (9, 9)),
        label("Bo", (60, 10)),
        label("Bo", (110, 10)),
        label("Bo", (160, 10)),
    ]
    (pair,) = agreement([study(*anna, *bo)])
    assert (pair.questions, pair.verdicts) == (4, 0.75)
    assert pair.kappa == pytest.approx((0.75 - (2 * 1 + 2 * 3) / 16) / (1 - 0.5))


def test_other_places_drawn_labels_and_the_nameless_do_not_count():
    one = label("Anna", (100, 100), (200, 200))
    far = label("Bo", (100, 140), (150, 200))
    drawn = label("Bo", (100, 100), (200, 200), verdict="different", remarks=("drawn",))
    nameless = label("", (100, 100), (200, 200))
    (pair,) = agreement([study(one, far, drawn, nameless)])
    assert (pair.readers, pair.questions, pair.verdicts, pair.distance) == (
        ("Anna", "Bo"),
        0,
        None,
        None,
    )


def test_one_label_answers_one_question():
    one = label("Anna", (100, 100), (200, 200))
    (pair,) = agreement(
        [study(one, label("Bo", (100, 100), (200, 200)), label("Bo", (101, 100), (1, 1)))]
    )
    assert pair.questions == 1
