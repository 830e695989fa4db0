"""Presets: one function per published or recommended run, each returning a typed configuration."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from crossray.models.classifier import ClassifierConfig
from crossray.models.matcher import MatcherConfig
from crossray.training.config import (
    ClassifierTrainConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
)

SMALL_DATA = {
    "phantoms": 60,
    "phantom_share": 0.25,
    "uniform_share": 0.1,
    "inside_share": 0.25,
    "distinct": 4000,
    "films": True,
    "shown": 4,
    "sample": {"stretch": 0.15, "truth_block": 2, "truth_thin": 2, "views": {"views": 4}},
}
"""What the last stage of the bundled weights came near to (see their card): 4000 poses of four films each. On two cores
a rendering costs more than a step of training, so films are cut into new windows, with new looks and mirrors, each time
they come back."""


def train_matcher_recipe(preset: str) -> TrainConfig:
    """Training of the matcher at one of its sizes.

    Args:
        preset: `"tiny"` (a minute, for tests), `"small"` (some four hours on two CPU cores) or `"paper"` (207,600 pairs
            for 50 epochs; Adam at 1e-4, batch 16, MSE, cosine schedule as published).

    Returns:
        The whole configuration; change it with `TrainConfig.changed`. `data` holds only what differs from the
        defaults of `SyntheticConfig`.

    Raises:
        ValueError: An unknown preset.
    """
    matcher = MatcherConfig.preset(preset)
    if preset == "paper":
        published = OptimizerConfig(rate=1e-4, warmup=1000, weight_decay=0.0, average=0.0)
        return TrainConfig(matcher=matcher, steps=648_750, optimizer=published)
    if preset == "small":
        return TrainConfig(
            matcher=matcher,
            steps=10_000,
            batch=8,
            loss="match_squared_error",
            company="turns",
            optimizer=OptimizerConfig(rate=2e-3),
            data=SMALL_DATA,
        )
    return TrainConfig(
        matcher=matcher,
        steps=200,
        batch=8,
        optimizer=OptimizerConfig(rate=3e-3, warmup=20, average=0.98),
        data={"phantoms": 3, "distinct": 96, "sample": {"truth_block": 2}},
    )


def finetune_recipe(matcher: MatcherConfig, init: str, data: dict[str, str]) -> TrainConfig:
    """Fine-tuning on labels of real films, ended when persons held back gain no more.

    The paper's rate is 1e-5; on a hundred pairs five times that came further in the same time (docs/labels.md).

    Args:
        matcher: Form of the network.
        init: File of the weights to begin with.
        data: What the labels are.
    """
    return TrainConfig(
        matcher=matcher,
        steps=600,
        batch=8,
        loss="match_squared_error",
        init=init,
        patience=5,
        optimizer=OptimizerConfig(rate=5e-5, warmup=20, weight_decay=0.0, average=0.98),
        run=RunConfig(checkpoint_every=30),
        data=data,
    )


def self_taught_recipe(matcher: MatcherConfig, init: str, data: dict[str, str]) -> TrainConfig:
    """Training on the matcher's own mean answers about unlabelled films; arguments as for `finetune_recipe`."""
    return TrainConfig(
        matcher=matcher,
        steps=200,
        batch=8,
        init=init,
        optimizer=OptimizerConfig(rate=1e-4, warmup=20, weight_decay=0.0, average=0.98),
        data=data,
    )


CLASSIFIERS: dict[str, dict[str, Any]] = {
    "tiny": {
        "steps": 60,
        "batch": 8,
        "optimizer": OptimizerConfig(rate=2e-3, warmup=10, average=0.9),
    },
    "small": {"steps": 400, "optimizer": OptimizerConfig(rate=5e-4, warmup=40, average=0.98)},
    "cnn": {"steps": 400, "optimizer": OptimizerConfig(rate=5e-4, warmup=40, average=0.98)},
    "paper": {"steps": 20_000, "optimizer": OptimizerConfig(rate=1e-4, warmup=1000)},
}
"""What each size of the classifier is trained with; `small` and `cnn` for some hundreds of studies on a CPU."""


