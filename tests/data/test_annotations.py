"""Labels across views: the file, what is refused, and what they say of patches."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossray.data.annotations import (
    Film,
    Label,
    Labels,
    Place,
    Study,
    labelled_truth,
    merge_labels,
    patches_of,
    read_labels,
    write_labels,
)
from crossray.errors import InputError
from crossray.files import sha256

# Two films of 20 x 20 pixels, four patches of 10 x 10 in each.
BOXES = torch.tensor(
    [[0, 0, 10, 10], [0, 10, 10, 20], [10, 0, 20, 10], [10, 10, 20, 20]], dtype=torch.float32
)
FILMS = {"AP": Film(file="ap.png", size=(20, 20)), "LAT": Film(file="lat.png", size=(20, 20))}


def point(row: float, column: float) -> Place:
    return Place(point=(row, column))


def study(*labels: Label, name: str = "knee", person: str = "ann", films=FILMS) -> Study:
    return Study(study=name, person=person, films=films, labels=labels)


SAME = Label(verdict="same", places={"AP": point(2, 3), "LAT": point(12, 3)}, reader="A")
DIFFERENT = Label(
    verdict="different",
    places={"AP": point(2, 3), "LAT": Place(boxes=((0, 0, 9, 19),))},
    reader="A",
)
HIDDEN = Label(verdict="hidden", places={"AP": point(15, 15)}, hidden=("LAT",))
UNSURE = Label(verdict="unsure", places={"AP": point(0, 12), "LAT": point(0, 12)})
DOUBTFUL = Label(verdict="same", places=UNSURE.places, remarks=("level_only", "doubtful"))


def test_by_hand():
    truth, known = labelled_truth(
        study(SAME, DIFFERENT, HIDDEN, UNSURE, DOUBTFUL), ["AP", "LAT"], torch.stack([BOXES, BOXES])
    )
    expected = torch.zeros(4, 4)
    expected[0, 2] = 1
    said = torch.zeros(4, 4, dtype=torch.bool)
    said[0, :3] = True  # the same, and the two of the box that is another
    said[3] = True  # hidden in LAT
    assert torch.equal(truth[0, 1], expected)
    assert torch.equal(known[0, 1], said)
    assert torch.equal(truth[1, 0], expected.T)
    assert torch.equal(known[1, 0], said.T)
    assert not known[0, 0].any()


def test_contradiction_leaves_an_entry_unknown():
    other = Label(verdict="different", places=SAME.places, reader="B")
    truth, known = labelled_truth(study(SAME, other), ["AP", "LAT"], torch.stack([BOXES, BOXES]))
    assert not known.any()
    assert not truth.any()


def test_views_that_are_not_asked_for_say_nothing():
    films = {**FILMS, "OBL": Film(file="obl.png")}
    label = Label(verdict="hidden", places={"AP": point(1, 1), "OBL": point(1, 1)}, hidden=("LAT",))
    truth, known = labelled_truth(
        study(label, SAME, films=films), ["OBL", "LAT"], torch.stack([BOXES, BOXES])
    )
    assert known[0, 1].sum() == 4
    assert not truth.any()


@given(st.floats(-0.5, 19.4), st.floats(-0.5, 19.4))
def test_a_point_lies_in_one_patch_and_a_box_about_it_in_the_same(row: float, column: float):
    own = patches_of(point(row, column), BOXES)
    assert len(own) == 1
    box = Place(boxes=((row, column, row, column),))
    assert own[0] in patches_of(box, BOXES)


def test_beside_the_field_is_no_patch():
    assert len(patches_of(point(30, 3), BOXES)) == 0


def test_a_file_comes_back(tmp_path):
    (tmp_path / "ap.png").write_bytes(b"one")
    (tmp_path / "lat.png").write_bytes(b"two")
    films = {
        "AP": Film(file="ap.png", sha256=sha256(tmp_path / "ap.png"), size=(20, 20)),
        "LAT": FILMS["LAT"],
    }
    labels = Labels(studies=(study(SAME, DIFFERENT, HIDDEN, UNSURE, films=films),))
    write_labels(labels, tmp_path / "labels.json")
    assert read_labels(tmp_path / "labels.json") == labels
    (tmp_path / "ap.png").write_bytes(b"another")
    with pytest.raises(InputError, match=r"ap\.png is another file than the one labelled"):
        read_labels(tmp_path / "labels.json")
    assert read_labels(tmp_path / "labels.json", check_films=False) == labels
    (tmp_path / "lat.png").unlink()
    (tmp_path / "ap.png").write_bytes(b"one")
    with pytest.raises(InputError, match=r"lat\.png, which does not exist"):
        read_labels(tmp_path / "labels.json")


def content(**changes) -> dict:
    label = {"verdict": "same", "places": {"AP": {"point": [1, 2]}, "LAT": {"point": [3, 4]}}}
    films = {"AP": {"file": "a", "size": [20, 20]}, "LAT": {"file": "b", "size": [20, 20]}}
    one = {"study": "s", "person": "p", "films": films, "labels": [{**label, **changes}]}
    return {"format": "crossray-labels", "version": 1, "studies": [one]}


def test_the_least_file():
    assert Labels.model_validate(content()).studies[0].labels[0].places["AP"].point == (1, 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "maybe"}, "same"),
        ({"places": {"AP": {"point": [1, 2]}}}, "two views"),
        ({"places": {"AP": {"point": [1, 2]}, "OBL": {"point": [1, 2]}}}, "OBL and no such film"),
        ({"places": {"AP": {"point": [1, 20]}, "LAT": {"point": [1, 2]}}}, "beside the film"),
        ({"places": {"AP": {}, "LAT": {"point": [1, 2]}}}, "point or boxes"),
        ({"places": {"AP": {"boxes": [[5, 1, 2, 3]]}, "LAT": {"point": [1, 2]}}}, "before its last"),
        ({"verdict": "hidden"}, "hidden needs"),
        ({"hidden": ["LAT"]}, "needs places in two views"),
        ({"verdict": "hidden", "hidden": ["LAT"]}, "hidden needs"),
        ({"colour": "red"}, "not permitted"),
        ({"places": {"AP": {"point": ["NaN", 2]}, "LAT": {"point": [1, 2]}}}, "finite"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path, changes, words):
    (tmp_path / "labels.json").write_text(json.dumps(content(**changes)))
    with pytest.raises(InputError, match=rf"labels.json is no file of labels .*{words}"):
        read_labels(tmp_path / "labels.json", check_films=False)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": "other"}', '{"version": 2}'])
def test_no_labels_at_all(tmp_path, text):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(InputError, match="no file of labels"):
        read_labels(tmp_path / "labels.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path / "nowhere.json")


def test_merging_keeps_each_label_once():
    one, two = Labels(studies=(study(SAME, HIDDEN),)), Labels(studies=(study(SAME, DIFFERENT),))
    other = Labels(studies=(study(SAME, name="hand"),))
    merged = merge_labels([one, two, other])
    assert [len(each.labels) for each in merged.studies] == [3, 1]
    assert merge_labels([merged, merged]) == merged
    with pytest.raises(InputError, match="knee has another person"):
        merge_labels([one, Labels(studies=(study(SAME, person="bob"),))])
    moved = {**FILMS, "AP": FILMS["AP"].model_copy(update={"sha256": "x"})}
    again = {**FILMS, "AP": FILMS["AP"].model_copy(update={"sha256": "y"})}
    with pytest.raises(InputError, match="other films"):
        merge_labels([Labels(studies=(study(films=moved),)), Labels(studies=(study(films=again),))])


@pytest.mark.parametrize("change", [{"size": (30, 30)}, {"file": "other.png"}])
def test_other_films_are_not_merged(change):
    far = Label(verdict="same", places={"AP": point(2, 3), "LAT": point(19, 19)})
    other = {**FILMS, "LAT": FILMS["LAT"].model_copy(update=change)}
    with pytest.raises(InputError, match="other films"):
        merge_labels([Labels(studies=(study(SAME),)), Labels(studies=(study(far, films=other),))])


def test_films_are_merged_by_their_checksum():
    here = {**FILMS, "AP": Film(file="a/ap.png", sha256="x")}
    there = {**FILMS, "AP": Film(file="b/ap.png", sha256="x", size=(20, 20))}
    both = [Labels(studies=(study(said, films=f),)) for said, f in ((SAME, here), (HIDDEN, there))]
    assert len(merge_labels(both).studies[0].labels) == 2


@given(st.floats(-0.5, 14), st.floats(-0.5, 14))
def test_scaled_labels_say_the_same_of_scaled_patches(row: float, column: float):
    label = Label(
        verdict="same",
        places={"AP": point(row, column), "LAT": Place(boxes=((row, column, 19.5, 19.5),))},
    )
    scales = {"AP": (0.5, 2.0), "LAT": (0.25, 1.0)}
    boxes = torch.stack([BOXES, BOXES])
    small = boxes * torch.tensor([scales["AP"] * 2, scales["LAT"] * 2])[:, None]
    assert torch.equal(
        labelled_truth(study(label), ["AP", "LAT"], boxes)[0],
        labelled_truth(study(label).scaled(scales), ["AP", "LAT"], small)[0],
    )


def test_one_study_twice_is_refused():
    with pytest.raises(ValueError, match="knee is there twice"):
        Labels(studies=(study(SAME), study(SAME)))
