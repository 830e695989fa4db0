"""Fine-tuning started from the page: `crossray finetune matcher` in a process of its own, watched."""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from crossray.app.server.book import LabelBook
from crossray.app.server.session import Session
from crossray.errors import InputError
from crossray.matching import Matcher

PROGRAM = (sys.executable, "-m", "crossray.app.cli")
TAIL = 2000
"""Characters shown of what the run printed."""


class Run(BaseModel):
    """How a fine-tuning stands."""

    state: Literal["none", "running", "done", "failed", "stopped"]
    out: str = Field(default="", description="Folder of the run.")
    printed: str = Field(default="", description="The end of what it printed.")
    report: dict[str, Any] | None = Field(
        default=None, description="report.json: before and after."
    )
    weights: str | None = Field(
        default=None, description="The name under which to ask for the new bands."
    )


class Tuning:
    """At most one fine-tuning at a time, of the first weights, on the labels of the book.

    Args:
        session: Gets the new weights when they are done.
        book: The labels.
        init: The weights to begin with, by name or file.
        program: What runs crossray's command line.
    """

    def __init__(
        self, session: Session, book: LabelBook, init: str, program: Sequence[str] = PROGRAM
    ) -> None:
        self._session, self._book, self._init, self._program = session, book, init, program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._weights: str | None = None
        self._out = Path()
        self._log = session.folder / "finetune.log"

    def start(self, steps: int) -> Run:
        """Begin.

        Raises:
            InputError: A run is going on, or nothing was labelled.
        """
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                raise InputError("A fine-tuning is running; wait for it or stop it.")
            if not self._book.path.exists():
                raise InputError(
                    "Nothing was labelled yet; label two films of three persons or more."
                )
            self._out = _free(self._book.path.parent / "crossray-finetuned")
            self._stopped, self._weights = False, None
            words = ["--labels", self._book.path, "--init", self._init, "--out", self._out]
            words += ["--steps", steps, "run.progress=false"]
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [*self._program, "finetune", "matcher", *map(str, words)],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        return self.state()

    def state(self) -> Run:
        """How it stands; the new weights are taken in when they are there."""
        with self._lock:
            if self._process is None:
                return Run(state="none")
            code = self._process.poll()
            printed = self._log.read_text(errors="replace")[-TAIL:]
            facts: dict[str, Any] = {"out": str(self._out), "printed": printed}
            if code is None:
                return Run(state="running", **facts)
            if self._stopped:
                return Run(state="stopped", **facts)
            report = self._out / "report.json"
            if code != 0 or not report.is_file():
                return Run(state="failed", **facts)
            if self._weights is None:
                matcher = Matcher.load(self._out / "matcher.safetensors")
                matcher.name = self._out.name.removeprefix("crossray-")
                self._weights = self._session.add_matcher(matcher)
            content = json.loads(report.read_text())
            return Run(state="done", report=content, weights=self._weights, **facts)

    def stop(self) -> Run:
        """End it; what it has learned so far stays in its folder."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._stopped = True
                self._process.terminate()
                try:
                    self._process.wait(10)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
        return self.state()


def _free(folder: Path) -> Path:
    """A folder of this name with the first number that is not taken."""
    number = 1
    while (named := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    return named