def train_classifier_recipe(
    preset: str, fusion: str | None = None, *, guide: str = "", init: str = ""
) -> ClassifierTrainConfig:
    """Training of the classifier at one of its sizes.

    Args:
        preset: `"tiny"` (seconds, for tests), `"small"`, `"paper"` or `"cnn"`, as for `ClassifierConfig.preset`.
        fusion: Where the views meet; None leaves the preset's.
        guide: Weights of the matcher that guides its attention; '' for no guidance.
        init: Weights to begin with.

    Raises:
        ValueError: An unknown preset, or guidance where views do not meet early.
    """
    form = ClassifierConfig.preset(preset)
    form = replace(form, fusion=fusion or form.fusion, guidance=bool(guide))
    return ClassifierTrainConfig(classifier=form, guide=guide, init=init, **CLASSIFIERS[preset])


@dataclass(frozen=True)
class Budget:
    """What each row of a table may spend; the same for all rows.

    Args:
        preset: Trunk, head and sizes.
        steps: Steps of the optimizer.
        poses: Different poses rendered, shared by all rows.
        pairs: Pairs of views each row is tested on, under either definition.
    """

    preset: str
    steps: int
    poses: int
    pairs: int


BUDGETS = {
    "quick": Budget("tiny", steps=40, poses=32, pairs=24),
    "cpu": Budget("small", steps=500, poses=1600, pairs=200),
    "long": Budget("small", steps=6000, poses=4000, pairs=400),
    "paper": Budget("paper", steps=648_750, poses=0, pairs=2000),
}
"""Two cores: minutes, two hours and as much rendering as `poses` takes, a day. `paper` is for GPUs."""


def transformer(base: TrainConfig) -> TrainConfig:
    """The paper's best row: tokens of all views in one sequence, and nothing that crossray adds."""
    return _formed(base)


def message_passing(base: TrainConfig) -> TrainConfig:
    """The transformer with layers within and between views in turns, at a rate they bear."""
    return _formed(base, most=7e-4, context="message_passing")


def loftr(base: TrainConfig) -> TrainConfig:
    """LoFTR's module: linear attention within and between views in turns, at a rate they bear."""
    return _formed(base, most=7e-4, context="loftr")


def superglue(base: TrainConfig) -> TrainConfig:
    """SuperGlue's graph module, at a rate its normalisation by batch bears."""
    return _formed(base, most=5e-4, context="superglue")


def no_attention(base: TrainConfig) -> TrainConfig:
    """Trunk and head alone: no patch knows of another view."""
    return _formed(base, layers=0)


def ours(base: TrainConfig) -> TrainConfig:
    """What crossray adds, whatever the preset; `small` has all of it."""
    matcher = replace(base.matcher, same_view=True, position=True, mirrors=True)
    changes = {"matcher": matcher, "loss": "match_squared_error", "company": "turns"}
    return base.model_copy(update=changes)


@dataclass(frozen=True)
class Row:
    """A row of Table 1.

    Args:
        title: Its name in the table.
        recipe: From the configuration that all rows share to the row's own.
        published: What the paper reports, on its own data: AP and, where given, MSE, precision and recall.
    """

    title: str
    recipe: Callable[[TrainConfig], TrainConfig]
    published: dict[str, float]


TABLE1 = {
    "none": Row("no attention", no_attention, {"ap": 0.547}),
    "superglue": Row("SuperGlue module", superglue, {"ap": 0.801}),
    "loftr": Row("LoFTR module", loftr, {"ap": 0.835}),
    "message_passing": Row("transformer, message passing", message_passing, {"ap": 0.841}),
    "transformer": Row(
        "transformer", transformer,
        {"ap": 0.850, "mse": 1.09e-3, "precision": 0.770, "recall": 0.815},
    ),
    "ours": Row("crossray", ours, {}),
}  # fmt: skip
"""Source: Dabboussi et al., MICCAI 2025, Table 1 (42 unseen CTs)."""


TABLE2 = {
    "loftr": ("LoFTR", 0.094),
    "loftr_many": ("LoFTR*", 0.159),
    "loftr_tuned": ("LoFTR*, fine-tuned", 0.161),
    "dinov2": ("DINOv2, frozen", 0.017),
    "dinov2_head": ("DINOv2, frozen, with a head", 0.422),
    "ours": ("crossray", None),
    "ours_tuned": ("crossray, fine-tuned", 0.838),
}
"""Title, and the AP that the paper reports on its own 347 real pairs. LoFTR*: features compared by their cosine.

Source: Dabboussi et al., MICCAI 2025, Table 2.
"""


