"""`crossray evaluate matcher`: scores on volumes never trained on, beside chance and the position prior."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich import print as show
from rich.console import Console
from rich.progress import track

from crossray.data.sample import SampleConfig
from crossray.data.synthetic import proposes_splits
from crossray.errors import InputError
from crossray.evaluation.metrics import PositionPrior
from crossray.evaluation.protocol import Bench, ct_volumes, phantom_volumes
from crossray.evaluation.run import MatcherReport
from crossray.evaluation.run import evaluate_matcher as score
from crossray.evaluation.tables import report_table
from crossray.geometry.views import Protocol, ViewSampling
from crossray.matching import Matcher
from crossray.models.matcher import MatcherNetwork
from crossray.volumes.io import list_cts

PHANTOMS = 6
PRIOR_VOLUMES, PRIOR_SAMPLES = 18, 288
SLOPE_PAIRS = 32


def evaluate_matcher(
    weights: str,
    ct: Path | None,
    pairs: int,
    seed: int,
    definition: Literal["exact", "paper"],
    protocol: Protocol,
    json: Path | None,
) -> None:
    """Score, print the table, and write the report."""
    if json is not None and json.is_dir():
        raise InputError(
            f"{json} is a folder; name the file for the scores, for example {json / 'scores.json'}."
        )
    start = time.perf_counter()
    matcher = Matcher.load(weights)
    bench, training = benches(ct, sample_config(matcher.network, definition, protocol))
    say_who_is_tested(ct, bench)
    prior = position_prior(training, seed)
    with torch.inference_mode():
        report = score(
            matcher.network,
            bench.samples(pairs, seed),
            prior,
            bench.slope_pairs(min(SLOPE_PAIRS, pairs), seed),
            settings=_settings(matcher, ct, pairs, seed, definition, protocol),
            progress=True,
        )
    if json is not None:
        save(report, json)
    show(report_table(report, f"{matcher.name}, {protocol} views, {definition} truth"))
    print(
        f"{pairs} pairs in {time.perf_counter() - start:.0f} s."
        + (f" Scores: {json}" if json else "")
    )


def sample_config(
    network: MatcherNetwork,
    definition: Literal["exact", "paper"] = "exact",
    protocol: Protocol = "clinical",
) -> SampleConfig:
    """Samples of the fixed protocol at the network's size."""
    form = network.config
    views = ViewSampling(protocol=protocol, size=form.image_size)
    return SampleConfig(views=views, patch=form.patch, definition=definition)


def benches(ct: Path | None, config: SampleConfig) -> tuple[Bench, Bench]:
    """Volumes to test on, and volumes of training for the position prior."""
    if ct is None:
        test, training = phantom_volumes(PHANTOMS), phantom_volumes(PRIOR_VOLUMES, first=0)
    else:
        test, every = ct_volumes(ct, "val"), ct_volumes(ct, "train")
        training = every[:: max(1, len(every) // PRIOR_VOLUMES)][:PRIOR_VOLUMES]
    coarse = replace(config, truth_block=2)  # a mean over many samples shows no difference
    return Bench(test, config), Bench(training, coarse)


def say_who_is_tested(ct: Path | None, bench: Bench) -> None:
    """Note that a folder without splits is tested whole."""
    if ct is not None and not proposes_splits(list_cts(ct)):
        people = len({volume.person for volume in bench.volumes})
        print(
            f"{ct} proposes no splits (docs/data.md): all of its {people} people are tested, and the scores hold only "
            "for weights that saw none of them.",
            flush=True,
        )


def position_prior(training: Bench, seed: int) -> PositionPrior:
    """The position prior of training volumes, with its progress shown."""
    truths, console = training.truths(PRIOR_SAMPLES, seed), Console(stderr=True)
    return PositionPrior.from_truths(
        track(truths, "position prior", total=PRIOR_SAMPLES, console=console)
    )


def save(report: MatcherReport, path: Path) -> None:
    """Write the report.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        report.save(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); choose another file."
        ) from error


def _settings(matcher: Matcher, *given: Any) -> dict[str, Any]:
    names = ("ct", "pairs", "seed", "definition", "protocol")
    plain = (str(value) if isinstance(value, Path) else value for value in given)
    return {"weights": matcher.name} | dict(zip(names, plain, strict=True))
