"""Which samples a step sees: a pure function of the step, so a resumed run sees what it would have seen."""

from collections.abc import Iterator

from torch.utils.data import Sampler


class StepSampler(Sampler[list[int]]):
    """Batches of sample numbers in order, from a given step on.

    Step s sees the samples s x batch to (s + 1) x batch - 1, whatever was run before.

    Args:
        steps: Steps of the whole run.
        batch: Samples per step.
        start: First step to run.
        rank: Which of the ranks that share the steps.
        ranks: How many; each takes every so many-th sample of a step.
    """

    def __init__(
        self, steps: int, batch: int, start: int = 0, rank: int = 0, ranks: int = 1
    ) -> None:
        self.steps = steps
        self.batch = batch
        self.start = start
        self.rank = rank
        self.ranks = ranks

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.steps):
            first = step * self.batch
            yield list(range(first + self.rank, first + self.batch, self.ranks))
