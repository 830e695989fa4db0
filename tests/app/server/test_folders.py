"""What is given on the command line, as studies."""

import json

import numpy as np
import pytest

from crossray.app.server.folders import labels_beside, studies_in
from crossray.errors import InputError


@pytest.fixture
def put(tmp_path, png):
    """Writes films of these names into the folder."""

    def write(*names):
        for number, name in enumerate(names):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(png(number, (40, 40)))
        return [tmp_path / name for name in names]

    return write


def told(paths):
    return {study.name: list(study.films) for study in studies_in(paths)}


def test_files_are_one_study(put):
    assert told(put("knee-ap.png", "knee-lateral.png")) == {"knee": ["ap", "lateral"]}
    assert told(put("x/AP.png", "y/AP.png")) == {"AP": ["AP (1)", "AP (2)"]}


def test_a_folder_of_few_films_is_one_study_and_folders_below_are_others(put, tmp_path):
    put(
        "a.png",
        "b.png",
        "more/AP.png",
        "more/LAT.png",
        ".hidden/AP.png",
        ".hidden/LAT.png",
        "single/AP.png",
    )
    (tmp_path / "notes.txt").write_text("no film")
    assert told([tmp_path]) == {tmp_path.name: ["a", "b"], "more": ["AP", "LAT"]}


def test_links_to_folders_are_not_followed(put, tmp_path):
    put("one/AP.png", "one/LAT.png", "x.png")
    (tmp_path / "latest").symlink_to(".")
    (tmp_path / "one" / "up").symlink_to("..")
    (tmp_path / "one" / "OBL.png").symlink_to(tmp_path / "x.png")
    assert told([tmp_path]) == {"one": ["AP", "LAT", "OBL"]}


def test_many_films_are_told_apart_by_name(put, tmp_path):
    names = [f"{limb}-{view}.png" for limb in ("hand", "knee", "foot") for view in ("ap", "lat")]
    put(*names, "wrist-lat.png")
    assert told([tmp_path]) == {limb: ["ap", "lat"] for limb in ("foot", "hand", "knee")}


def test_a_rendering_brings_its_truth_and_leaves_its_sheet(put, tmp_path):
    put("view-0.png", "view-1.png", "sheet.png")
    np.savez(tmp_path / "correspondence.npz", files=np.array(["view-0.png", "view-1.png"]))
    (study,) = studies_in([tmp_path])
    assert list(study.films) == ["view-0", "view-1"]
    assert study.truth == tmp_path / "correspondence.npz"


def test_labels_bring_their_films(put, tmp_path):
    put("AP.png", "LAT.png")
    films = {view: {"file": f"{view}.png"} for view in ("AP", "LAT")}
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"studies": [{"study": "s", "person": "p", "films": films}]}))
    (study,) = studies_in([path])
    assert (study.name, study.person, list(study.films)) == ("s", "p", ["AP", "LAT"])
    assert labels_beside([path]) == path


def test_where_labels_are_kept(put, tmp_path):
    film, _ = put("a.png", "b.png")
    assert labels_beside([tmp_path]) == labels_beside([film]) == tmp_path / "crossray-labels.json"


def test_what_makes_no_study_is_refused(put, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        studies_in([tmp_path / "none"])
    with pytest.raises(InputError, match="0 films"):
        studies_in([tmp_path])
    with pytest.raises(InputError, match="1 films"):
        studies_in(put("a.png"))
    assert studies_in([]) == []
