"""`benchmarks/landmarks.py`: what it draws of places that do not match."""

import runpy
from collections import Counter
from pathlib import Path

import pytest

from crossray.data.annotations import Film, Label, Place

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "landmarks.py"
FILMS = {view: Film(file=view, size=(100, 80)) for view in "ab"}
AXES = {view: {"bone": {"proximal_to_distal_rc": [1.0, 0.0]}} for view in "ab"}


def mark(name: str, *remarks: str) -> Label:
    places = {"a": Place(point=(50, 40)), "b": Place(point=(55, 30))}
    return Label(verdict="same", places=places, name=name, remarks=remarks)


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the benchmarks are not part of the archive")
def test_places_that_do_not_match_are_drawn_for_landmarks_of_either_film():
    elsewhere = runpy.run_path(str(SCRIPT))["elsewhere"]
    drawn = elsewhere([mark("sure"), mark("unsure", "doubtful")], FILMS, AXES)
    assert {each.verdict for each in drawn} == {"different"}
    assert {each.name for each in drawn} == {"sure"}
    own = [next(v for v in "ab" if each.places[v] == mark("").places[v]) for each in drawn]
    assert Counter(own) == {"a": 50, "b": 50}
    assert elsewhere([mark("unsure", "doubtful")], FILMS, AXES) == []
