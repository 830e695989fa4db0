import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import crossray as cr
from crossray.correspondence.epipolar import LevelAgreement
from crossray.data.sample import Sample
from crossray.errors import InputError
from crossray.evaluation.calibration import (
    COVERAGES,
    Calibration,
    expected_calibration_error,
    fit_calibration,
    leave_one_out,
    mass_before,
    region_scores,
    related_auroc,
)
from crossray.evaluation.judged import STRANGERS, JudgedPair, judged, strength

PLAIN = Calibration(match=(1.0, 1.0, 0.0), region=((0.5, 0.4), (0.9, 0.8)), related=(2.0, -1.0), turn=1.0)  # fmt: skip


def views(turn=90.0, roll=(0.0, 0.0)):
    return cr.Cameras.from_angles(
        primary=[0, turn], secondary=[0, 0], roll=list(roll), sod_mm=1000, sdd_mm=1100,
        size=(64, 64), pixel_mm=1.0, isocenter=torch.zeros(3, dtype=torch.float64),
    )  # fmt: skip


def pair(person, rng, patches=64):
    """A matcher whose value s is right with probability s squared."""
    said = torch.from_numpy(rng.beta(0.3, 2.0, (patches, patches))).float().clamp(1e-3, 0.999)
    truth = torch.from_numpy(rng.random((patches, patches))) < said.square()
    agreement = LevelAgreement(0.0, 0.0, 1.0, float(rng.normal(0, 0.1)))
    return JudgedPair(
        person, said, truth.float(), dict.fromkeys(STRANGERS, 0.0), agreement, views()
    )


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    return [pair(f"person {i % 4}", rng) for i in range(24)]


def test_the_plain_map_leaves_probabilities_alone():
    values = torch.tensor([0.1, 0.5, 0.9])
    torch.testing.assert_close(PLAIN.probability(values), values)
    assert PLAIN.probability(torch.zeros(2)).tolist() == [0.0, 0.0]


def test_mass_before_by_hand():
    held = mass_before(torch.tensor([[0.1, 0.6, 0.3]]))
    torch.testing.assert_close(held, torch.tensor([[0.9, 0.0, 0.6]]))


def test_a_region_by_hand():
    said = torch.tensor([0.1, 0.6, 0.3])
    assert PLAIN.chosen(said, 0.5).tolist() == [False, True, False]
    assert PLAIN.chosen(said, 0.9).tolist() == [False, True, True]
    with pytest.raises(InputError, match="never fitted"):
        PLAIN.chosen(said, 0.99)


def test_patches_beside_the_film_are_in_no_region():
    assert not PLAIN.chosen(torch.tensor([0.0, 0.5, 0.0]), 0.9)[[0, 2]].any()
    assert not PLAIN.chosen(torch.zeros(3), 0.9).any()


@given(st.integers(0, 1000))
def test_regions_grow_with_their_coverage(seed):
    said = torch.from_numpy(np.random.default_rng(seed).random((3, 20))).float()
    small, large = (PLAIN.chosen(said, coverage) for coverage in (0.6, 0.85))
    assert (small <= large).all()


def test_values_that_are_wrong_become_probabilities_that_are_right(pairs):
    # s is said and s^2 is so: a = 2 near 0.
    fitted = fit_calibration(pairs)
    said = torch.tensor([0.05, 0.2, 0.5, 0.8])
    torch.testing.assert_close(fitted.probability(said), said.square(), atol=0.03, rtol=0.1)
    folds = leave_one_out(pairs)
    plain = [(PLAIN, group) for _, group in folds]
    assert expected_calibration_error(folds) < 0.01 < expected_calibration_error(plain)


def test_error_by_hand():
    # Half of what is said to be 0.8 matches: off by 0.3.
    one = JudgedPair(
        "p", torch.full((2, 2), 0.8), torch.tensor([[1.0, 0], [0, 1.0]]), {},
        LevelAgreement(0, 0, 1, 0), views(),
    )  # fmt: skip
    assert expected_calibration_error([(PLAIN, [one])]) == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("coverage", COVERAGES)
def test_regions_of_people_left_out_hold_what_they_say(pairs, coverage):
    scores = region_scores(leave_one_out(pairs), coverage)
    inside, taken, queries = np.array(list(scores.values())).sum(0)
    assert len(scores) == 4
    assert inside / queries == pytest.approx(coverage, abs=0.02)
    assert 0 < taken / queries < 1


def test_chance_that_a_pair_is_stronger_than_a_stranger():
    rng = np.random.default_rng(1)
    own = [pair("p", rng) for _ in range(4)]
    strengths = sorted(strength(each.predicted) for each in own)
    between = (strengths[1] + strengths[2]) / 2
    for each in own:
        each.strangers["noise"] = between
    assert related_auroc(own, "noise") == 0.5
    assert related_auroc(own, "another person") == 1.0


def test_patches_beside_their_film_do_not_weaken_a_pair():
    matrix = torch.tensor([[0.8, 0.2], [0.1, 0.6]])
    assert strength(matrix) == pytest.approx(0.7)
    wide = torch.zeros(5, 4)
    wide[1:3, 2:] = matrix
    assert strength(wide) == pytest.approx(0.7)
    assert strength(torch.zeros(3, 3)) == 0.0


def test_it_survives_the_metadata(pairs):
    fitted = fit_calibration(pairs)
    assert Calibration.from_json(fitted.to_json()) == fitted
    for broken in ("", "{}", '{"match": [1]}'):
        with pytest.raises(InputError, match="crossray calibrate"):
            Calibration.from_json(broken)


def test_what_it_cannot_fit():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="two or more"):
        leave_one_out([pair("p", rng)])
    with pytest.raises(InputError, match="no match"):
        fit_calibration([])


@pytest.mark.parametrize("turn", [30.0, 90.0, 150.0])
def test_errors_of_pose_by_hand(turn):
    cameras = views(turn, (0.0, 10.0))
    judged_pair = JudgedPair(
        "p", torch.eye(4), torch.eye(4), {}, LevelAgreement(2.0, -3.0, 1.0, 0.0), cameras
    )
    assert judged_pair.cosine == pytest.approx(math.cos(math.radians(turn)), abs=1e-9)
    assert judged_pair.roll_error_deg() == pytest.approx(5.0, abs=0.1)  # 10 is so, 5 was told
    assert judged_pair.roll_error_deg(0.0) == pytest.approx(10.0, abs=0.1)


def test_strangers_are_set_beside_the_first_view():
    seen = []

    def predict(images):
        seen.append(images)
        return torch.rand(len(images), 2, 2, 4, 4, generator=torch.Generator().manual_seed(0))

    truth = torch.eye(4).expand(2, 2, 4, 4)
    samples = [
        (
            f"person {i}",
            "ct",
            Sample(torch.full((2, 64, 64), i / 10), truth, views(), torch.zeros(2, 64, 64)),
        )
        for i in range(3)
    ]
    found = list(judged(predict, samples, (2, 2)))
    assert [each.person for each in found] == ["person 0", "person 1", "person 2"]
    for number, images in enumerate(seen):
        assert (images[:, 0] == number / 10).all()
        assert (images[0, 1] == number / 10).all()
        assert (images[1, 1] != number / 10).all()
        assert images[2, 1].std() > 0.05
    with pytest.raises(InputError, match="two people"):
        list(judged(predict, samples[:1], (2, 2)))
    dark = judged(lambda images: torch.zeros(len(images), 2, 2, 4, 4), samples, (2, 2))
    assert {each.agreement for each in dark} == {LevelAgreement(0, 0, 0, 0)}
