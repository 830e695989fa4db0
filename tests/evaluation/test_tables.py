import io
from dataclasses import replace
from math import nan

from rich.console import Console

from crossray.evaluation.run import MatcherReport
from crossray.evaluation.tables import report_markdown, report_table

REPORT = MatcherReport(
    ap=0.5432,
    mse=0.00123,
    precision=0.61,
    recall=0.42,
    prevalence=0.0401,
    prior_ap=0.2501,
    ap_low=0.48,
    ap_high=0.6,
    slope=0.71,
    slope_low=0.6,
    slope_high=0.8,
    row_error=12.0,
    pairs=40,
    persons=2,
    slope_pairs=8,
    per_volume=[
        {
            "name": "knee",
            "person": "p1",
            "ap": 0.6,
            "prevalence": 0.05,
            "prior_ap": 0.3,
            "pairs": 20,
        },
        {
            "name": "hand",
            "person": "p2",
            "ap": nan,
            "prevalence": 0.0,
            "prior_ap": nan,
            "pairs": 20,
        },
    ],
)


def test_markdown_puts_chance_and_prior_beside_the_score():
    lines = report_markdown(REPORT).splitlines()
    assert lines[0] == "| volume | person | pairs | AP | 95 % | chance | position prior |"
    assert lines[2] == "| knee | p1 | 20 | 0.600 |  | 0.050 | 0.300 |"
    assert lines[3] == "| hand | p2 | 20 | - |  | 0.000 | - |"
    assert (
        lines[4]
        == "| **all** | **2 persons** | **40** | **0.543** | **0.480 to 0.600** | **0.040** | **0.250** |"
    )
    assert "Slope 0.71 (0.60 to 0.80) over 8 pairs" in lines[6]


def test_undefined_scores_read_as_dashes_or_words():
    one = replace(REPORT, persons=1, ap_low=nan, ap_high=nan, slope=nan, prior_ap=nan)
    text = report_markdown(one)
    assert "**1 person** | **40** | **0.543** | **-** | **0.040** | **-**" in text
    assert "not measured" in text
    assert "nan" not in text


def test_terminal_table_shows_the_same_numbers():
    stream = io.StringIO()
    Console(file=stream, width=120).print(report_table(REPORT, "small"))
    text = stream.getvalue()
    for expected in (
        "small",
        "knee",
        "0.480 to 0.600",
        "0.250",
        "0.040",
        "2 persons",
        "1.23e-03",
    ):
        assert expected in text
