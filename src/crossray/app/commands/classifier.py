"""`crossray train classifier`, `evaluate classifier` and `classify`: from studies to a calibrated probability."""

import json as json_format
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich import print as show
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.utils.data import Dataset

from crossray.app.commands.seen import Seen, learned_before, seen_of, unseen
from crossray.app.commands.starting import starting_weights
from crossray.app.commands.train import data_config, plain
from crossray.data.fractures import FracturePairs
from crossray.data.studies import (
    Case,
    SimulatedStudies,
    StudyData,
    StudyFilms,
    fracture_sampling,
    read_cases,
    split_cases,
    whole_study,
)
from crossray.errors import InputError
from crossray.evaluation.readings import (
    SCORES,
    ReadingCalibration,
    ReadingReport,
    Readings,
    fit_reading_calibration,
    report,
    study_logits,
)
from crossray.evaluation.run import null_for_nan
from crossray.evaluation.tables import with_interval
from crossray.files import written_whole
from crossray.matching.classifier import Classifier
from crossray.matching.matcher import Matcher
from crossray.models.storage import add_metadata
from crossray.recipes import train_classifier_recipe
from crossray.training.config import ClassifierTrainConfig
from crossray.training.fit import FitReport, fit_classifier

SHORTCUTS = frozenset({"cast", "metal", "follow_up"})
"""What tells of a fracture without showing it: scores are also given for the studies without."""


def train_classifier(
    source: str, preset: str, fusion: str | None, init: str, guide: str, out: Path, words: Sequence[str]
) -> None:  # fmt: skip
    """Train, or go on training, calibrate on patients held back, and say how the test patients are read."""
    try:
        recipe = train_classifier_recipe(preset, fusion, guide=guide, init=init)
    except ValueError as error:
        raise InputError(str(error)) from error
    config, cases, data = resolved(recipe, source, words)
    parts = split_cases(cases, data)
    told = [f"{len(part)} for {name}" for name, part in parts.items()]
    if data.simulated:  # learned from in place of the training studies
        told[0] = f"simulated ones of {data.simulated} for train"
    print(f"Studies, split by patient: {', '.join(told)}.", flush=True)
    if fit(config, parts, data, out).outcome == "interrupted":
        return
    if parts["test"]:
        classifier = Classifier.load(out)
        scores = report(readings_of(classifier, parts["test"], data.views))
        show(
            _table(
                scores, f"{classifier.name}: {scores.studies} studies of patients never trained on"
            )
        )


def resolved(
    recipe: ClassifierTrainConfig, source: str, words: Sequence[str]
) -> tuple[ClassifierTrainConfig, tuple[Case, ...], StudyData]:
    """The whole configuration of a run, and its studies; the data stands in the configuration too.

    Raises:
        InputError: An option that does not exist, or studies that cannot be read.
    """
    default = StudyData(source=source)
    tree = recipe.model_copy(update={"data": plain(asdict(default))}).changed(list(words))
    if not any(word.startswith("data.seed=") for word in words):
        tree.data["seed"] = tree.seed
    found, data = read_cases(data_config(tree.data, default))
    for note in found.notes:
        print(note)
    return tree.model_copy(update={"data": plain(asdict(data))}), found.cases, data


def fit(
    config: ClassifierTrainConfig, parts: dict[str, list[Case]], data: StudyData, out: Path
) -> FitReport:
    """Train on `train`, calibrate on `val`, and keep with the weights whom they have seen.

    Raises:
        InputError: Another run in the folder, a form or weights that cannot be used, or weights to begin with that have
            seen who is held back.
    """
    form = config.classifier
    if form.image_size[0] != form.image_size[1]:
        raise InputError(
            f"classifier.image_size={list(form.image_size)}: studies are shown in squares."
        )
    matcher = Matcher.load(config.guide).network if form.guidance else None
    weights, words = starting_weights(config.init, form)
    before = learned_before(words, parts["val"] + parts["test"], data, config.init)
    samples, seen = _samples(parts, form.image_size, data, out / "cache")
    about = {"guide": config.guide, "seen": json_format.dumps(before + seen)}
    done = fit_classifier(config, samples, out, weights, matcher, about)
    print(done)
    if done.outcome != "interrupted":
        _calibrate(done.weights, parts["val"], data.views)
    return done


