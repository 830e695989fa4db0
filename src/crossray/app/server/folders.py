"""What `crossray view` is given on the command line, as studies: films, folders of them, renderings, or labels."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossray.app.server.decoding import check_signature
from crossray.data.annotations import Study, read_labels
from crossray.errors import InputError
from crossray.matching.matcher import MOST_VIEWS

TRUTH = "correspondence.npz"
"""Beside renderings: their true matrix, and which files it is of."""


@dataclass(frozen=True)
class Given:
    """A study as its films lie on the disk.

    Args:
        name: What it is called.
        films: By view.
        person: Whose it is; None where nobody said.
        truth: The file of its true correspondence, for a rendering.
    """

    name: str
    films: dict[str, Path]
    person: str | None = None
    truth: Path | None = None


def studies_in(paths: Sequence[Path]) -> list[Given]:
    """The studies of what was given: files are one study; a folder holds one, or several told apart by name.

    Raises:
        InputError: Something that does not exist, or no study of two to six films.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist; name films of one limb, or a folder of them.")
    if len(paths) == 1 and paths[0].is_dir():
        found = _in_folder(paths[0])
    elif len(paths) == 1 and paths[0].suffix == ".json":
        found = [_labelled(paths[0], study) for study in read_labels(paths[0]).studies]
    elif paths:
        found = [Given(common_name(paths), by_view(paths))]
    else:
        return []
    whole = [study for study in found if 2 <= len(study.films) <= MOST_VIEWS]
    if not whole:
        count = len(found[0].films) if found else 0
        raise InputError(
            f"{paths[0]} makes no study ({count} films); give 2 to {MOST_VIEWS} films of one limb, or a folder of them."
        )
    return whole


def labels_beside(paths: Sequence[Path]) -> Path:
    """Where labels of what was given are kept unless another place is named."""
    if not paths:
        return Path("crossray-labels.json")
    first = paths[0]
    if first.suffix == ".json":
        return first
    return (first if first.is_dir() else first.parent) / "crossray-labels.json"


def _in_folder(folder: Path) -> list[Given]:
    """A rendering; or the films lying here and the studies in folders below."""
    if (folder / TRUTH).is_file():
        return [_rendering(folder)]
    films = _films(folder)
    below = [each for child in _folders(folder) for each in _in_folder(child)]
    if len(films) <= MOST_VIEWS:
        return [Given(folder.resolve().name, by_view(films)), *below] if films else below
    groups = defaultdict(list)
    for film in films:
        groups[re.sub(r"[-_ ][^-_ ]*$", "", film.stem)].append(film)
    return [*(Given(name, by_view(group)) for name, group in sorted(groups.items())), *below]


def _folders(folder: Path) -> list[Path]:
    """Folders within, and no links to folders: they may lead back up."""
    found = (child for child in folder.iterdir() if child.is_dir() and not child.is_symlink())
    return sorted(child for child in found if child.name[0] != ".")


def _films(folder: Path) -> list[Path]:
    """Files that begin as films do."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name[0] != ".":
            try:
                check_signature(path, path.name)
            except (InputError, OSError):
                continue
            found.append(path)
    return found


def _rendering(folder: Path) -> Given:
    with np.load(folder / TRUTH) as truth:
        names = truth["files"].tolist() if "files" in truth else []
    films = [folder / Path(name).name for name in names] or sorted(folder.glob("view-*.png"))
    return Given(folder.resolve().name, by_view(films), truth=folder / TRUTH)


def _labelled(labels: Path, study: Study) -> Given:
    films = {view: labels.parent / film.file for view, film in study.films.items()}
    return Given(study.study, films, study.person)


def by_view(films: Sequence[Path]) -> dict[str, Path]:
    """Films by the part of their names that tells them apart, or by numbers where names do not."""
    names = [film.stem for film in films]
    shared = len(_shared_start(names)) if len(names) > 1 else 0
    views = [name[shared:] for name in names]
    if all(view.isdigit() for view in views):
        views = names
    if len({*views}) < len(views):
        views = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    return dict(zip(views, films, strict=True))


def common_name(films: Sequence[Path]) -> str:
    """What a study of these films is called: the start their names share, or the first name."""
    return _shared_start([film.stem for film in films]).rstrip("-_ ") or films[0].stem


def _shared_start(names: Sequence[str]) -> str:
    """What all names begin with, up to a mark between words; empty where that is all of one of them."""
    first, last = min(names), max(names)
    same = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
    )
    start = re.match(r".*[-_ ]", first[:same])
    return start[0] if start and start[0] not in names else ""
