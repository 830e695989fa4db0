"""The classifier as one uses it: films of a limb in, the probability of a fracture and its evidence out."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.data.studies.films import whole_images
from crossray.data.windows import whole_window
from crossray.errors import InputError
from crossray.evaluation.evidence import Link, draw_evidence, strongest_links, token_box
from crossray.evaluation.figures import FilmView
from crossray.evaluation.readings import ReadingCalibration
from crossray.files import written_whole
from crossray.matching.matcher import (
    MOST_VIEWS,
    Film,
    Matcher,
    as_radiograph,
    distinct,
    weights_path,
)
from crossray.matching.preprocess import MIN_SIDE
from crossray.models.classifier import ClassifierNetwork
from crossray.models.guidance import guidance_of
from crossray.models.storage import load_network


@dataclass(frozen=True)
class Reading:
    """What a classifier says of the films of one limb, and what it rests on.

    Args:
        probability: Of a fracture; calibrated where `calibrated`.
        calibrated: Whether the classifier's values were measured on people it never saw.
        names: Of the films.
        films: Display values (row, column), bone bright.
        looks: By view and token (row, column): by how much what is there raises the logit (gradient times token);
            negative where it lowers it.
        links: Patches of two views whose listening to each other raises the logit the most.
        weights: Name of the weights.
        seconds: Wall clock of the network's answer, without evidence.
    """

    probability: float
    calibrated: bool
    names: tuple[str, ...]
    films: tuple[Float[Tensor, "_ _"], ...]
    looks: Float[Tensor, "view row column"]
    links: tuple[Link, ...]
    weights: str
    seconds: float

    def summary(self) -> dict[str, object]:
        """The answer in words and numbers; boxes are edges (row0, column0, row1, column1) in pixels of the films."""
        return {
            "probability": self.probability,
            "calibrated": self.calibrated,
            "films": list(self.names),
            "weights": self.weights,
            "seconds": round(self.seconds, 4),
            "links": [
                {
                    "views": [self.names[link.view], self.names[link.other]],
                    "boxes": [
                        self._box(link.view, link.token),
                        self._box(link.other, link.other_token),
                    ],
                    "strength": link.strength,
                }
                for link in self.links
            ],
        }

    def save(self, folder: Path) -> list[Path]:
        """Write reading.json and evidence.png into a folder; each appears whole or not at all."""
        paths = [folder / "reading.json", folder / "evidence.png"]
        with written_whole(paths[0]) as partial:
            partial.write_text(json.dumps(self.summary(), indent=1) + "\n")
        said = f"fracture: {self.probability:.0%}" + ("" if self.calibrated else ", not calibrated")
        draw_evidence(self.views, self.looks, self.links, paths[1], said)
        return paths

    @property
    def views(self) -> list[FilmView]:
        """The films with the field that the network saw of each, the least square about the whole."""
        found = []
        for film, name in zip(self.films, self.names, strict=True):
            window = whole_window(film)
            row, column, half = window.row + 0.5, window.column + 0.5, window.side / 2
            field = (row - half, column - half, row + half, column + half)
            found.append(FilmView(film, name, field))
        return found

    def _box(self, view: int, token: int) -> list[float]:
        grid = (self.looks.shape[1], self.looks.shape[2])
        return [round(edge, 1) for edge in token_box(self.views[view], token, grid)]


class Classifier:
    """A network together with what its films must go through.

    Args:
        network: The network, in evaluation mode.
        name: What to call its weights.
        metadata: Words kept with the weights.
    """

    def __init__(
        self,
        network: ClassifierNetwork,
        name: str = "classifier",
        metadata: dict[str, str] | None = None,
    ) -> None:
        self.network = network.eval()
        self.name = name
        self.metadata = metadata or {}

    @classmethod
    def load(cls, weights: str | Path = "graz") -> "Classifier":
        """Load weights by name, file or folder of a run.

        Raises:
            InputError: No such weights, or a file that holds no classifier. A pickle is never loaded.
        """
        path = weights_path(weights, "classifier")
        try:
            network, metadata = load_network(path, ClassifierNetwork)
        except ValueError as error:
            raise InputError(str(error)) from error
        return cls(network, name=path.stem, metadata=metadata)

    @cached_property
    def calibration(self) -> ReadingCalibration | None:
        """What the logits of these weights are worth; None where it was never measured."""
        kept = self.metadata.get("calibration")
        return None if kept is None else ReadingCalibration.from_json(kept)

    @cached_property
    def matcher(self) -> Matcher | None:
        """The matcher that guides its attention; None where none does.

        Raises:
            InputError: Its weights are not where they were.
        """
        return Matcher.load(self.metadata["guide"]) if self.network.config.guidance else None

    def read(self, films: Sequence[Film]) -> Reading:
        """Read one to six films of one limb.

        Args:
            films: Files, radiographs, or arrays (row, column) of grey values with bone bright; one a view.

        Returns:
            The probability of a fracture, and the evidence for it.

        Raises:
            InputError: No film or more than six, or a film that cannot be read or used.
        """
        if not 1 <= len(films) <= MOST_VIEWS:
            raise InputError(
                f"Reading needs 1 to {MOST_VIEWS} views of one limb and got {len(films)}; give one file a view."
            )
        read = [as_radiograph(film, number) for number, film in enumerate(films)]
        for film in read:
            if min(film.pixels.shape) < MIN_SIDE:
                raise InputError(
                    f"{film.name} has a side of less than {MIN_SIDE} pixels; give the whole film."
                )
        start = time.perf_counter()
        images = whole_images([film.pixels for film in read], self.network.config.image_size[0])[
            None
        ]
        guidance = self._guidance(images)
        with torch.no_grad():
            tokens = self.network.tokens(images)
            logit = self.network.study_logits(tokens, None, guidance).double().numpy()
        seconds = time.perf_counter() - start
        looks, links = self._evidence(tokens, guidance)
        return Reading(
            probability=float((self.calibration or ReadingCalibration()).probability(logit)[0]),
            calibrated=self.calibration is not None,
            names=distinct([film.name for film in read]),
            films=tuple(film.pixels for film in read),
            looks=looks,
            links=links,
            weights=self.name,
            seconds=seconds,
        )

    def _guidance(self, images: Float[Tensor, "1 view row column"]) -> Tensor | None:
        present = torch.ones(images.shape[:2], dtype=torch.bool)
        return guidance_of(self.matcher.network if self.matcher else None, images, present)

    def _evidence(
        self, tokens: Float[Tensor, "1 view row column width"], guidance: Tensor | None
    ) -> tuple[Float[Tensor, "view row column"], tuple[Link, ...]]:
        """The logit's slope along every token, and along a bias on the attention between every two.

        The bias is one for all layers, at 0: its slope says what the logit gains where one patch heeds another more.
        """
        views, patches = tokens.shape[1], tokens.shape[2] * tokens.shape[3]
        leaf = tokens.detach().requires_grad_()
        listening = torch.zeros(1, views, patches, views, patches, requires_grad=True)
        logit = self.network.study_logits(leaf, None, guidance, listening).sum()
        along, between = torch.autograd.grad(logit, [leaf, listening], allow_unused=True)
        looks = (along * leaf).sum(-1)[0].detach()
        return looks, () if between is None else strongest_links(between[0])
