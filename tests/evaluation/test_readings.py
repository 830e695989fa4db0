"""Scores of readings by hand, by their definitions, and their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossray.errors import InputError
from crossray.evaluation.readings import (
    SCORES,
    ReadingCalibration,
    Readings,
    fit_reading_calibration,
    report,
)


def readings(labels, probabilities, patients=None, logits=None, folds=None):
    labels, said = np.array(labels, dtype=bool), np.array(probabilities, dtype=float)
    patients = patients or [str(number) for number in range(len(labels))]
    logits = said if logits is None else np.array(logits, dtype=float)
    folds = np.zeros(len(labels), dtype=int) if folds is None else np.array(folds)
    return Readings(patients, labels, logits, said, folds)


def test_scores_by_hand():
    # read as positive: 3 of 4 positive and 1 of 6 negative studies
    said = readings([1] * 4 + [0] * 6, [0.9, 0.8, 0.7, 0.2, 0.6, 0.4, 0.3, 0.2, 0.1, 0.0])
    scores = report(said)
    assert scores.accuracy == pytest.approx(0.8)
    assert scores.precision == scores.recall == pytest.approx(0.75)
    assert scores.specificity == pytest.approx(5 / 6)
    chance = 0.4 * 0.4 + 0.6 * 0.6
    assert scores.kappa == pytest.approx((0.8 - chance) / (1 - chance))
    # 0.9, 0.8, 0.7 beat all six; 0.2 beats two and ties with one
    assert scores.auc == pytest.approx((18 + 2.5) / 24)
    assert scores.brier == pytest.approx(
        (0.01 + 0.04 + 0.09 + 0.64 + 0.36 + 0.16 + 0.09 + 0.04 + 0.01) / 10
    )
    assert (scores.studies, scores.patients, scores.prevalence) == (10, 10, 0.4)


def test_rank_is_of_logits_within_a_fold():
    # a calibration that tells nothing apart hides no rank; of two folds only the pairs within one count
    flat = readings([0, 1, 0, 1], [0.5] * 4, logits=[-9, -8, 3, 2], folds=[0, 0, 1, 1])
    assert report(flat).auc == pytest.approx((1 + 0) / 2)
    one = readings([0, 1, 0, 1], [0.5] * 4, logits=[-9, -8, 3, 2])
    assert report(one).auc == pytest.approx((1 + 1) / 4)


def test_some_of_the_readings():
    said = readings([0, 1, 0], [0.1, 0.9, 0.2], ["a", "b", "c"], folds=[0, 1, 2])
    some = said.of(np.array([True, False, True]))
    assert some.patients == ["a", "c"]
    assert (some.probabilities.tolist(), some.folds.tolist()) == ([0.1, 0.2], [0, 2])


def test_calibration_error_by_hand():
    # bin 0.2: said 0.25 twice, none is; bin 0.7: said 0.75 twice, one is
    said = readings([0, 0, 1, 0], [0.25, 0.25, 0.75, 0.75])
    assert report(said).ece == pytest.approx((0.5 + 0.5) / 4)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30),
    st.integers(0, 9),
)
def test_weights_are_repetitions(studies, seed):
    labels, levels = zip(*studies, strict=True)
    said = readings(labels, [level / 5 for level in levels])
    times = np.random.default_rng(seed).integers(0, 3, len(labels))
    times[0] = 1
    repeated = readings(np.repeat(labels, times), np.repeat(said.probabilities, times))
    for score in SCORES.values():
        once = score(repeated, np.ones((1, times.sum())))
        np.testing.assert_allclose(score(said, times[None].astype(float)), once, atol=1e-12)


def test_intervals_are_clustered_by_patient():
    rng = np.random.default_rng(0)
    labels = rng.random(40) < 0.5
    probabilities = np.clip(labels * 0.3 + rng.random(40) * 0.7, 0, 1)
    apart = report(readings(labels, probabilities))
    # each study ten times is no more knowledge as long as the patient is the same
    patients = [str(number) for number in range(40) for _ in range(10)]
    copied = readings(np.repeat(labels, 10), np.repeat(probabilities, 10), patients)
    together, naive = report(copied), report(readings(copied.labels, copied.probabilities))
    width = {name: each.intervals["auc"][1] - each.intervals["auc"][0]
             for name, each in (("apart", apart), ("together", together), ("naive", naive))}  # fmt: skip
    assert together.auc == pytest.approx(apart.auc)
    assert width["together"] == pytest.approx(width["apart"], rel=0.25)
    assert width["naive"] < 0.5 * width["apart"]


def test_one_patient_has_no_interval_and_one_kind_no_auc():
    scores = report(readings([1, 1], [0.9, 0.2], ["a", "a"]))
    assert np.isnan(scores.auc)
    assert np.isnan(scores.intervals["accuracy"]).all()
    assert scores.accuracy == 0.5
    with pytest.raises(InputError, match="at least one study"):
        readings([], [])


def test_calibration_finds_the_probability():
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 1.5, 4000)
    labels = rng.random(4000) < 1 / (1 + np.exp(-truth))
    found = fit_reading_calibration(3 * truth - 2, labels)  # sure of itself, and too low
    assert found.scale == pytest.approx(1 / 3, rel=0.1)
    assert found.offset == pytest.approx(2 / 3, abs=0.1)
    assert report(readings(labels, found.probability(3 * truth - 2))).ece < 0.03
    assert ReadingCalibration.from_json(found.to_json()) == found


def test_a_calibration_never_turns_the_order_and_stays_finite():
    parted = fit_reading_calibration(
        np.array([-50.0, -1.0, 1.0, 50.0]), np.array([0, 0, 1, 1], bool)
    )
    assert (
        0
        < parted.probability(np.array([-50.0]))[0]
        < 0.5
        < parted.probability(np.array([50.0]))[0]
        < 1
    )
    wrong = fit_reading_calibration(np.array([-1.0, 1.0]), np.array([True, False]))
    assert wrong.scale == pytest.approx(0, abs=1e-3)


def test_what_is_refused():
    with pytest.raises(InputError, match="needs studies with a finding"):
        fit_reading_calibration(np.zeros(3), np.ones(3, dtype=bool))
    with pytest.raises(InputError, match="cannot be read"):
        ReadingCalibration.from_json("{}")
