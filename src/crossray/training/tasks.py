"""What is optimised: a network under its loss, its schedule, and the running average of its weights."""

import copy
import math
from typing import Any, Generic

import torch
from jaxtyping import Float
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from crossray.evaluation.metrics import upper_blocks
from crossray.models.classifier import ClassifierNetwork
from crossray.models.guidance import guidance_of
from crossray.models.matcher import MatcherNetwork
from crossray.models.storage import Network
from crossray.training.config import ClassifierTrainConfig, TrainConfig, Training
from crossray.training.losses import LOSSES


class Task(LightningModule, Generic[Network]):
    """Training of a network. A step draws no random number, so data and weights alone decide the next weights.

    Args:
        config: The run.
        network: The network to train.
    """

    def __init__(self, config: Training, network: Network) -> None:
        super().__init__()
        self.config = config
        self.network = network
        averaged = config.optimizer.average > 0
        self.average = copy.deepcopy(network).requires_grad_(False) if averaged else None

    @property
    def result(self) -> Network:
        """The network worth keeping: the running average, or the network itself where none is kept."""
        return self.network if self.average is None else self.average

    @staticmethod
    def counted(batch: dict[str, Tensor]) -> int:
        """How much a batch holds of what the run's speed is told in."""
        return len(batch["images"])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, decaying matrices and filters only, under the schedule of `learning_rate_factor`."""
        options, steps = self.config.optimizer, self.config.steps
        optimizer = torch.optim.AdamW(self._groups(), lr=options.rate, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, options.warmup, steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[dict[str, Any]]:
        """The weights by how they are optimised."""
        weights = list(self.network.parameters())
        decayed = {"weight_decay": self.config.optimizer.weight_decay}
        return [
            {"params": [w for w in weights if w.ndim >= 2], **decayed},
            {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
        ]

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """A step of the optimizer, then one of the running average."""
        super().optimizer_step(*arguments, **options)
        if self.average is not None:
            update_average(
                self.average, self.network, self.config.optimizer.average, self.global_step
            )


class MatcherTask(Task[MatcherNetwork]):
    """The matcher, under a loss of its correspondence; its speed is told in pairs of views."""

    def __init__(self, config: TrainConfig, network: MatcherNetwork) -> None:
        super().__init__(config, network)
        self.loss, self.company = LOSSES[config.loss], config.company

    @staticmethod
    def counted(batch: dict[str, Tensor]) -> int:
        """Pairs of views in a batch."""
        samples, views = batch["images"].shape[:2]
        return samples * (views * (views - 1) // 2)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Float[Tensor, ""]:
        """Loss of one batch: `images`, `correspondence` and, for partial labels, `known`."""
        truth = upper_blocks(batch["correspondence"])
        known = upper_blocks(batch["known"]) if "known" in batch else None
        apart = self.company == "one" or (self.company == "turns" and self.global_step % 2 == 1)
        match = self.network.pairs_apart if apart else self.network.pairs
        return self.loss(match(batch["images"]), truth, known)


class ClassifierTask(Task[ClassifierNetwork]):
    """The classifier, under binary cross-entropy; its speed is told in studies.

    Args:
        config: The run.
        network: The classifier to train.
        matcher: Guides it; stays as it is and is not kept with the run.
    """

    def __init__(
        self,
        config: ClassifierTrainConfig,
        network: ClassifierNetwork,
        matcher: MatcherNetwork | None = None,
    ) -> None:
        super().__init__(config, network)
        self.guidance_rate = config.guidance_rate
        self._matcher = (matcher,)  # in a tuple, so that it is no part of the checkpoints

    def _groups(self) -> list[dict[str, Any]]:
        """As for any network, but for guidance's alpha, which has a rate of its own."""
        decayed, plain = super()._groups()
        alpha = self.network.alpha
        if alpha is None:
            return [decayed, plain]
        plain["params"] = [w for w in plain["params"] if w is not alpha]
        own = {"params": [alpha], "weight_decay": 0.0, "lr": self.guidance_rate}
        return [decayed, plain, own]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Float[Tensor, ""]:
        """Loss of one batch: `images`, `present`, `label` and, where views are judged apart, `film_labels`."""
        images, present = batch["images"], batch["present"]
        if self.network.config.fusion == "single":
            said = self.network.view_logits(self.network.tokens(images))[present]
            return binary_cross_entropy_with_logits(said, batch["film_labels"][present])
        guidance = guidance_of(self._matcher[0], images, present)
        said = self.network(images, present, guidance)
        return binary_cross_entropy_with_logits(said, batch["label"])


def learning_rate_factor(step: int, warmup: int, steps: int) -> float:
    """Share of the peak learning rate at a step: linear up over `warmup`, then half a cosine down to 0 at `steps`.

    >>> [round(learning_rate_factor(step, 2, 10), 3) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move a running average of weights and statistics towards a network, in place.

    The decay grows as (1 + step) / (10 + step) up to `decay`, so a short run forgets its random start.

    Args:
        average: The running average.
        network: The network followed; same form.
        decay: Largest share of the old average that is kept.
        step: Steps done so far.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, share)
        else:
            kept.copy_(new)
