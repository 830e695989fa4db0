import pytest
import torch

from crossray.data.sample import Sample
from crossray.evaluation.groups import groups_of
from crossray.evaluation.run import evaluate_matcher
from crossray.geometry import Cameras
from crossray.geometry.views import turn_deg


def pair(turn: float, matching: int) -> Sample:
    """Two views `turn` degrees apart; the first `matching` of four patches match their namesakes."""
    cameras = Cameras.from_angles(
        [0, turn], [0, 0], [0, 0], sod_mm=1000, sdd_mm=1100, size=(32, 32), pixel_mm=1.0
    )
    truth = torch.zeros(2, 2, 4, 4)
    truth[0, 1, :matching, :matching] = truth[1, 0, :matching, :matching] = torch.eye(matching)
    return Sample(torch.rand(2, 32, 32), truth, cameras, torch.zeros(2, 32, 32))


@pytest.mark.parametrize(
    ("turn", "matching", "angle", "overlap"),
    [
        (20, 0, "0 to 45 degrees", "0 to 0.25"),
        (45, 1, "45 to 70 degrees", "0.25 to 0.5"),
        (90, 4, "70 to 90 degrees", "0.5 to 1"),
        (170, 2, "0 to 45 degrees", "0.5 to 1"),
    ],
)
def test_groups_by_hand(turn, matching, angle, overlap):
    sample = pair(turn, matching)
    assert turn_deg(sample.cameras) == pytest.approx(turn, abs=1e-4)
    assert groups_of(sample) == [("angle", angle), ("overlap", overlap)]


def test_scores_of_groups_add_up():
    given = [("p", "v", pair(turn, 2)) for turn in (20, 30, 80)]
    report = evaluate_matcher(lambda images: torch.rand(len(images), 2, 2, 4, 4), given)
    rows = {(row["kind"], row["name"]): row["pairs"] for row in report.per_group}
    assert rows == {
        ("angle", "0 to 45 degrees"): 2,
        ("angle", "70 to 90 degrees"): 1,
        ("overlap", "0.5 to 1"): 3,
    }


def test_what_is_no_rendered_pair_has_no_groups():
    assert groups_of("a film") == []
