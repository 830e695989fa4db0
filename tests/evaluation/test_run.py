import json
import math
from dataclasses import dataclass

import pytest
import torch

from crossray.errors import InputError
from crossray.evaluation.metrics import PositionPrior
from crossray.evaluation.run import MatcherReport, evaluate_matcher
from crossray.evaluation.slope import SlopePair

CONTRACT = [
    "ap",
    "mse",
    "precision",
    "recall",
    "prevalence",
    "prior_ap",
    "ap_low",
    "ap_high",
    "slope",
    "per_volume",
]


@dataclass
class Labelled:
    images: torch.Tensor
    correspondence: torch.Tensor


def labelled(views: int = 2, size: int = 32) -> Labelled:
    """A sample whose images carry its truth: pixel (0, 0) of view 0 says which patch of a 2 x 2 grid matches."""
    truth = torch.zeros(views, views, 4, 4)
    images = torch.rand(views, size, size)
    chosen = int(torch.randint(4, (1,)))
    truth[:, :, chosen, chosen] = 1.0
    images[:, 0, 0] = chosen / 4
    return Labelled(images, truth)


def reads_the_images(images: torch.Tensor) -> torch.Tensor:
    batch, views = images.shape[:2]
    matrix = torch.zeros(batch, views, views, 4, 4)
    for number, sample in enumerate(images):
        chosen = int(sample[0, 0, 0].item() * 4)
        matrix[number, :, :, chosen, chosen] = 0.9
    return matrix


SAMPLES = [("p1", "knee", 5), ("p1", "hip", 2), ("p2", "hand", 3)]


def samples() -> list[tuple[str, str, Labelled]]:
    return [(person, name, labelled()) for person, name, count in SAMPLES for _ in range(count)]


def test_a_perfect_matcher_beside_its_baselines():
    given = samples()
    prior = PositionPrior.from_truths(sample.correspondence for _, _, sample in given)
    report = evaluate_matcher(reads_the_images, given, prior, batch_size=4)
    assert report.ap == report.precision == report.recall == report.ap_low == report.ap_high == 1.0
    assert report.prevalence == 1 / 16
    assert report.mse == pytest.approx(0.01 / 16, rel=1e-5)
    assert report.prevalence < report.prior_ap < 1.0
    assert (report.pairs, report.persons, report.slope_pairs) == (10, 2, 0)
    assert math.isnan(report.slope)
    assert [(row["name"], row["person"], row["pairs"]) for row in report.per_volume] == [
        ("hip", "p1", 2),
        ("knee", "p1", 5),
        ("hand", "p2", 3),
    ]


def test_views_and_sizes_may_change_between_samples():
    mixed = [("p", "v", labelled()), ("p", "v", labelled(views=3)), ("p", "v", labelled(size=16))]
    assert evaluate_matcher(reads_the_images, mixed).pairs == 1 + 3 + 1


def test_batching_changes_nothing():
    given = samples()
    one, eight = (
        evaluate_matcher(reads_the_images, given, batch_size=size).to_json() for size in (1, 8)
    )
    assert one == eight


def test_slope_pairs_are_measured():
    pair = SlopePair("p1", torch.rand(32, 32), torch.rand(64, 32), (0, 16, 32), grid=(2, 2))
    report = evaluate_matcher(reads_the_images, samples(), slope_pairs=[pair])
    assert report.slope_pairs == 1
    assert math.isnan(report.row_error)


def test_json_has_the_fields_of_the_contract_and_null_for_undefined(tmp_path):
    path = tmp_path / "deep" / "report.json"
    report = evaluate_matcher(reads_the_images, samples(), settings={"seed": 3})
    report.save(path)
    content = json.loads(path.read_text())
    assert list(content)[:9] == CONTRACT[:9]
    assert set(CONTRACT) <= set(content)
    assert content["slope"] is None
    assert content["prior_ap"] is None
    assert content["settings"] == {"seed": 3}
    assert set(content["per_volume"][0]) == {
        "name",
        "person",
        "ap",
        "prevalence",
        "prior_ap",
        "pairs",
    }
    assert [each.name for each in path.parent.iterdir()] == ["report.json"]
    assert MatcherReport.load(path).to_json() == report.to_json()


def test_a_failed_write_leaves_the_old_report(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    report = evaluate_matcher(reads_the_images, samples(), settings={"weights": object()})
    with pytest.raises(TypeError):
        report.save(path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_progress_shows_and_changes_nothing(capsys):
    given = samples()
    shown = evaluate_matcher(reads_the_images, given, progress=True)
    assert shown.to_json() == evaluate_matcher(reads_the_images, given).to_json()
    assert "matching" in capsys.readouterr().err


def test_no_samples_is_refused():
    with pytest.raises(InputError, match="no samples"):
        evaluate_matcher(reads_the_images, [])


def test_a_file_that_is_no_report_is_refused(tmp_path):
    path = tmp_path / "other.json"
    for text in ("{}", "[1]", "not json", '{"per_volume": [3]}'):
        path.write_text(text)
        with pytest.raises(InputError, match="not a matcher report"):
            MatcherReport.load(path)
    with pytest.raises(InputError, match="absent"):
        MatcherReport.load(tmp_path / "absent.json")
