"""Films decoded at arm's length: what a file claims to be is checked here, its pixels are read by another process."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, cast

from crossray.app.server.limits import Limits
from crossray.errors import InputError

SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": 0,
    b"\xff\xd8\xff": 0,
    b"II*\0": 0,
    b"MM\0*": 0,
    b"DICM": 128,
}
"""First bytes of the kinds of file taken, and where they stand: PNG, JPEG, TIFF (both orders), DICOM."""
BARE_DICOM = (".dcm", ".dicom", ".dic", ".ima")
"""Old DICOM files have no signature; their name must say what they are."""


class Decoder:
    """Decodes one film at a time in a process of its own, which is replaced after every misfortune.

    Args:
        limits: Its memory and time.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._ready = False

    def decode(self, film: Path, name: str, out: Path) -> dict[str, Any]:
        """Decode a film into raw 16-bit values.

        Args:
            film: The file.
            name: What its owner calls it, for messages.
            out: Where the values go.

        Returns:
            `size`, `pixel_mm`, `pixel_mm_kind`, `view` and `laterality`, as of a `Radiograph`.

        Raises:
            InputError: No film, or one that takes more time or memory than it may.
        """
        check_signature(film, name)
        with self._lock:
            answer = self._ask(json.dumps([str(film), str(out)]))
        if answer is None:
            out.unlink(missing_ok=True)
            raise InputError(
                f"{name} was not decoded within {self._limits.decode_seconds:g} s, or broke its decoder; give a "
                "smaller or sounder file."
            )
        if answer.get("memory"):
            raise InputError(
                f"{name} takes more than {self._limits.decode_bytes >> 20} MB to decode; make it smaller first."
            )
        if "error" in answer:
            raise InputError(answer["error"].replace(str(film), name))
        return answer

    def start(self) -> None:
        """Have the process ready before the first film comes."""
        with self._lock:
            self._started()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", "crossray.app.server.decoder"]
            self._process = subprocess.Popen(
                [*command, str(self._limits.decode_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # decoders quote headers, and those name patients
                text=True,
            )
            self._ready = False
        return self._process

    def _ask(self, question: str) -> dict[str, Any] | None:
        """The answer; None where the process ended, by itself or because its time was up."""
        process = self._started()
        questions, answers = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
        if not self._ready and answers.readline() != "ready\n":
            self._end()
            raise RuntimeError("the process that decodes films does not start")
        self._ready = True
        watch = threading.Timer(self._limits.decode_seconds, process.kill)
        watch.start()
        try:
            questions.write(question + "\n")
            questions.flush()
            line = answers.readline()
        except OSError:
            line = ""
        finally:
            watch.cancel()
        if not line:
            self._end()
            return None
        return json.loads(line)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def check_signature(film: Path, name: str) -> None:
    """Refuse what does not begin as a film does, whatever it is called.

    Raises:
        InputError: Neither PNG, JPEG, TIFF nor DICOM.
    """
    with film.open("rb") as file:
        head = file.read(132)
    known = any(head[at:].startswith(magic) for magic, at in SIGNATURES.items())
    bare = name.lower().endswith(BARE_DICOM) and b"<" not in head[:64] and bool(head)
    if not (known or bare):
        raise InputError(f"{name} is not an image; a PNG, JPEG, TIFF or DICOM file is needed.")
