"""Labelled films as samples: their truth follows them through windows and mirrors, and persons stay apart."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crossray.data.annotations import Film, Label, Labels, Place, Study
from crossray.data.labelled import LabelledFilms, LabelledStudy, split_by_person, whole_pairs
from crossray.errors import InputError

SIZE, PATCH = 64, 8


def spot(row: float, column: float) -> torch.Tensor:
    """A film with one bright spot."""
    rows, columns = torch.meshgrid(torch.arange(160.0), torch.arange(160.0), indexing="ij")
    return torch.exp(-((rows - row).square() + (columns - column).square()) / 18)


def study(seed: int, person: str = "ann") -> Study:
    """Of a place in two films."""
    points = np.random.default_rng(seed).integers(10, 150, (2, 2)).tolist()
    places = {view: Place(point=tuple(at)) for view, at in zip("ab", points, strict=True)}
    films, label = {view: Film(file=view) for view in "ab"}, Label(verdict="same", places=places)
    return Study(study=f"s{seed}", person=person, films=films, labels=(label,))


def spotted(seed: int) -> LabelledStudy:
    """With films that have a spot in that place."""
    said = study(seed)
    places = said.labels[0].places.items()
    return LabelledStudy(said, {view: spot(*place.point) for view, place in places if place.point})


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_the_truth_lies_where_the_film_shows_it(index: int):
    sample = LabelledFilms([spotted(1), spotted(2)], SIZE, PATCH)[index]
    truth, known = sample["correspondence"], sample["known"]
    assert sample["images"].shape == (2, SIZE, SIZE)
    assert torch.equal(truth, truth.permute(1, 0, 3, 2))
    assert torch.equal(known, truth > 0)  # nothing else was said
    if not known.any():  # the spot lies in the windows of both films in most draws, not in all
        return
    cells = (
        sample["images"].unflatten(2, (8, PATCH)).unflatten(1, (8, PATCH)).amax((2, 4)).flatten(1)
    )
    ((p, q),) = truth[0, 1].nonzero().tolist()
    assert cells[0, p] >= cells[0].max() - 0.15  # a spot on the edge of patches shines in both
    assert cells[1, q] >= cells[1].max() - 0.15


def test_samples_depend_on_their_number_alone():
    films = LabelledFilms([spotted(n) for n in range(5)], SIZE, PATCH, seed=3)
    again = LabelledFilms([spotted(n) for n in range(5)], SIZE, PATCH, seed=3)
    for index in (7, 0, 7):
        assert all(torch.equal(films[index][name], again[index][name]) for name in films[index])
    assert not torch.equal(films[0]["images"], films[5]["images"])
    other = LabelledFilms([spotted(n) for n in range(5)], SIZE, PATCH, seed=4)
    assert not torch.equal(films[0]["images"], other[0]["images"])


def test_most_samples_show_what_was_labelled():
    films = LabelledFilms([spotted(1)], SIZE, PATCH)
    assert sum(bool(films[i]["known"].any()) for i in range(30)) > 24


def test_whole_films_are_the_test():
    lonely = Study(study="x", person="x", films={"a": Film(file="a"), "b": Film(file="b")})
    empty = LabelledStudy(lonely, {view: spot(80, 80) for view in "ab"})
    ((person, name, pair),) = whole_pairs([spotted(1), empty], SIZE, PATCH)
    assert (person, name) == ("ann", "s1")
    patches = [
        int(place.point[0] // 20) * 8 + int(place.point[1] // 20)
        for place in study(1).labels[0].places.values()
    ]  # 160 pixels in 8 patches
    assert pair.correspondence[0, 1].nonzero().tolist() == [patches]


def read(folder, shape=(900, 600), **film) -> LabelledStudy:
    """A study whose two films, of a spot at a label, lie in a folder."""
    said = study(5)
    for view, place in said.labels[0].places.items():
        down, right = np.mgrid[: shape[0], : shape[1]]
        bright = np.exp(-((down - place.point[0]) ** 2 + (right - place.point[1]) ** 2) / 60)
        Image.fromarray((bright * 65535).astype(np.uint16)).save(folder / f"{view}.png")
    films = {view: Film(file=f"{view}.png", **film) for view in "ab"}
    return LabelledStudy.read(said.model_copy(update={"films": films}), folder, SIZE)


def test_films_are_as_fine_as_the_least_window_needs(tmp_path):
    labelled = read(tmp_path, size=(900, 600))
    for view, place in labelled.study.labels[0].places.items():
        film = labelled.films[view]
        assert film.shape == (117, 78)  # 64 / 0.55 rows
        assert divmod(int(film.argmax()), 78) == pytest.approx(place.point, abs=0.8)
    small = read(tmp_path, (110, 150))
    assert small.films["a"].shape == (110, 150)
    assert small.study.labels == study(5).labels


def test_films_of_another_size_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.png has 900 x 600 pixels .* 600 x 900; put"):
        read(tmp_path, size=(600, 900))
    with pytest.raises(InputError, match=r"beside the film [ab]\.png; label that place again"):
        read(tmp_path, (80, 150))


def studies(persons: int) -> Labels:
    return Labels(studies=tuple(study(n, f"p{n % persons}") for n in range(2 * persons)))


@given(st.integers(3, 30), st.integers(0, 5))
def test_persons_stay_apart(persons: int, seed: int):
    parts = split_by_person(studies(persons), seed)
    found = [{each.person for each in parts[name]} for name in ("train", "val", "test")]
    assert sum(map(len, found)) == len(set.union(*found)) == persons
    assert all(found)
    assert len(found[0]) == pytest.approx(0.6 * persons, abs=1.01)
    assert len(found[2]) == pytest.approx(0.3 * persons, abs=1.01)


def test_too_few_persons():
    with pytest.raises(InputError, match="of 2 persons"):
        split_by_person(studies(2))
