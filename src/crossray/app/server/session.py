"""The studies of one run of the server: read when they are opened, matched once per set of weights, gone at its end."""

import os
import re
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from crossray.app.server.answers import Answer, blank, truth_answer
from crossray.app.server.decoding import BARE_DICOM, Decoder
from crossray.app.server.folders import Given, by_view, common_name
from crossray.app.server.limits import Limits
from crossray.data.radiographs import Radiograph
from crossray.errors import InputError
from crossray.files import sha256
from crossray.matching import Matcher
from crossray.matching.classifier import Classifier, Reading

TRUTH = "truth"
TRUTH_GRID = 16
"""Patches along a side of a true matrix, at least; finer ones are reduced to the maxima of blocks."""
PREFIX = "crossray-view-"
MATCHING_NICE = 10


class Missing(InputError):
    """What was asked for is not here."""


@dataclass(frozen=True)
class OpenFilm:
    """A film that was decoded.

    Args:
        view: Its name within the study.
        name: Of its file.
        size: Rows and columns.
        pixels: File of its grey values, 16 bits little-endian.
        pixel_mm: Of rows and columns, where known.
        pixel_mm_kind: Where they hold.
        projection: The view as the file names it.
        laterality: L, R or as the file says.
        sha256: Of its file.
    """

    view: str
    name: str
    size: tuple[int, int]
    pixels: Path
    pixel_mm: tuple[float, float] | None
    pixel_mm_kind: str
    projection: str | None
    laterality: str | None
    sha256: str

    def radiograph(self) -> Radiograph:
        """The film as a matcher reads it."""
        values = np.fromfile(self.pixels, "<u2").reshape(self.size).astype(np.float32) / 65535
        return Radiograph(torch.from_numpy(values), name=self.view)


@dataclass(eq=False)
class OpenStudy:
    """A study of this session.

    Args:
        id: What requests call it.
        given: Its films' files.
        uploaded: It came by the network, and its files go with the session.
        files: What the films' owner calls their files, by view.
    """

    id: str
    given: Given
    uploaded: bool = False
    files: dict[str, str] = field(default_factory=dict)
    films: tuple[OpenFilm, ...] = ()
    answers: dict[str, Answer] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def name(self) -> str:
        """Of the study."""
        return self.given.name


