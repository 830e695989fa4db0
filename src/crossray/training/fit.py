"""Run a training: from a configuration and a data set to a folder with weights, resumable at any moment.

The same command begins, continues and finds finished. A killed run goes on from its last checkpoint and ends with
the very weights it would have had: samples depend on the step alone, and a step draws no random number.
"""

import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from crossray.errors import InputError
from crossray.files import written_whole
from crossray.models.classifier import ClassifierNetwork, carry_over
from crossray.models.matcher import MatcherNetwork
from crossray.models.storage import load_network, save_network
from crossray.training.config import ClassifierTrainConfig, TrainConfig, Training
from crossray.training.folder import RunFolder
from crossray.training.sampler import StepSampler
from crossray.training.tasks import ClassifierTask, MatcherTask, Task
from crossray.training.workers import START, ignore_interrupt


@dataclass(frozen=True)
class FitReport:
    """How a training ended.

    Args:
        outcome: `"finished"`, `"already finished"` or `"interrupted"`.
        steps: Steps done in all.
        weights: The network's safetensors file.
    """

    outcome: Literal["finished", "already finished", "interrupted"]
    steps: int
    weights: Path

    def __str__(self) -> str:
        if self.outcome == "interrupted":
            return f"Stopped after step {self.steps}; the same command continues from there. Weights: {self.weights}"
        return f"The run is {self.outcome} after {self.steps} steps. Weights: {self.weights}"


Judge = Callable[[MatcherNetwork], float]
"""What a network is worth; the more the better."""


def fit_matcher(
    config: TrainConfig,
    dataset: Dataset[dict[str, Tensor]],
    out: Path,
    judge: Judge | None = None,
) -> FitReport:
    """Train a matcher, or go on training it.

    Args:
        config: The run.
        dataset: Map-style; `dataset[i]` for i below steps x batch is one sample as tensors: `images` (view, row,
            column) in [0, 1], `correspondence` (view, view, patch, patch) and optionally `known`, its mask.
            It must depend on i alone, and be picklable where `config.run.workers` asks for workers.
        out: Folder of the run: config.yaml, last.ckpt, matcher.safetensors, metrics.csv.
        judge: Asked at the start and at every checkpoint (validation.csv); the weights kept are those it liked best,
            and the run ends early after `config.patience` checkpoints without better ones. For one device.

    Returns:
        How it ended. Ctrl-C ends it after the step at hand, with a checkpoint.

    Raises:
        InputError: `out` holds another run, `config.init` is no matcher of this form, devices do not share a batch
            evenly, or several are to share a run that is judged.
    """
    if judge is not None and config.devices > 1:
        raise InputError(f"devices={config.devices}: a run that is judged takes one.")
    return _fit(
        config,
        RunFolder(Path(out)),
        dataset,
        lambda: MatcherTask(config, _first_network(config)),
        judge,
    )


def fit_classifier(
    config: ClassifierTrainConfig,
    dataset: Dataset[dict[str, Tensor]],
    out: Path,
    weights: dict[str, Tensor] | None = None,
    matcher: MatcherNetwork | None = None,
    about: Mapping[str, str] = {},
) -> FitReport:
    """Train a classifier, or go on training it.

    Args:
        config: The run.
        dataset: As for `fit_matcher`; a sample is `images` (view, row, column), `present` (view), `label` and
            `film_labels` (view).
        out: Folder of the run: config.yaml, last.ckpt, classifier.safetensors, metrics.csv.
        weights: Begun with where name and shape are the classifier's; those of `config.init`.
        matcher: Guides the classifier, where its form asks for guidance; `config.guide`.
        about: Words kept with the weights from the first checkpoint on, such as whom they learn from.

    Returns:
        How it ended. Ctrl-C ends it after the step at hand, with a checkpoint.

    Raises:
        InputError: `out` holds another run, or devices do not share a batch evenly.
    """

    def task() -> ClassifierTask:
        network = ClassifierNetwork(config.classifier)
        carry_over(network, weights or {})
        return ClassifierTask(config, network, matcher)

    folder = RunFolder(Path(out), "classifier", "studies")
    return _fit(config, folder, dataset, task, about=about)


