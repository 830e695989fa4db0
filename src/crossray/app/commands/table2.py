"""`crossray reproduce table2`: other people's networks and ours on labelled films, as they are and fine-tuned."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from functools import partial
from hashlib import blake2b
from importlib.metadata import version
from json import dumps, loads
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from pydantic import TypeAdapter

from crossray.app.commands.evaluate import benches, position_prior, sample_config
from crossray.app.commands.films import square_matcher
from crossray.app.commands.finetune import labelled_ap
from crossray.data.annotations import read_labels
from crossray.data.labelled import LabelledParts, LabelledStudy
from crossray.errors import InputError
from crossray.evaluation.films import FilmBench, FilmScores, draw_films, films_markdown
from crossray.evaluation.run import null_for_nan
from crossray.evaluation.slope import Predict
from crossray.files import sha256, written_whole
from crossray.matching import Matcher
from crossray.matching.matcher import weights_path
from crossray.models.peers import DINOv2Peer, LoFTRPeer, Peer
from crossray.recipes import PEER_HEAD_RATE, TABLE2, finetune_recipe
from crossray.training.config import TrainConfig
from crossray.training.fit import fit_matcher
from crossray.training.peers import fit_peer

AnyPeer = TypeVar("AnyPeer", bound=Peer)


def reproduce_table2(
    films: tuple[Path, Path | None], draws: int, ct: Path | None, init: str,
    peers: tuple[str, str], folders: tuple[Path, Path], words: list[str],
) -> None:  # fmt: skip
    """Fine-tune what learns, score every row on persons it never saw, write the table and print it."""
    (labels, landmarks), (runs, out) = films, folders
    ours = square_matcher(init)
    form = ours.network.config
    size = form.image_size[0]
    known = read_labels(labels)
    others = [] if landmarks is None else _studies(landmarks, size)
    data = {"labels": str(labels), "sha256": sha256(labels)}
    config = finetune_recipe(form, str(weights_path(init)), data).changed(words)
    parts = LabelledParts.read(known, labels.parent, size, form.patch, config.seed)
    print(parts, flush=True)
    seen = {each.study.person for part in ("train", "val") for each in parts.studies[part]}
    if both := seen & {each.study.person for each in others}:
        raise InputError(
            f"{landmarks} has films of {min(both)}, of whom {labels} teaches; leave these films out."
        )
    _, training = benches(ct, sample_config(ours.network))
    bench = FilmBench(
        test=parts.test,
        studies=parts.studies["test"],
        prior=position_prior(training, config.seed),
        size=size,
        truths=_truths(labels),
        landmarks=others,
        draws=draws,
    )
    files = (labels, labels.with_name("truth.npz"), landmarks, weights_path(init))
    given = {
        "files": [file and file.is_file() and sha256(file) for file in files],
        "config": config.model_dump(mode="json"), "draws": draws, "ct": str(ct), "crossray": version("crossray"),
    }  # fmt: skip
    rows: list[FilmScores] = []
    for name, network in _networks(ours, config, parts, runs, peers).items():
        title, published = TABLE2[name]
        print(f"{title} ...", flush=True)
        given["peer"] = {"loftr": peers[0], "dinov2": peers[1]}.get(name.split("_")[0])
        key = blake2b(dumps(given).encode(), digest_size=8).hexdigest()
        try:
            row = _row(
                runs / "rows" / f"{name}-{key}.json",
                network,
                partial(bench.scores, title=title, published=published),
            )
        except PeerMissing as error:
            row = FilmScores(title, published, missing=str(error))
        if row is None:
            print("Stopped; rows that were scored are kept, and the same command goes on.")
            return
        rows.append(row)
    settings = {
        "date": date.today().isoformat(), "labels": labels.name, "split": str(parts), "seed": config.seed,
        "landmarks": landmarks and landmarks.name, "weights": ours.name, "peers": peers,
        "crossray": version("crossray"), "torch": torch.__version__,
    }  # fmt: skip
    _save(rows, settings, out)


def _row(
    file: Path, network: Callable[[], Predict | None], scores: Callable[[Predict], FilmScores]
) -> FilmScores | None:
    """A row's scores, from its file where they were kept there; None where its training was stopped."""
    with suppress(OSError, ValueError):
        return TypeAdapter(FilmScores).validate_python(loads(file.read_text()))
    if (predict := network()) is None:
        return None
    row = scores(predict)
    with written_whole(file) as whole:
        whole.write_text(dumps(asdict(row)))
    return row


class PeerMissing(Exception):
    """Weights of somebody else that cannot be had here; says why in a sentence."""


def _networks(
    ours: Matcher, config: TrainConfig, parts: LabelledParts, runs: Path, peers: tuple[str, str]
) -> dict[str, Callable[[], Predict | None]]:
    """How to come by each row's network; None is what a training that was stopped gives."""
    loftr, dinov2 = peers
    judge = partial(labelled_ap, pairs=parts.validation)

    def tuned() -> Predict | None:
        report = fit_matcher(config, parts.training, runs / "ours", judge)
        return None if report.outcome == "interrupted" else Matcher.load(report.weights).network

    def with_head() -> Predict:
        rate = config.optimizer.model_copy(update={"rate": PEER_HEAD_RATE})
        faster = config.model_copy(update={"optimizer": rate})
        return fit_peer(_peer(DINOv2Peer, dinov2, head=True), parts.training, faster, judge)

    return {
        "loftr": lambda: _peer(LoFTRPeer, loftr),
        "loftr_many": lambda: _peer(LoFTRPeer, loftr, many=True),
        "loftr_tuned": lambda: fit_peer(
            _peer(LoFTRPeer, loftr, many=True), parts.training, config, judge
        ),
        "dinov2": lambda: _peer(DINOv2Peer, dinov2),
        "dinov2_head": with_head,
        "ours": lambda: ours.network,
        "ours_tuned": tuned,
    }


def _peer(kind: type[AnyPeer], weights: str, **options: bool) -> AnyPeer:
    """Somebody else's network; the weights `random` are for tests."""
    try:
        return kind(None if weights == "random" else weights, **options).eval()
    except ImportError as error:
        raise PeerMissing(
            f"{error.name} is not installed: pip install 'crossray[baselines]'."
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0].split(". ")[0].rstrip(".")
        raise PeerMissing(f"the weights {weights} cannot be had here ({reason}).") from error


def _studies(labels: Path, size: int) -> list[LabelledStudy]:
    return [LabelledStudy.read(study, labels.parent, size) for study in read_labels(labels).studies]


def _truths(labels: Path) -> dict[str, torch.Tensor]:
    """The whole matrices that simulated labels come with, by study; none for real ones."""
    path = labels.with_name("truth.npz")
    if not path.is_file():
        return {}
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]).float() for name in file.files}


def _save(rows: list[FilmScores], settings: dict[str, object], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    text = films_markdown(rows) + "\n" + "; ".join(f"{k}: {v}" for k, v in settings.items()) + "\n"
    content = null_for_nan({"rows": [asdict(row) for row in rows], "settings": settings})
    with written_whole(out / "table2.json") as file:
        file.write_text(dumps(content, indent=1, allow_nan=False) + "\n")
    with written_whole(out / "table2.md") as file:
        file.write_text(text)
    with written_whole(out / "table2.png") as file:
        draw_films(rows, file)
    print(text)
    print(f"Written: {out / 'table2.json'}, .md, .png")
