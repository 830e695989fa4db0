"""Fit other people's networks to labelled films as the matcher is fitted: steps, schedule, loss and judge alike."""

from collections.abc import Callable
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from crossray.evaluation.metrics import upper_blocks
from crossray.models.peers import Peer
from crossray.training.config import TrainConfig
from crossray.training.fit import stale
from crossray.training.losses import LOSSES
from crossray.training.sampler import StepSampler
from crossray.training.tasks import learning_rate_factor

AnyPeer = TypeVar("AnyPeer", bound=Peer)


def fit_peer(
    network: AnyPeer,
    dataset: Dataset[dict[str, Tensor]],
    config: TrainConfig,
    judge: Callable[[AnyPeer], float],
) -> AnyPeer:
    """Train what of a network is not frozen, in one go: minutes, so nothing is kept to resume.

    Args:
        network: Trained in place.
        dataset: As for `crossray.training.fit.fit_matcher`.
        config: Steps, batch, loss, peak rate, warm-up, patience; the form of its matcher is not looked at.
        judge: Asked at the start and every `config.run.checkpoint_every` steps.

    Returns:
        The network as the judge liked it best, in evaluation mode.
    """
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=config.optimizer.rate, weight_decay=config.optimizer.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: learning_rate_factor(step, config.optimizer.warmup, config.steps),
    )
    scores, best = [judge(network.eval())], deepcopy(network.state_dict())
    batches = DataLoader(dataset, batch_sampler=StepSampler(config.steps, config.batch))
    shown = tqdm(batches, desc="train", unit="step", disable=not config.run.progress)
    for step, batch in enumerate(shown, 1):
        network.train()
        truth, known = upper_blocks(batch["correspondence"]), upper_blocks(batch["known"])
        loss = LOSSES[config.loss](network.pairs(batch["images"]), truth, known)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, config.optimizer.clip or float("inf"))
        optimizer.step()
        schedule.step()
        if step % config.run.checkpoint_every == 0 or step == config.steps:
            scores.append(judge(network.eval()))
            if scores[-1] > max(scores[:-1]):
                best = deepcopy(network.state_dict())
            if stale(scores, config.patience):
                break
    network.load_state_dict(best)
    return network.eval()