def _samples(
    parts: dict[str, list[Case]], size: tuple[int, int], data: StudyData, cache: Path
) -> tuple[Dataset[dict[str, Tensor]], list[Seen]]:
    """What is learned from, the training studies or simulated ones in their place, and whom that and `val` show."""
    if not data.simulated:
        seen = seen_of(data, parts["train"], parts["val"])
        return StudyFilms(parts["train"], size, data), seen
    pairs = FracturePairs(fracture_sampling(data.simulated, "train", size, data), cache)
    seen = seen_of(data, (), parts["val"], set(pairs.persons.values()))
    return SimulatedStudies(pairs, data, parts["val"] + parts["test"]), seen


def _calibrate(weights: Path, cases: Sequence[Case], views: int) -> None:
    """Measure on studies held back what the weights' values are worth, and keep it with them."""
    labels = np.array([case.label for case in cases], dtype=bool)
    if not 0 < labels.sum() < len(labels):
        print("Not calibrated: the studies held back do not show both kinds (data.val_share).")
        return
    logits = logits_of(Classifier.load(weights), cases, views)
    calibration = fit_reading_calibration(logits, labels)
    if calibration.scale == 0:
        print(
            f"The {len(cases)} studies held back were told apart no better than by chance, so that every study gets "
            "one probability; hold back more (data.val_share), or train longer."
        )
    add_metadata(weights, weights, {"calibration": calibration.to_json()})


def evaluate_classifier(source: str, weights: str, json: Path | None, words: Sequence[str]) -> None:
    """Score weights on the patients they have not seen."""
    if json is not None and json.is_dir():
        raise InputError(f"{json} is a folder; name the file for the scores.")
    classifier = Classifier.load(weights)
    recipe = yaml.safe_load(classifier.metadata.get("recipe", "{}"))
    shown = [f"data.views={recipe['data']['views']}"] if recipe else []  # as in its training
    _, cases, data = resolved(train_classifier_recipe("tiny"), source, [*shown, *words])
    cases = unseen(cases, data, classifier.metadata)
    readings = readings_of(classifier, cases, data.views)
    settings = {"weights": classifier.name, "data": Path(source).name, "views": data.views}
    scores = report(readings, settings)
    clear = np.array([not case.flags & SHORTCUTS for case in cases])
    tables = [_table(scores, f"{classifier.name}: {scores.studies} studies of patients never seen")]
    if 0 < clear.sum() < len(clear):
        others = report(readings.of(clear))
        tables.append(_table(others, "of these, without cast, metal or follow-up"))
        told = settings | {"without_cast_metal_follow_up": asdict(others)}
        scores = replace(scores, settings=told)
    if json is not None:
        with written_whole(json) as partial:
            partial.write_text(json_format.dumps(null_for_nan(asdict(scores)), indent=1) + "\n")
    for table in tables:
        show(table)


def classify(films: Sequence[Path], weights: str, out: Path) -> None:
    """Read films of one limb, and write what the answer rests on."""
    reading = Classifier.load(weights).read(list(films))
    files = reading.save(out)
    kind = "calibrated" if reading.calibrated else "not calibrated"
    print(
        f"Fracture: {reading.probability:.1%} ({kind}; {reading.weights}, {len(films)} films, {reading.seconds:.2f} s)."
    )
    print("For research only; not a medical device.")
    for file in files:
        print(f"  {file}")


def readings_of(classifier: Classifier, cases: Sequence[Case], views: int) -> Readings:
    """What a classifier says of whole studies, calibrated where it is."""
    logits = logits_of(classifier, cases, views)
    probabilities = (classifier.calibration or ReadingCalibration()).probability(logits)
    labels, patients = np.array([case.label for case in cases]), [case.patient for case in cases]
    return Readings(patients, labels, logits, probabilities, np.zeros(len(cases), dtype=int))


def logits_of(classifier: Classifier, cases: Sequence[Case], views: int) -> Any:
    """The logits of whole studies."""
    size = classifier.network.config.image_size
    samples = (whole_study(case, size, views) for case in cases)
    matcher = classifier.matcher.network if classifier.matcher else None
    shown = track(samples, "studies", total=len(cases), console=Console(stderr=True))
    return study_logits(classifier.network, shown, matcher)


def _table(scores: ReadingReport, title: str) -> Table:
    table = Table(title=title, caption=f"Prevalence {scores.prevalence:.3f}; intervals by patient.")
    table.add_column("")
    table.add_column("value (95 %)", justify="right")
    for name in SCORES:
        table.add_row(name, with_interval(getattr(scores, name), *scores.intervals[name]))
    return table
