"""Twins of studies with and without a fracture, and the lesion's truth in their views."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.data.fractures import FracturePairs, FractureSampling
from crossray.data.lesions import SEEN_MM, broken_lines, lesion_views
from crossray.data.sample import SampleConfig
from crossray.data.studies import Case, SimulatedStudies, StudyData
from crossray.data.studies.simulated import SHOWN
from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.geometry.views import ViewSampling
from crossray.projection import project
from crossray.volumes.fracture import FractureConfig, break_bone, find_bones
from crossray.volumes.phantom import phantom

CONFIG = FractureSampling(
    phantoms=1,
    fracture=FractureConfig(spacing_mm=2.0, severity=(0.3, 1.0)),
    sample=SampleConfig(views=ViewSampling(views=3, size=(64, 64), field_mm=(60, 90)), thin=2),
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return FracturePairs(replace(CONFIG, distinct=2), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def hand():
    return find_bones(phantom("hand", 0, 2.0), 2.0)


def cameras(volume, primary, secondary=(0.0, 0.0)):
    """Pixels half as wide as voxels: the ray nearest to a voxel's centre runs through it for a millimetre and more."""
    return Cameras.from_angles(
        primary, secondary, sod_mm=1000, sdd_mm=1100, size=(384, 384), pixel_mm=1.0, isocenter=volume.center
    )  # fmt: skip


def test_twins_differ_by_the_fracture_alone(pairs):
    intact, broken = pairs[0], pairs[1]
    assert (intact["label"], broken["label"]) == (0, 1)
    assert intact["person"] == broken["person"] == "phantom hand 0"
    assert intact["images"].shape == broken["images"].shape == (3, 64, 64)
    assert 0 <= float(broken["images"].min()) <= float(broken["images"].max()) <= 1
    assert not intact["boxes"].any()
    assert not intact["visibility"].any()
    lines = [pairs.study(0, broken=label).lines for label in (False, True)]
    changed = (lines[1] - lines[0]).abs() > 0.01
    assert 0 < float(changed.float().mean()) < 0.5
    shown = broken["boxes"][:, 2] > broken["boxes"][:, 0]
    assert shown.all()
    assert (broken["visibility"] > 0).all()
    for view, (row, column, last_row, last_column) in enumerate(
        (broken["boxes"] / 2).int().tolist()
    ):
        assert changed[view, row:last_row, column:last_column].any()


def test_kept_or_made_anew_a_study_is_the_same(pairs):
    again = FracturePairs(replace(CONFIG, distinct=2), pairs.cache)
    fresh = FracturePairs(replace(CONFIG, distinct=2))
    for index in range(4):
        first = pairs[index]
        for other in (again[index], fresh[index]):
            assert all(
                torch.equal(first[name], other[name]) for name in ("images", "boxes", "visibility")
            )
    back = pairs[4]  # the first draw again, in new looks
    assert torch.equal(back["boxes"], pairs[0]["boxes"])
    assert not torch.equal(back["images"], pairs[0]["images"])
    assert len(pairs) == 4
    assert len(list((pairs.cache / "volumes").iterdir())) == 2


def test_studies_to_learn_from(pairs):
    data = StudyData(views=3, missing=0.5, simulated="cts", source="csv:films.csv")
    studies = SimulatedStudies(pairs, data)
    for index in range(4):
        told, study = studies[index], pairs[index]
        present, labels = told["present"], told["film_labels"]
        assert int(present.sum()) == (3 if present.all() else 2)
        assert not told["images"][~present].any()
        assert not labels[~present].any()
        assert told["label"] == labels.max()
        shown = study["visibility"] > SHOWN
        for image, label in zip(told["images"][present], labels[present], strict=True):
            (view,) = [view for view in range(3) if torch.equal(study["images"][view], image)]
            assert label == shown[view]
        assert all(torch.equal(value, studies[index][name]) for name, value in told.items())
    assert {bool(studies[index]["present"].all()) for index in range(4)} == {True, False}
    known = Case("s", "phantom hand 0", (), label=True)
    with pytest.raises(InputError, match="phantom hand 0 of cts is a patient of csv:films"):
        SimulatedStudies(pairs, data, [known])


def test_persons_are_chosen_and_nobody_is_refused():
    chosen = FracturePairs(replace(CONFIG, phantoms=4, persons=("phantom knee 0",)))
    assert set(chosen.persons.values()) == {"phantom knee 0"}
    assert len(FracturePairs(replace(CONFIG, phantoms=4)).persons) == 4
    with pytest.raises(InputError, match="no CT of split"):
        FracturePairs(replace(CONFIG, phantoms=0))


def test_a_change_is_projected_as_the_whole_is(hand):
    broken = break_bone(hand, 3)
    views = cameras(broken.intact, [0.0, 70.0])
    before = project(broken.intact.attenuation(60), views)
    after = project(broken.volume.attenuation(60), views)
    assert torch.allclose(broken_lines(broken, before, views), after, atol=2e-4)


@settings(max_examples=8)
@given(st.integers(0, 1000), st.floats(-180, 180), st.floats(-60, 60))
def test_a_box_holds_the_lesion_in_every_view(hand, seed, primary, secondary):
    broken = break_bone(hand, seed)
    views = cameras(broken.intact, [0.0, primary], [0.0, secondary])
    before = project(broken.intact.attenuation(60), views)
    truth = lesion_views(broken, before, broken_lines(broken, before, views), views)
    voxels = (broken.lesion.values > 0.9).nonzero().flip(1).double()
    ones = torch.ones(len(voxels), 1, dtype=torch.float64)
    world = (torch.cat([voxels, ones], 1) @ broken.lesion.world_from_voxel.T)[:, :3]
    for view, places in enumerate(views.project_points(world)):
        row, column, last_row, last_column = truth.boxes[view].tolist()
        rows, columns = np.nonzero(truth.depth_mm[view].numpy() > SEEN_MM)
        assert (rows.min(), columns.min()) == (row, column)
        assert (rows.max(), columns.max()) == (last_row - 1, last_column - 1)
        nearest = places.round()
        assert (nearest >= torch.tensor([row, column])).all()
        assert (nearest < torch.tensor([last_row, last_column])).all()
        assert 0 <= truth.visibility[view] < 1


def test_a_lesion_out_of_view_has_no_box(hand):
    broken = break_bone(hand, 3)
    aside = cameras(broken.intact, [0.0, 90.0]).crop(0, 1000, (32, 32))
    before = project(broken.intact.attenuation(60), aside)
    truth = lesion_views(broken, before, before, aside)
    assert not truth.boxes.any()
    assert not truth.visibility.any()


def test_what_changed_nothing_cannot_be_seen(hand):
    broken = break_bone(hand, 3)
    views = cameras(broken.intact, [0.0, 90.0])
    before = project(broken.intact.attenuation(60), views)
    assert not lesion_views(broken, before, before, views).visibility.any()
