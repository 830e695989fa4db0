"""Readers in the published layouts, their traps, splits by patient, and samples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from crossray.data.studies import StudyData, StudyFilms, read_cases, split_cases, whole_study
from crossray.data.studies.cases import check_leakage
from crossray.errors import InputError

BOM = "\ufeff"
GRAZ = (
    "filestem,patient_id,study_number,timehash,gender,age,laterality,projection,initial_exam,ao_classification,"
    "cast,diagnosis_uncertain,osteopenia,fracture_visible,metal,pixel_spacing,device_manufacturer\n"
)


def film(path, bright=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(bright).integers(0, bright, (48, 40), dtype=np.uint8)
    Image.fromarray(values).save(path)


def cases(source, **options):
    return read_cases(StudyData(source=source, **options))[0].cases


@pytest.fixture
def graz(tmp_path):
    rows = [
        "0003_1_01_WRI-R1,3,1,1,M,11.1,R,1,1,23-M/3.1,,,,1,,0.144,Siemens",
        "0003_2_01_WRI-R1,3,1,2,M,11.1,R,1,1,23-M/3.1,,,,,,0.144,Siemens",  # a second AP, where it is not seen
        "0003_3_01_WRI-R2,3,1,3,M,11.1,R,2,1,23-M/3.1,,,,1,,0.144,Siemens",
        "0003_4_01_WRI-L1,3,1,4,M,11.1,L,1,1,,,,,,,0.144,Siemens",  # the other side, the same day
        "0003_5_02_WRI-R1,3,2,5,M,11.2,R,1,,23-M/3.1,1,,1,1,,0.144,Siemens",  # a follow-up in a cast
        "0004_6_01_WRI-L3,4,1,6,F,3,L,3,1,,,1,,,1,0.144,Siemens",
    ]
    table = tmp_path / "dataset.csv"
    table.write_text(BOM + GRAZ + "\n".join(rows) + "\n", encoding="utf-8")
    for row in rows:
        film(tmp_path / "images_part1" / f"{row.split(',')[0]}.png")
    return table


def test_graz_as_published(graz):
    right, left, again, other = cases(f"graz:{graz}")
    assert [each.view for each in right.films] == ["AP", "AP", "LAT"]
    assert [each.label for each in right.films] == [True, False, True]
    assert (right.label, left.label, right.patient, left.patient) == (True, False, "3", "3")
    assert right.study != left.study
    assert again.flags == {"cast", "osteopenia", "follow_up"}
    assert other.flags == {"uncertain", "metal"}
    assert other.films[0].view == "OBL"
    assert [each.view for each in right.shown(2)] == ["AP", "LAT"]
    assert [each.view for each in right.shown(6)] == ["AP", "LAT", "AP"]
    drawn = {right.shown(1, np.random.default_rng(seed))[0].file for seed in range(20)}
    assert drawn == {right.films[0].file, right.films[1].file}
    assert len(cases(f"graz:{graz}", without=("cast", "metal"))) == 2
    assert len(cases(f"graz:{graz}", least=2)) == 1


def test_graz_says_which_images_are_not_there(graz):
    (graz.parent / "images_part1" / "0004_6_01_WRI-L3.png").unlink()
    found, data = read_cases(StudyData(source=f"graz:{graz}"))
    assert len(found.cases) == 3
    assert "1 of the films" in found.notes[0]
    assert len(data.sha256) == 16
    for file in (graz.parent / "images_part1").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="None of the images"):
        read_cases(StudyData(source=f"graz:{graz}"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",L,3,1,", ",L,7,1,", r"line 7: projection is '7'; it must be 1, 2 or 3"),
        (",L,3,1,", ",X,3,1,", r"line 7: laterality is 'X'"),
        ("23-M/3.1,,,,1,,0.144", "23-M/3.1,,,,yes,,0.144", "line 2: 'yes' is no flag"),
        ("fracture_visible", "broken", "no column 'fracture_visible'"),
    ],
)
def test_graz_refused(graz, old, new, words):
    graz.write_text(graz.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=words):
        cases(f"graz:{graz}")


def test_the_wrists_at_hand(shared):
    found = cases(f"graz:{shared / 'data/radiographs/graz_wrist/index.csv'}")
    assert sum(len(each.films) for each in found) == 402
    assert len({each.patient for each in found}) == 137
    parts = split_cases(found, StudyData())
    assert sum(map(len, parts.values())) == len(found)


def test_the_whole_sets_table_and_the_three_whole_studies_at_hand(shared):
    source = f"graz:{shared / 'data/radiographs/graz_dataset.csv'}"
    found, _ = read_cases(StudyData(source=source))
    assert [[film.view for film in each.films] for each in found.cases] == [["AP", "LAT"]] * 3
    assert found.notes[0].startswith("20321 of the films")


@pytest.fixture
def mura(tmp_path):
    folder = tmp_path / "MURA-v1.1"
    studies = {
        "train": [("patient00001/study1_positive", 1, 2), ("patient00002/study1_negative", 0, 3)],
        "valid": [("patient00009/study1_negative", 0, 1)],
    }
    for part, listed in studies.items():
        paths, labels = [], []
        for name, label, count in listed:
            study = f"MURA-v1.1/{part}/XR_WRIST/{name}/"
            labels.append(f"{study},{label}")
            for number in range(1, count + 1):
                paths.append(f"{study}image{number}.png")
                film(tmp_path / paths[-1])
        (folder / f"{part}_image_paths.csv").write_text("\n".join(paths) + "\n")
        (folder / f"{part}_labeled_studies.csv").write_text("\n".join(labels) + "\n")
    return folder


@pytest.mark.parametrize("above", [False, True])
def test_mura(mura, above):
    first, second, third = cases(f"mura:{mura.parent if above else mura}")
    assert (first.label, second.label, third.label) == (True, False, False)
    assert (first.patient, third.split, first.part) == ("patient00001", "val", "XR_WRIST")
    assert [len(each.films) for each in (first, second, third)] == [2, 3, 1]
    parts = split_cases([first, second, third], StudyData(val_share=0.0))
    assert parts == {"train": [first, second], "val": [], "test": [third]}
    assert cases(f"mura:{mura}", parts=("XR_WRIST",)) == (first, second, third)
    with pytest.raises(InputError, match="no study that"):
        cases(f"mura:{mura}", parts=("XR_HAND",))


def test_mura_with_a_patient_in_both_parts(mura):
    for table in ("valid_image_paths.csv", "valid_labeled_studies.csv"):
        file = mura / table
        file.write_text(file.read_text().replace("patient00009", "patient00001"))
    film(mura / "valid/XR_WRIST/patient00001/study1_negative/image1.png")
    with pytest.raises(InputError, match="Patient patient00001 is in both train and test"):
        split_cases(cases(f"mura:{mura}"), StudyData())


def test_mura_refused(mura):
    listed = mura / "train_labeled_studies.csv"
    listed.write_text(listed.read_text().replace(",1", ",1,1"))
    with pytest.raises(InputError, match=r"a line .*2 values a line are needed"):
        cases(f"mura:{mura}")
    (mura / "valid_image_paths.csv").unlink()
    with pytest.raises(InputError, match=r"valid_image_paths\.csv is missing"):
        cases(f"mura:{mura}")


def test_fracatlas(tmp_path):
    columns = "image_id,hand,leg,hip,shoulder,mixed,hardware,multiscan,fractured,fracture_count,frontal,lateral,oblique"
    rows = [
        "IMG1.jpg,1,0,0,0,0,0,0,0,0,1,0,0",
        "IMG2.jpg,0,1,0,0,0,1,1,1,2,1,1,0",
        "IMG3.jpg,0,1,0,0,0,0,0,1,1,0,1,0",
    ]
    (tmp_path / "dataset.csv").write_text("\n".join([columns, *rows]) + "\n")
    film(tmp_path / "images/Non_fractured/IMG1.jpg")
    film(tmp_path / "images/Fractured/IMG2.jpg")
    film(tmp_path / "images/Fractured/IMG3.jpg")
    split = tmp_path / "Utilities/Fracture Split/test.csv"
    split.parent.mkdir(parents=True)
    split.write_text("image_id\nIMG3.jpg\n")
    found, _ = read_cases(StudyData(source=f"fracatlas:{tmp_path}"))
    whole, both, side = found.cases
    assert "names no patients" in found.notes[-1]
    assert (whole.films[0].view, both.films[0].view, side.films[0].view) == ("AP", "", "LAT")
    assert (whole.label, both.label, whole.part, both.part) == (False, True, "hand", "leg")
    assert both.flags == {"metal", "several"}
    assert (side.split, whole.split) == ("test", "")


def table(folder, rows, header="file,study,patient,view,label"):
    path = folder / "studies.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    for row in rows:
        film(folder / row.split(",")[0], 60 + 7 * len(row))
    return f"csv:{path}"


def test_any_table(tmp_path):
    source = table(
        tmp_path,
        ["a.png,s1,p1,PA,0,train", "b.png,s1,p1,lateral,1,train", "c.png,s2,p2,,0,test"],
        "file,study,patient,view,label,split",
    )
    first, second = cases(source)
    assert [each.view for each in first.films] == ["AP", "LAT"]
    assert (first.label, second.label, second.films[0].view) == (True, False, "")
    assert (first.split, second.split) == ("train", "test")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a.png,s1,p1,AP,2"], "line 2: '2' is no flag"),
        (
            ["a.png,s1,p1,AP,1", "b.png,s1,p2,LAT,1"],
            "study s1 has patient 'p2' here and 'p1' before",
        ),
        (["a.png,,p1,AP,1"], "line 2: every film needs the names of its study and its patient"),
    ],
)
def test_tables_refused(tmp_path, rows, words):
    with pytest.raises(InputError, match=words):
        cases(table(tmp_path, rows))


def test_sources_refused(tmp_path):
    with pytest.raises(InputError, match="write graz:PATH, mura:PATH"):
        cases("wrists.csv")
    with pytest.raises(InputError, match="does not exist"):
        cases(f"csv:{tmp_path / 'none.csv'}")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match="has no rows"):
        cases(f"csv:{tmp_path / 'empty.csv'}")
    source = table(tmp_path, ["a.png,s1,p1,AP,1"])
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"line 2: .*a\.png does not exist"):
        cases(source)


@pytest.fixture
def many(tmp_path):
    """Twenty patients of one to three studies each, half of them with a finding."""
    rows = [
        f"{patient}-{study}-{view}.png,s{patient}-{study},p{patient},{view},{patient % 2}"
        for patient in range(20)
        for study in range(1 + patient % 3)
        for view in ("AP", "LAT")
    ]
    return cases(table(tmp_path, rows))


def test_splits_are_by_patient_and_alike(many):
    parts = split_cases(many, StudyData(seed=3))
    patients = {name: {each.patient for each in part} for name, part in parts.items()}
    assert [len(patients[name]) for name in ("train", "val", "test")] == [12, 2, 6]
    for name in parts:
        share = np.mean([int(patient[1:]) % 2 for patient in patients[name]])
        assert share == 0.5
    assert split_cases(many, StudyData(seed=3)) == parts
    assert split_cases(many, StudyData(seed=4)) != parts


def test_folds_hold_every_patient_once(many):
    tests = [
        {each.patient for each in split_cases(many, StudyData(folds=5, fold=fold))["test"]}
        for fold in range(5)
    ]
    assert sum(map(len, tests)) == 20
    assert len(set().union(*tests)) == 20


def test_a_split_that_names_the_broken_alone(many):
    parts = {"p1": "train", "p3": "val", "p5": "test"}
    listed = [replace(each, split=parts.get(each.patient, "")) for each in many]
    dealt = split_cases(listed, StudyData())
    assert {each.split for each in dealt["val"] if each.patient == "p3"} == {"val"}
    assert {each.label for each in dealt["val"]} == {True, False}
    assert {each.patient for each in dealt["train"]} >= {"p1"}
    whole = split_cases(
        [replace(each, split=each.split or "train") for each in listed], StudyData()
    )
    assert {each.patient for each in whole["val"]} == {"p3"}


def test_a_study_is_in_one_split(tmp_path):
    rows = ["a.png,s1,p1,AP,1,train", "b.png,s1,p1,LAT,1,test"]
    with pytest.raises(InputError, match="study s1 has split 'test' here and 'train' before"):
        cases(table(tmp_path, rows, "file,study,patient,view,label,split"))


def test_leakage_is_refused(many):
    with pytest.raises(InputError, match="Patient p1 is in both train and val"):
        check_leakage({"train": many[:4], "val": [replace(many[1], study="again")]})


def test_training_of_one_kind_is_refused(many):
    with pytest.raises(InputError, match="all of one kind"):
        split_cases([each for each in many if each.label], StudyData())


@pytest.mark.parametrize("options", [{"views": 0}, {"folds": 1}, {"fold": 2}, {"val_share": 1.0}])
def test_data_refused(options):
    with pytest.raises(InputError, match=r"data\."):
        StudyData(**options)


def test_samples(many):
    films = StudyFilms(many, (64, 64), StudyData(views=3, missing=0.5))
    samples = [films[number] for number in range(2 * len(many))]
    again = StudyFilms(many, (64, 64), StudyData(views=3, missing=0.5))
    for sample, other in zip(
        samples, (again[number] for number in range(len(samples))), strict=True
    ):
        assert all(torch.equal(value, other[name]) for name, value in sample.items())
        images, present = sample["images"], sample["present"]
        assert images.shape == (3, 64, 64)
        assert 0 <= images.min() <= images.max() <= 1
        assert not images[~present].any()
        assert torch.equal(
            sample["film_labels"][present], sample["label"].expand(int(present.sum()))
        )
    counts = torch.stack([sample["present"].sum() for sample in samples])
    assert set(counts.tolist()) == {1, 2}
    assert not torch.equal(samples[0]["images"], films[len(many)]["images"])


def test_a_whole_study_is_all_there(many):
    sample = whole_study(many[1], (64, 64), 2)
    assert sample["present"].tolist() == [True, True]
    assert sample["label"] == 1
    assert sample["images"].amax((1, 2)).tolist() == [1, 1]