def _fit(
    config: Training,
    folder: RunFolder,
    dataset: Dataset[dict[str, Tensor]],
    make: Callable[[], Task[Any]],
    judge: Judge | None = None,
    about: Mapping[str, str] = {},
) -> FitReport:
    """Carry out a run; its task is made once the random numbers are seeded."""
    if config.batch % config.devices:
        raise InputError(
            f"{config.devices} devices cannot share batch={config.batch} evenly; choose a multiple."
        )
    done = folder.open(config)
    if done >= config.steps or stale(folder.judged(), config.patience):
        return FitReport("already finished", done, folder.weights)
    with _quiet():
        seed_everything(config.seed, verbose=False)
        task = make()
        recorder = Recorder(config, folder, done, judge, about)
        if judge is not None and not folder.judged():
            recorder.keep(task, 0)
        trainer = _trainer(config, folder, recorder)
        with _stop_on_interrupt(recorder):
            resume = str(folder.checkpoint) if done else None
            loader = _loader(config, dataset, done, trainer.global_rank)
            trainer.fit(task, loader, ckpt_path=resume, weights_only=True)
    steps = trainer.global_step
    ended = steps >= config.steps or stale(folder.judged(), config.patience)
    return FitReport("finished" if ended else "interrupted", steps, folder.weights)


