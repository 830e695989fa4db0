"""Matches on disk: arrays, a summary, a figure and the page, all of them or none."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch import Tensor

from crossray.errors import InputError
from crossray.matching.matches import Matches
from crossray.matching.page import page
from crossray.matching.preprocess import for_display

FILES = ("matches.npz", "matches.json", "matches.png", "matches.html")

FIGURE_SIDE = 720
"""Films in the figure have at most this many pixels along a side, about what it is drawn with."""


def save_matches(matches: Matches, directory: Path, truth: Tensor | None = None) -> list[Path]:
    """Write the four files of `FILES` into a directory; see `Matches.save`."""
    with all_or_none(directory) as partial:
        write_matches(matches, partial, truth)
    return [directory / name for name in FILES]


def write_matches(matches: Matches, directory: Path, truth: Tensor | None = None) -> None:
    """Write the four files of `FILES` one after the other into an existing directory.

    Raises:
        InputError: A truth of another shape than the matches.
    """
    if truth is not None and truth.shape != matches.correspondence.shape:
        raise InputError(
            f"The truth has shape {tuple(truth.shape)} and the matches {tuple(matches.correspondence.shape)};"
            " they must be of the same views and patches."
        )
    write_arrays(matches, directory / FILES[0])
    text = json.dumps({**matches.summary(), "files": list(FILES)}, indent=2)
    (directory / FILES[1]).write_text(text + "\n", encoding="utf-8")
    _write_figure(matches, directory / FILES[2], truth)
    (directory / FILES[3]).write_text(page(matches, truth), encoding="utf-8")


@contextmanager
def all_or_none(directory: Path) -> Iterator[Path]:
    """An empty folder whose files move into `directory` when the block ends well, and vanish when it does not.

    Files of the same names are replaced, others in `directory` stay.

    Raises:
        InputError: The directory cannot be written.
    """
    partial = None
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
        yield partial
        directory.mkdir(exist_ok=True)
        for file in sorted(partial.iterdir()):
            os.replace(file, directory / file.name)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{directory} cannot be written ({reason}); choose another folder."
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def write_arrays(matches: Matches, path: Path) -> None:
    """The arrays a program reads: correspondence, grid and film size of every view, and boxes of the patches."""
    np.savez_compressed(
        path,
        correspondence=matches.correspondence.numpy().astype(np.float32),
        grid=np.array([matches.grid] * len(matches), dtype=np.int64),
        image_size=np.array(matches.image_size, dtype=np.int64),
        patch_box=matches.patch_box.numpy(),
        field=np.array(matches.fields, dtype=np.float64),
        names=np.array(matches.names),
    )


def _write_figure(matches: Matches, path: Path, truth: Tensor | None) -> None:
    """The picture to put into a report: some telling points and their bands."""
    from crossray.evaluation.figures import FilmView, matches_figure

    views = []
    for image, name, field in zip(matches.images, matches.names, matches.fields, strict=True):
        small = for_display(image, FIGURE_SIDE)
        down, across = small.shape[0] / image.shape[0], small.shape[1] / image.shape[1]
        edges = (
            field.row0 * down,
            field.column0 * across,
            field.row1 * down,
            field.column1 * across,
        )
        views.append(FilmView(small, name, edges))
    matches_figure(views, matches.correspondence, path, truth, grid=matches.grid)
