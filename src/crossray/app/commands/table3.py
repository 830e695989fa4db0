"""`crossray reproduce table3`: ways to read two views, trained on equal data, scored on patients they never saw."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from crossray.app.commands.classifier import fit, logits_of, resolved
from crossray.app.commands.reproduce import machine, training_seconds
from crossray.data.studies import Case, StudyData, split_cases
from crossray.errors import InputError
from crossray.evaluation.reading_table import ReadingComparison, ReadingTable, RowReadings
from crossray.evaluation.readings import ReadingCalibration, Readings, fit_reading_calibration
from crossray.files import written_whole
from crossray.matching.classifier import Classifier
from crossray.models.classifier import ClassifierNetwork
from crossray.models.storage import save_network
from crossray.recipes import CLAIMS, TABLE3, ReadingBudget
from crossray.training.config import ClassifierTrainConfig


@dataclass(frozen=True)
class Plan:
    """How the rows are trained.

    Args:
        budget: What each may spend.
        matcher: Weights that pre-train and guide.
        runs: Folder of the trainings.
        words: `section.option=value` for every training.
    """

    budget: ReadingBudget
    matcher: str
    runs: Path
    words: Sequence[str] = ()


class Interrupted(Exception):
    """A training was stopped; the same command goes on from there."""


def reproduce_table3(
    sources: Sequence[str],
    plan: Plan,
    rows: Sequence[str],
    seeds: int,
    out: Path,
    keep: Path | None,
) -> None:
    """Train what is not trained yet, score every row on every set, write the table and print it.

    Args:
        sources: Of studies, as `read_cases` takes them.
        plan: How every row is trained.
        rows: Names of rows; none for all.
        seeds: Trainings of each row and fold.
        out: Folder of the table.
        keep: File for weights of the best row, trained on every patient of the first graz: source; None for none.

    Raises:
        InputError: No such row, two sets of one name, or nothing to train the kept weights on.
    """
    chosen = [name for name in TABLE3 if name in (rows or TABLE3)]
    if unknown := set(rows) - set(TABLE3):
        raise InputError(f"Table 3 has no row {min(unknown)!r}; it has {', '.join(TABLE3)}.")
    names = [_name(source) for source in sources]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(
            f"Two sets would be called {min(twice)!r}, after the folder of their table; rename one of the folders."
        )
    if keep is not None and (keep.is_dir() or not any(s.startswith("graz:") for s in sources)):
        raise InputError(
            f"--keep {keep}: name a file, and give a graz: source to train its weights on."
        )
    tables, extra = {}, {}
    try:
        for source in sources:
            found = {row: _row(plan, row, source, seeds) for row in chosen}
            tables[_name(source)] = ReadingTable(found, CLAIMS)
            if keep is not None and not extra and source.startswith("graz:"):
                extra = _keep_best(plan, source, tables[_name(source)], keep)
    except Interrupted:
        print("Stopped; the same command goes on from there.")
        return
    settings = {
        "date": date.today().isoformat(), "seeds": seeds, **asdict(plan.budget), "matcher": plan.matcher,
        "options": " ".join(plan.words), "machine": machine(), "crossray": version("crossray"),
        "torch": version("torch"),
    }  # fmt: skip
    comparison = ReadingComparison(tables, settings, extra)
    paths = comparison.save(out, "table3")
    print(comparison.to_markdown())
    print("Written: " + ", ".join(str(path) for path in paths))


def _row(plan: Plan, name: str, source: str, seeds: int) -> RowReadings:
    """A row's readings of every study of a set, each by weights that never saw its patient."""
    row, readings, seconds, parameters = TABLE3[name], [], 0.0, 0
    for seed in range(seeds):
        said: dict[str, tuple[float, float, int]] = {}
        cases: dict[str, Case] = {}
        for run, parts, config, data in _trainings(plan, name, source, seed):
            print(f"{row.title}, seed {seed}, fold {data.fold}: {config.steps} steps.", flush=True)
            if fit(config, parts, data, run).outcome == "interrupted":
                raise Interrupted
            read = _read(run, parts["test"], data.views)
            for study, logit in read["logits"].items():
                said[study] = logit, read["probabilities"][study], data.fold
            seconds += training_seconds(run)
            parameters = sum(w.numel() for w in ClassifierNetwork(config.classifier).parameters())
            cases |= {case.study: case for case in parts["test"]}
        tested = [cases[study] for study in sorted(said)]
        labels = np.array([case.label for case in tested])
        logits, values, folds = zip(*(said[case.study] for case in tested), strict=True)
        patients = [case.patient for case in tested]
        readings.append(
            Readings(patients, labels, np.array(logits), np.array(values), np.array(folds))
        )
    return RowReadings(row.title, readings, row.published, parameters, seconds)


