"""Presets: one function per published or recommended run, each returning a typed configuration."""

from crossray.models.matcher import MatcherConfig
from crossray.training.config import OptimizerConfig, TrainConfig


def train_matcher_recipe(preset: str) -> TrainConfig:
    """Training of the matcher at one of its sizes.

    Args:
        preset: `"tiny"` (a minute, for tests), `"small"` (an hour or two on a CPU) or `"paper"` (207,600 pairs for 50
            epochs; Adam at 1e-4, batch 16, MSE, cosine schedule as published).

    Returns:
        The whole configuration; change it with `TrainConfig.changed`.

    Raises:
        ValueError: An unknown preset.
    """
    matcher = MatcherConfig.preset(preset)
    if preset == "paper":
        published = OptimizerConfig(rate=1e-4, warmup=1000, weight_decay=0.0, average=0.0)
        return TrainConfig(matcher=matcher, steps=648_750, optimizer=published)
    if preset == "small":
        return TrainConfig(matcher=matcher, steps=10_000, optimizer=OptimizerConfig(rate=2e-3))
    return TrainConfig(
        matcher=matcher,
        steps=200,
        batch=8,
        optimizer=OptimizerConfig(rate=3e-3, warmup=20, average=0.98),
    )