class Session:
    """Everything one server holds, in a folder that vanishes with it.

    Args:
        weights: Names or files of the weights to match with; the first is asked unless another is named.
        given: Studies known from the start.
        limits: What is taken.
        classifier: Reads fractures; None where there is none.
    """

    def __init__(
        self,
        weights: Iterable[str],
        given: Iterable[Given] = (),
        limits: Limits | None = None,
        classifier: Classifier | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.classifier = classifier
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.decoder = Decoder(self.limits)
        self.matchers: dict[str, Matcher] = {}
        self._matching = ThreadPoolExecutor(1, "matching", _step_back)
        self._changing = threading.Lock()
        self._arriving = 0
        self._studies: dict[str, OpenStudy] = {}
        for name in weights:
            self.add_matcher(Matcher.load(name))
        for study in given:
            self._add(OpenStudy(_new_id(), study))

    def add_matcher(self, matcher: Matcher) -> str:
        """Keep a matcher under a name of its own, and say which."""
        name, number = matcher.name, 2
        while name in {*self.matchers, TRUTH}:
            name, number = f"{matcher.name}-{number}", number + 1
        matcher.name = name
        self.matchers[name] = matcher
        return name

    def studies(self) -> list[OpenStudy]:
        """All of them, in the order they came."""
        return list(self._studies.values())

    def upload(self, name: str, films: list[tuple[str, Path]]) -> OpenStudy:
        """Take films that came by the network.

        Args:
            name: What to call the study; may be empty.
            films: What each is called, and where its bytes lie; they are moved.

        Raises:
            InputError: Too few or too many films, too many studies, or a film that cannot be used.
        """
        if not 2 <= len(films) <= self.limits.films:
            raise InputError(
                f"A study has 2 to {self.limits.films} films and {len(films)} came; choose the films of one limb."
            )
        with self._changing:
            kept = sum(study.uploaded for study in self._studies.values()) + self._arriving
            if kept >= self.limits.studies:
                raise InputError(
                    f"The server keeps {self.limits.studies} uploaded studies; remove one first."
                )
            self._arriving += 1
        identity = _new_id()
        folder = self.folder / identity
        try:
            names = [clean(film) for film, _ in films]
            given = _moved(folder, names, [file for _, file in films], name)
            files = dict(zip(given.films, names, strict=True))
            study = OpenStudy(identity, given, uploaded=True, files=files)
            self._open(study)
            self._add(study)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            with self._changing:
                self._arriving -= 1
        return study

    def get(self, identity: str) -> OpenStudy:
        """A study with its films read.

        Raises:
            Missing: There is none of this name.
            InputError: A film cannot be read.
        """
        study = self._studies.get(identity)
        if study is None:
            raise Missing("There is no such study; it may have been removed.")
        with study.lock:
            if not study.films:
                self._open(study)
        return study

    def remove(self, identity: str) -> None:
        """Forget a study; files that were uploaded are deleted, others stay where they are."""
        with self._changing:
            study = self._studies.pop(identity, None)
        if study is None:
            raise Missing("There is no such study; it may have been removed.")
        shutil.rmtree(self.folder / study.id, ignore_errors=True)

    def answer(self, study: OpenStudy, weights: str | None) -> Answer:
        """What weights, or the truth, say of a study; matched at the first question.

        Raises:
            Missing: No such weights, or no truth.
            InputError: Films that cannot be matched.
        """
        name = weights or next(iter(self.matchers))
        with study.lock:
            if name not in study.answers:
                study.answers[name] = self._ask(study, name)
            return study.answers[name]

    def ready(self, identity: str, weights: str | None) -> Answer | None:
        """An answer that is there already; takes no time."""
        study = self._studies.get(identity)
        return study and study.answers.get(weights or next(iter(self.matchers)))

    def layers(self, study: OpenStudy) -> list[str]:
        """Who can be asked about a study."""
        return [*self.matchers, *([TRUTH] if study.given.truth else [])]

    def read(self, study: OpenStudy, classifier: Classifier) -> Reading:
        """What a classifier says of a study."""
        films = [film.radiograph() for film in study.films]
        return self._matching.submit(classifier.read, films).result()

    def close(self) -> None:
        """Delete everything."""
        self.decoder.close()
        self._matching.shutdown(cancel_futures=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ask(self, study: OpenStudy, name: str) -> Answer:
        if name == TRUTH and study.given.truth is not None:
            return _read_truth(study)
        if name not in self.matchers:
            raise Missing(f"There are no weights {clean(name)} here; ask /api/health which.")
        films = [film.radiograph() for film in study.films]
        matches = self._matching.submit(self.matchers[name].match, films).result()
        return Answer(replace(matches, images=tuple(blank(film.size) for film in study.films)))

    def _add(self, study: OpenStudy) -> None:
        with self._changing:
            self._studies[study.id] = study

    def _open(self, study: OpenStudy) -> None:
        folder = self.folder / study.id
        folder.mkdir(exist_ok=True)
        films = []
        for number, (view, file) in enumerate(study.given.films.items()):
            name, pixels = study.files.get(view, file.name), folder / f"{number}.u16"
            facts = self.decoder.decode(file, name, pixels)
            films.append(
                OpenFilm(
                    view=view, name=name, pixels=pixels, sha256=sha256(file),
                    size=tuple(facts["size"]), pixel_mm=facts["pixel_mm"] and tuple(facts["pixel_mm"]),
                    pixel_mm_kind=facts["pixel_mm_kind"],
                    projection=facts["view"], laterality=facts["laterality"],
                )
            )  # fmt: skip
        study.films = tuple(films)


def clean(name: str) -> str:
    """A name that came from outside, as it may be shown and kept: its last part, printable, not long."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(c for c in last if c.isprintable())[:80].strip() or "film"


def _moved(folder: Path, names: list[str], files: list[Path], name: str) -> Given:
    """Uploaded films in the study's folder, under numbers: no name from outside becomes a path."""
    folder.mkdir()
    called = [Path(name) for name in names]
    films = {}
    for number, ((view, path), file) in enumerate(zip(by_view(called).items(), files, strict=True)):
        suffix = path.suffix.lower() if path.suffix.lower() in BARE_DICOM else ""
        films[view] = folder / f"{number}{suffix}"
        shutil.move(file, films[view])
    return Given(clean(name) if name.strip() else common_name(called), films)


def _read_truth(study: OpenStudy) -> Answer:
    """The true matrix beside a rendering, on no finer a grid than a page can hold."""
    with np.load(study.given.truth or "") as stored:
        truth, (rows, columns) = stored["correspondence"], stored["grid"][0].tolist()
    step = max(1, min(rows, columns) // TRUTH_GRID)
    if step > 1 and rows % step == columns % step == 0:
        views, rows, columns = len(truth), rows // step, columns // step
        cells = truth.reshape(views, views, rows, step, columns, step, rows, step, columns, step)
        truth = cells.max((3, 5, 7, 9)).reshape(views, views, rows * columns, rows * columns)
    sizes = [film.size for film in study.films]
    names = [film.view for film in study.films]
    return truth_answer(torch.from_numpy(truth), (rows, columns), sizes, names)


def _new_id() -> str:
    return secrets.token_hex(8)


def _step_back() -> None:
    """Let this thread, and those of torch behind it, wait for whoever answers readers; Linux only."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), MATCHING_NICE)


def _sweep() -> None:
    """Delete what servers left behind that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).split("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    """Whether a process runs; yes where nobody can say without harm."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