def _trainings(
    plan: Plan, name: str, source: str, seed: int
) -> Iterator[tuple[Path, dict[str, list[Case]], ClassifierTrainConfig, StudyData]]:
    """A row's trainings from one seed: one a fold, or the one of a published split. The split is that of all rows."""
    budget = plan.budget
    recipe, shared = TABLE3[name].recipe(budget, plan.matcher), [f"seed={seed}", *plan.words]
    config, cases, data = resolved(recipe, source, shared)
    published = any(case.split for case in cases)
    if published:
        whole = f"steps={budget.steps * budget.folds}"
        config, cases, data = resolved(recipe, source, [whole, *shared])
    for fold in range(1 if published else budget.folds):
        if not published:
            dealt = [f"data.folds={budget.folds}", f"data.fold={fold}"]
            config, cases, data = resolved(recipe, source, [*shared, *dealt])
        run = plan.runs / _name(source) / f"{name}-{seed}-{fold}"
        yield run, split_cases(cases, data), config, data


def _read(run: Path, cases: Sequence[Case], views: int) -> dict[str, dict[str, float]]:
    """By study, logit and probability of a run's test studies; kept with the run."""
    kept = run / "readings.json"
    if not kept.is_file():
        classifier = Classifier.load(run)
        logits = logits_of(classifier, cases, views)
        probabilities = (classifier.calibration or ReadingCalibration()).probability(logits)
        names = [case.study for case in cases]
        content = {
            "logits": dict(zip(names, logits.tolist(), strict=True)),
            "probabilities": dict(zip(names, probabilities.tolist(), strict=True)),
        }
        with written_whole(kept) as partial:
            partial.write_text(json.dumps(content) + "\n")
    return json.loads(kept.read_text())


def _keep_best(plan: Plan, source: str, table: ReadingTable, keep: Path) -> dict[str, Any]:
    """Train the row of the best AUC on every patient, calibrate it by what its folds said, and write it."""
    best = max(table.rows, key=lambda row: table.score(row, "auc")[0])
    everyone = [*plan.words, "data.val_share=0", "data.test_share=0"]
    config, cases, data = resolved(TABLE3[best].recipe(plan.budget, plan.matcher), source, everyone)
    run = plan.runs / _name(source) / f"{best}-all"
    if fit(config, split_cases(cases, data), data, run).outcome == "interrupted":
        raise Interrupted
    logits: dict[str, float] = {}
    for fold, parts, _, _ in _trainings(plan, best, source, 0):
        logits |= _read(fold, parts["test"], data.views)["logits"]
    tested = [case for case in cases if case.study in logits]
    calibration = fit_reading_calibration(
        np.array([logits[case.study] for case in tested]), np.array([case.label for case in tested])
    )
    classifier = Classifier.load(run)
    told = {
        "calibration": calibration.to_json(),
        "data": f"{Path(source).parent.name}, every patient; for research, not a medical device",
        "row": best,
    }
    metadata = {name: words for name, words in classifier.metadata.items() if name != "recipe"}
    keep.parent.mkdir(parents=True, exist_ok=True)
    save_network(keep, classifier.network, metadata | told, half=True)
    return {"graz_weights": keep.as_posix(), "graz_row": best}


def _name(source: str) -> str:
    """A set's name: that of its folder."""
    path = Path(source.partition(":")[2])
    return path.name if path.is_dir() else path.resolve().parent.name
