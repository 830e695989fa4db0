"""What a training run is: one frozen tree of options, in YAML beside its output."""

from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crossray.errors import InputError
from crossray.models.classifier import ClassifierConfig
from crossray.models.matcher import MatcherConfig


class Options(BaseModel):
    """A frozen group of options that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerConfig(Options):
    """AdamW with a linear warm-up and a cosine to zero.

    Args:
        rate: Learning rate at its peak.
        warmup: Steps to reach it.
        weight_decay: Decoupled weight decay of matrices and filters.
        clip: Largest norm of the gradient; 0 leaves it alone.
        average: Decay per step of the running average of the weights, which is what the run exports; 0 for none.
    """

    rate: float = Field(default=5e-4, gt=0)
    warmup: int = Field(default=200, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, ge=0)
    average: float = Field(default=0.999, ge=0, lt=1)


class RunConfig(Options):
    """How a run is carried out; nothing here changes what it learns.

    Where weights are judged, though, the best of the checkpoints' are kept and `patience` counts checkpoints, so that
    `checkpoint_every` then decides which.

    Args:
        workers: Processes that make samples; 0 makes them in the training process. A script that asks for some
            needs the usual `if __name__ == "__main__":`, as they are started afresh, not forked.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between rows of metrics.csv.
        progress: Whether to show a progress bar.
    """

    workers: int = Field(default=0, ge=0)
    checkpoint_every: int = Field(default=250, ge=1)
    log_every: int = Field(default=20, ge=1)
    progress: bool = True


AnyConfig = TypeVar("AnyConfig", bound="Training")


class Training(Options):
    """What every training run has.

    Args:
        steps: Steps of the optimizer.
        batch: Samples per step, over all devices.
        devices: GPUs, or on a CPU processes, that share every step's samples; gradients are averaged (DDP), while
            normalisation by batch sees each device's own.
        seed: Seeds the network's first weights; the data has its own in `data`.
        precision: `"auto"` is bfloat16 where the machine computes it natively, else float32.
        init: Weights file to begin with instead of random weights.
        patience: Where weights are judged as they are learned: checkpoints without a better one after which the run
            ends; 0 for never.
        optimizer: Optimizer and schedule.
        run: How the run is carried out.
        data: How the samples are made; kept with the run, and a run resumes only with the same.
    """

    steps: int = Field(default=10_000, ge=1)
    batch: int = Field(default=16, ge=1)
    devices: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    init: str = ""
    patience: int = Field(default=0, ge=0)
    optimizer: OptimizerConfig = OptimizerConfig()
    run: RunConfig = RunConfig()
    data: dict[str, Any] = {}

    def changed(self: AnyConfig, assignments: list[str]) -> AnyConfig:
        """The configuration with options set by words like `optimizer.rate=1e-3`; values are read as YAML.

        Raises:
            InputError: No such option, or a value it cannot take.
        """
        tree = self.model_dump(mode="json")
        for word in assignments:
            path, equals, value = word.partition("=")
            *sections, option = path.split(".")
            place: Any = tree
            for section in sections:
                place = place.get(section) if isinstance(place, dict) else None
            free = sections[:1] == ["data"]
            if not equals or not isinstance(place, dict) or (option not in place and not free):
                raise InputError(
                    f"{word!r} sets no option of the training; write section.option=value, such as steps=500."
                )
            place[option] = _value(value)
        return parse(tree, "the options given", type(self))

    def to_yaml(self) -> str:
        """The configuration as YAML, as `load_config` reads it."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class TrainConfig(Training):
    """A training run of the matcher.

    Args:
        matcher: Form of the network.
        loss: `"squared_error"` (the paper's), `"weighted_squared_error"`, `"match_squared_error"` or `"cross_entropy"`.
        company: Of whom a view hears while it learns: `"all"` other views of its sample, `"one"` at a time, so that
            every two views are matched as a study of two films is, or both in `"turns"`.
    """

    matcher: MatcherConfig
    loss: Literal[
        "squared_error", "weighted_squared_error", "match_squared_error", "cross_entropy"
    ] = "squared_error"
    company: Literal["all", "one", "turns"] = "all"


class ClassifierTrainConfig(Training):
    """A training run of the classifier, under binary cross-entropy.

    Args:
        classifier: Form of the network.
        guide: Weights of the matcher that guides its attention, where its form asks for guidance.
        guidance_rate: Peak rate of guidance's alpha. C is at most 1, so alpha turns attention only when it has grown to
            several units; at a rate of 5e-4 it is still below 0.01 after a hundred steps.
    """

    classifier: ClassifierConfig
    guide: str = ""
    guidance_rate: float = Field(default=0.05, gt=0)


def load_config(path: Path, kind: type[AnyConfig] = TrainConfig) -> AnyConfig:
    """Read a configuration from the config.yaml of a run.

    Raises:
        InputError: Not YAML, or not a training configuration.
    """
    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path} cannot be read as YAML; give the config.yaml of a training run."
        ) from error
    return parse(tree, str(path), kind)


def parse(tree: object, name: str, kind: type[AnyConfig] = TrainConfig) -> AnyConfig:
    """A configuration from plain values.

    Args:
        tree: Nested dictionaries as in the YAML file.
        name: Where they came from, for the message.
        kind: Of which network's training.

    Raises:
        InputError: Unknown options or unfit values.
    """
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        raise InputError(f"In {name}, {option or 'the whole'} is unfit: {first['msg']}.") from error


def differences(old: Training, new: Training) -> list[str]:
    """What changes the weights between two configurations, as `option: old -> new`; `run` does not count."""
    before, after = (_leaves(c.model_dump(mode="json", exclude={"run"})) for c in (old, new))
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name}: {before.get(name)} -> {after.get(name)}" for name in names]


def _leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= (
            _leaves(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else {prefix + name: value}
        )
    return leaves


def _value(text: str) -> object:
    """YAML, and also 1e-4, which YAML 1.1 takes for a word."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(
            f"The value {text!r} cannot be read as YAML; write a number, a word or [a, list]."
        ) from error
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