def stale(scores: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` scores brought nothing better than those before."""
    return 0 < patience < len(scores) and max(scores[-patience:]) <= max(scores[:-patience])


class Recorder(Callback):
    """Writes curve, weights and checkpoint, and shows the progress.

    Args:
        config: The run.
        folder: Where it writes.
        done: Steps done before.
        judge: As for `fit_matcher`.
        about: As for `fit_classifier`.
    """

    def __init__(
        self,
        config: Training,
        folder: RunFolder,
        done: int,
        judge: Judge | None = None,
        about: Mapping[str, str] = {},
    ) -> None:
        self.judge = judge
        self.about = {**about, "recipe": config.to_yaml()}
        self.config = config
        self.folder = folder
        self.bar = tqdm(
            total=config.steps,
            initial=done,
            desc="train",
            unit="step",
            disable=not (config.run.progress and getattr(rank_zero_only, "rank", 0) == 0),
        )
        self.stop = False  # set from outside: end after the step at hand
        self.loss, self.steps, self.count = torch.zeros(()), 0, 0  # sums since the last row
        self.waited = 0.0
        self.since = self.ended = time.perf_counter()

    def state_dict(self) -> dict[str, float]:
        """What a row that is not yet due will need."""
        seconds = time.perf_counter() - self.since
        sums = {"loss": self.loss.item(), "steps": self.steps, "count": self.count}
        return {**sums, "waited": self.waited, "seconds": seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a row where the checkpoint left it."""
        self.loss, self.steps = torch.tensor(state_dict["loss"]), state_dict["steps"]
        self.count, self.waited = state_dict["count"], state_dict["waited"]
        self.since = time.perf_counter() - state_dict["seconds"]

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: dict[str, Tensor], batch_idx: int
    ) -> None:
        """Note how long the batch was waited for."""
        self.waited += time.perf_counter() - self.ended

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Note the loss; write a row and a checkpoint when they are due."""
        step, last = trainer.global_step, trainer.global_step >= self.config.steps
        self.loss = self.loss + outputs["loss"].detach()
        self.steps += 1
        self.count += _task(pl_module).counted(batch) * self.config.devices
        stop = self.stop
        if self.config.devices > 1:  # all ranks end after the same step
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if last or step % self.config.run.log_every == 0:
            self._write_row(trainer, step)
        due = last or step % self.config.run.checkpoint_every == 0
        if due or stop:
            self._save(trainer, pl_module, due)
            stop = stop or stale(self.folder.judged(), self.config.patience)
        trainer.should_stop = stop
        self.bar.update()
        self.ended = time.perf_counter()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the terminal tidy."""
        self.bar.close()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the terminal tidy."""
        self.bar.close()

    def _write_row(self, trainer: Trainer, step: int) -> None:
        loss = float(trainer.strategy.reduce(self.loss / self.steps, reduce_op="mean"))
        seconds = time.perf_counter() - self.since
        speed = self.count / seconds
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        row = {
            "step": step,
            "loss": loss,
            "learning_rate": rate,
            self.folder.columns[3]: round(speed, 2),
            "seconds": round(seconds, 3),
            "waiting": round(self.waited / seconds, 3),
        }
        if trainer.is_global_zero:
            self.folder.add_metrics(row)
        told = {"loss": f"{loss:.4g}", f"{self.folder.unit}_per_s": f"{speed:.1f}"}
        self.bar.set_postfix(told, refresh=False)
        self.loss, self.steps, self.count = torch.zeros(()), 0, 0
        self.waited, self.since = 0.0, time.perf_counter()

    def keep(self, task: Task[Any], step: int) -> None:
        """Write the weights, unless a judge liked earlier ones as well; then note what it said of these."""
        network, before, score = task.result, self.folder.judged(), 0.0
        if self.judge is not None:
            mode = network.training
            score = self.judge(network.eval())
            network.train(mode)
        if not before or score > max(before):
            save_network(self.folder.weights, network, {**self.about, "step": str(step)})
        if self.judge is not None:
            self.folder.add_judgement(step, score)

    def _save(self, trainer: Trainer, task: LightningModule, due: bool) -> None:
        self.loss = trainer.strategy.reduce(
            self.loss, reduce_op="mean"
        )  # every rank's, for one file
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.folder.checkpoint)  # takes part; the first rank writes
            return
        if due or self.judge is None:  # when one stops early must not change what is judged
            self.keep(_task(task), trainer.global_step)
        with written_whole(self.folder.checkpoint) as partial:
            trainer.save_checkpoint(partial)


def _task(module: LightningModule) -> Task[Any]:
    if not isinstance(module, Task):
        raise TypeError(f"The recorder writes a Task, not a {type(module).__name__}.")
    return module


def _first_network(config: TrainConfig) -> MatcherNetwork:
    if not config.init:
        return MatcherNetwork(config.matcher)
    try:
        network, _ = load_network(config.init)
    except ValueError as error:
        raise InputError(str(error)) from error
    if network.config != config.matcher:
        raise InputError(
            f"{config.init} holds a matcher of another form than the run; choose the preset it was made with."
        )
    return network.train()


def _trainer(config: Training, folder: RunFolder, recorder: Recorder) -> Trainer:
    return Trainer(
        accelerator="auto",
        devices=config.devices,
        strategy="auto" if config.devices == 1 else "ddp",
        precision="bf16-mixed" if _bfloat16(config.precision) else "32-true",
        max_steps=config.steps,
        max_epochs=-1,
        gradient_clip_val=config.optimizer.clip or None,
        callbacks=[recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder.path,
    )


def _loader(
    config: Training, dataset: Dataset[dict[str, Tensor]], done: int, rank: int
) -> DataLoader[dict[str, Tensor]]:
    return DataLoader(
        dataset,
        batch_sampler=StepSampler(config.steps, config.batch, done, rank, config.devices),
        num_workers=config.run.workers,
        multiprocessing_context=START if config.run.workers else None,
        worker_init_fn=ignore_interrupt,
        generator=torch.Generator().manual_seed(config.seed),
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if config.run.workers else None,
    )


def _bfloat16(precision: str) -> bool:
    if precision == "auto":
        if torch.cuda.is_available():
            return torch.cuda.is_bf16_supported()
        return bool(getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16", False))
    return precision == "bfloat16"


@contextmanager
def _stop_on_interrupt(recorder: Recorder) -> Iterator[None]:
    """Within, Ctrl-C asks the run to stop after the step at hand; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        recorder.stop = True

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Within, Lightning keeps its advertising, and its advice on loaders and devices, to itself."""
    import logging

    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning.*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