PEER_HEAD_RATE = 1e-3
"""Peak rate of the head on DINOv2, which begins at random."""


@dataclass(frozen=True)
class ReadingBudget:
    """What each row of Table 3 may spend; the same for all rows.

    Args:
        preset: Size of the networks.
        steps: Steps of the optimizer in a fold.
        batch: Studies a step.
        folds: Of the cross-validation; a set that publishes its split is trained on once, for the steps of all folds.
    """

    preset: str
    steps: int
    batch: int
    folds: int


READING_BUDGETS = {
    "quick": ReadingBudget("tiny", steps=20, batch=8, folds=2),
    "cpu": ReadingBudget("small", steps=100, batch=16, folds=2),
    "long": ReadingBudget("small", steps=1000, batch=16, folds=5),
    "paper": ReadingBudget("paper", steps=20_000, batch=16, folds=5),
}


@dataclass(frozen=True)
class ReadingRow:
    """A row of Table 3.

    Args:
        title: Its name in the table.
        fusion: Where the views meet.
        pretrained: Whether it begins with the matcher's weights.
        guided: Whether the matcher guides its attention.
        plain: Whether it is a convolution network, at full resolution, instead.
        published: What the paper reports on MURA: accuracy and kappa.
    """

    title: str
    fusion: str
    pretrained: bool = False
    guided: bool = False
    plain: bool = False
    published: dict[str, float] = field(default_factory=dict)

    def recipe(self, budget: ReadingBudget, matcher: str) -> ClassifierTrainConfig:
        """The row's training, with this matcher's weights where it takes them."""
        plain = self.plain and budget.preset != "tiny"
        config = train_classifier_recipe(
            "cnn" if plain else budget.preset,
            self.fusion,
            guide=matcher if self.guided else "",
            init=matcher if self.pretrained else "",
        )
        changes: dict[str, Any] = {"steps": budget.steps, "batch": budget.batch}
        if self.plain and not plain:
            changes["classifier"] = replace(config.classifier, layers=0, position=False)
        return config.model_copy(update=changes)


TABLE3 = {
    "single": ReadingRow("single view", "single", published={"accuracy": 0.733, "kappa": 0.45}),
    "late": ReadingRow("late fusion", "late", published={"accuracy": 0.787, "kappa": 0.56}),
    "early": ReadingRow("early fusion", "early", published={"accuracy": 0.758, "kappa": 0.49}),
    "early_guided": ReadingRow("early, guided", "early", guided=True),
    "pretrained": ReadingRow(
        "early, pre-trained", "early", pretrained=True, published={"accuracy": 0.801, "kappa": 0.58}
    ),
    "guided": ReadingRow(
        "early, pre-trained, guided", "early", pretrained=True, guided=True,
        published={"accuracy": 0.806, "kappa": 0.59},
    ),
    "cnn": ReadingRow("plain CNN, mean over views", "single", plain=True),
}  # fmt: skip
"""Source: Dabboussi et al., MICCAI 2025, Table 3 (MURA). Rows without published figures are not the paper's."""

CLAIMS = (
    ("pretrained", "early"), ("pretrained", "late"), ("guided", "pretrained"), ("early_guided", "early"),
    ("late", "single"), ("guided", "cnn"),
)  # fmt: skip
"""Rows whose difference, the first less the second, Table 3 is about."""


def _formed(base: TrainConfig, *, most: float = inf, **form: object) -> TrainConfig:
    """The shared configuration without what crossray adds, at `most` at this rate, with another form of the network."""
    matcher = replace(
        base.matcher, **{"same_view": False, "position": False, "mirrors": False, **form}
    )
    rate = min(base.optimizer.rate, most)
    changes = {
        "matcher": matcher,
        "optimizer": base.optimizer.model_copy(update={"rate": rate}),
        "loss": "squared_error",
        "company": "one",
    }
    return base.model_copy(update=changes)
