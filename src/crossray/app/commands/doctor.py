"""`crossray doctor`: what is there, what works, and what is missing."""

import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from crossray import __version__

PACKAGES = ("torch", "numpy", "numba", "SimpleITK", "pydicom", "pillow", "matplotlib", "lightning")

ENCODINGS = {
    "JPEG Baseline": "1.2.840.10008.1.2.4.50",
    "JPEG Lossless": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "RLE": "1.2.840.10008.1.2.5",
}


def doctor() -> int:
    """Print one verdict a line; 0 when everything needed is there, else 1."""
    print(f"crossray {__version__}, Python {platform.python_version()}, {platform.platform()}")
    sound = True
    for check in (_packages, _devices, _decoders, _kernels, _weights, _folder):
        for fine, line in _verdicts(check):
            sound = sound and fine
            print(f"{'ok  ' if fine else 'BAD '} {line}")
    print(
        "Everything needed is there."
        if sound
        else "Something is missing; see the lines marked BAD."
    )
    return 0 if sound else 1


def _verdicts(check: Callable[[], Iterator[tuple[bool, str]]]) -> Iterator[tuple[bool, str]]:
    """The check's verdicts; a check that fails by itself is a bad verdict, not the end."""
    try:
        yield from check()
    except Exception as error:  # whatever is broken here is what the doctor is asked about
        yield (
            False,
            f"{check.__name__.strip('_')}: {type(error).__name__}: {' '.join(str(error).split())}",
        )


def _packages() -> Iterator[tuple[bool, str]]:
    for name in PACKAGES:
        try:
            yield True, f"{name} {version(name)}"
        except PackageNotFoundError:
            yield False, f"{name} is not installed; install crossray again with its dependencies"


def _devices() -> Iterator[tuple[bool, str]]:
    import torch

    yield True, f"CPU: {torch.get_num_threads()} threads for torch"
    if torch.cuda.is_available():
        yield True, f"GPU: {torch.cuda.get_device_name(0)} (CUDA {torch.version.cuda})"
    else:
        yield True, "GPU: none that torch can use; everything runs on the CPU"


def _decoders() -> Iterator[tuple[bool, str]]:
    from pydicom.pixels.decoders.base import get_decoder

    for name, uid in ENCODINGS.items():
        there = get_decoder(uid).is_available
        yield (
            there,
            f"DICOM {name}: {'can be read' if there else 'no decoder; install crossray again'}",
        )


def _kernels() -> Iterator[tuple[bool, str]]:
    import numba
    import numpy as np

    start = time.perf_counter()
    total = numba.njit(lambda values: values.sum())(np.arange(5.0))
    fine = total == 10.0
    yield (
        fine,
        f"numba compiles and runs ({time.perf_counter() - start:.1f} s, {numba.get_num_threads()} threads)",
    )


def _weights() -> Iterator[tuple[bool, str]]:
    from crossray.matching import Matcher

    matcher = Matcher.load("small")
    count = sum(parameter.numel() for parameter in matcher.network.parameters())
    yield True, f"bundled weights {matcher.name}: {count / 1e6:.1f} million parameters"


def _folder() -> Iterator[tuple[bool, str]]:
    with tempfile.NamedTemporaryFile(dir=Path.cwd()):
        yield True, f"{Path.cwd()} can be written to"
