"""Presets: one function per published or recommended run, each returning a typed configuration."""

from crossray.models.matcher import MatcherConfig
from crossray.training.config import OptimizerConfig, TrainConfig

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
            early=0.5,
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
