"""`crossray calibrate`: what a matcher's values are worth on people it never saw, kept with its weights."""

import json as json_format
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from rich.console import Console
from rich.progress import track

from crossray.app.commands.evaluate import benches, sample_config, say_who_is_tested
from crossray.errors import InputError
from crossray.evaluation.calibration import (
    COVERAGES,
    Calibration,
    expected_calibration_error,
    fit_calibration,
    leave_one_out,
    region_scores,
    related_auroc,
)
from crossray.evaluation.judged import STRANGERS, JudgedPair, judged
from crossray.evaluation.metrics import percentile_interval, person_weights
from crossray.evaluation.tables import markdown
from crossray.files import written_whole
from crossray.geometry.views import Protocol
from crossray.matching import Matcher
from crossray.matching.matcher import weights_path
from crossray.models.storage import add_metadata


def calibrate(
    weights: str, ct: Path | None, pairs: int, seed: int, protocol: Protocol, out: Path, json: Path | None
) -> None:  # fmt: skip
    """Fit on all people, judge with each left out in turn, write the weights and the scores."""
    for path in (out, json):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise InputError(f"{path} cannot be written; name a file in a folder that exists.")
    matcher = Matcher.load(weights)
    bench, _ = benches(ct, sample_config(matcher.network, protocol=protocol))
    say_who_is_tested(ct, bench)
    console = Console(stderr=True)
    samples = list(track(bench.samples(pairs, seed), "pairs", total=pairs, console=console))
    said = judged(matcher.network, samples, matcher.network.config.patches, seed)
    found = list(track(said, "matching", total=pairs, console=console))
    folds = leave_one_out(found)
    scores = {
        "weights": matcher.name, "CTs": ct.name if ct else "phantoms", "pairs": pairs, "seed": seed,
        "protocol": protocol, "persons": len(folds), **_scores(folds),
    }  # fmt: skip
    words = {
        "calibration": fit_calibration(found).to_json(),
        "calibration_scores": json_format.dumps(scores),
    }
    try:
        add_metadata(weights_path(weights), out, words)
        if json is not None:
            with written_whole(json) as partial:
                partial.write_text(json_format.dumps(scores, indent=2) + "\n")
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be written ({error.strerror}); choose another file."
        ) from error
    print(_table(scores))
    print(f"Calibrated weights: {out}" + (f"; scores: {json}" if json else ""))


def _scores(folds: list[tuple[Calibration, list[JudgedPair]]]) -> dict[str, Any]:
    """Everything measured on people left out; intervals from 1000 draws of persons."""
    pairs = [pair for _, group in folds for pair in group]
    true = [pair.turn_deg for pair in pairs]
    told = [
        calibration.turn_deg(pair.agreement.within)
        for calibration, group in folds
        for pair in group
    ]
    return {
        "ece": expected_calibration_error(folds),
        "regions": [{"coverage": asked, **_region(folds, asked)} for asked in COVERAGES],
        "related_auroc": {kind: related_auroc(pairs, kind) for kind in STRANGERS},
        "roll_error_deg": _errors(
            [pair.roll_error_deg() for pair in pairs], [pair.roll_error_deg(0.0) for pair in pairs]
        ),
        "turn_error_deg": _errors(np.subtract(told, true), np.subtract(90.0, true)),
    }


def _region(folds: list[tuple[Calibration, list[JudgedPair]]], coverage: float) -> dict[str, float]:
    """Coverage and size by query, pooled, with an interval clustered by person."""
    counted = np.array(list(region_scores(folds, coverage).values()))
    inside, taken, queries = counted.sum(0)
    drawn = person_weights(len(counted), 1000, 0) @ counted
    low, high = percentile_interval(drawn[:, 0] / drawn[:, 2])
    return {"held": inside / queries, "low": low, "high": high, "size": taken / queries}


def _errors(errors: ArrayLike, blind: ArrayLike) -> dict[str, float]:
    """Median and 90 % quantile of the distances, beside the median of always saying the same."""
    median, most = np.quantile(np.abs(errors), [0.5, 0.9])
    return {"median": float(median), "p90": float(most), "blind": float(np.median(np.abs(blind)))}


def _table(scores: dict[str, Any]) -> str:
    rows = [("expected calibration error", f"{scores['ece']:.4f}")]
    for region in scores["regions"]:
        held = f"{region['held']:.3f} ({region['low']:.3f} to {region['high']:.3f})"
        rows.append(
            (f"coverage of {region['coverage']:.0%} regions", f"{held}, {region['size']:.0%} of the view")
        )  # fmt: skip
    for kind, area in scores["related_auroc"].items():
        rows.append((f"AUROC against {kind}", f"{area:.3f}"))
    for name, label, usual in (
        ("roll_error_deg", "error of roll", 0), ("turn_error_deg", "error of turn", 90),
    ):  # fmt: skip
        said = "median {median:.1f}, 90 % within {p90:.1f} degrees; always {usual}: {blind:.1f}"
        rows.append((label, said.format(usual=usual, **scores[name])))  # fmt: skip
    return markdown(("on people left out", ""), rows)
