"""The folder of a run: its configuration, its last checkpoint, its weights, its curve.

Every file is replaced whole, so a kill at any moment leaves the last complete one. Order matters: weights and curve
before the checkpoint, so that whatever the checkpoint says is done is on the disk.
"""

import csv
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from crossray.errors import InputError
from crossray.files import written_whole
from crossray.training.config import Training, differences, load_config

JUDGED = ("step", "score")


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files.

    Args:
        path: The folder.
        network: What is trained; names the weights.
        unit: What the speed is told in.
    """

    path: Path
    network: str = "matcher"
    unit: str = "pairs"

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the curve; `waiting` is the share of the seconds in which the next samples were waited for."""
        return ("step", "loss", "learning_rate", f"{self.unit}_per_second", "seconds", "waiting")

    @property
    def config(self) -> Path:
        """The resolved configuration, YAML."""
        return self.path / "config.yaml"

    @property
    def checkpoint(self) -> Path:
        """Everything needed to go on: weights, optimizer, schedule, running average, step."""
        return self.path / "last.ckpt"

    @property
    def weights(self) -> Path:
        """The network as of the last checkpoint, safetensors."""
        return self.path / f"{self.network}.safetensors"

    @property
    def metrics(self) -> Path:
        """The curve: one row every few steps."""
        return self.path / "metrics.csv"

    @property
    def judgements(self) -> Path:
        """What the weights of each checkpoint were worth, where that was judged."""
        return self.path / "validation.csv"

    def open(self, config: Training) -> int:
        """Make the folder ready for a run, new or to be continued.

        Args:
            config: The run asked for.

        Returns:
            Steps already done.

        Raises:
            InputError: The folder holds another run, cannot be written, or its checkpoint cannot be read.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.path} cannot hold a run ({error.strerror}); name a folder with --out."
            ) from error
        begun = self.checkpoint.is_file() or self.weights.is_file()  # else its start failed
        if begun and self.config.is_file():
            changes = differences(load_config(self.config, type(config)), config)
            if changes:
                listed = "; ".join(changes[:5])
                raise InputError(
                    f"{self.path} holds another run ({listed}); name a new folder or repeat its options."
                )
        done = checkpoint_step(self.checkpoint) if self.checkpoint.is_file() else 0
        with written_whole(self.config) as partial:
            partial.write_text(config.to_yaml(), encoding="utf-8")
        _keep_rows(self.metrics, self.columns, done)
        if self.judgements.is_file():
            _keep_rows(self.judgements, JUDGED, done)
        return done

    def add_metrics(self, row: dict[str, float | int]) -> None:
        """Append a row to the curve."""
        with self.metrics.open("a", newline="") as file:
            csv.writer(file).writerow([row[name] for name in self.columns])

    def judged(self) -> list[float]:
        """The score of every checkpoint so far."""
        return [float(row[1]) for row in _rows(self.judgements)]

    def add_judgement(self, step: int, score: float) -> None:
        """Keep what the weights of a checkpoint are worth."""
        if not self.judgements.is_file():
            _keep_rows(self.judgements, JUDGED, 0)
        with self.judgements.open("a", newline="") as file:
            csv.writer(file).writerow([step, score])


def _rows(path: Path) -> list[list[str]]:
    """The rows of a curve below its header; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.reader(file) if row[0].isdigit()]


def _keep_rows(path: Path, columns: tuple[str, ...], done: int) -> None:
    """Keep the rows up to the checkpoint; what a killed run wrote beyond it will be done again."""
    rows = [row for row in _rows(path) if int(row[0]) <= done]
    lines = [",".join(columns), *(",".join(row) for row in rows)]
    with written_whole(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def checkpoint_step(path: Path) -> int:
    """Steps done in a checkpoint, read without running any code of it.

    Raises:
        InputError: No checkpoint of a run.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(state["global_step"])
    except (
        OSError,
        RuntimeError,
        KeyError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        raise InputError(
            f"{path} is no checkpoint of a run; delete it to begin the run again."
        ) from error
