"""Readers of published sets in the layouts they come in, and of any table; each ends in `Cases`."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from crossray.data.studies.cases import Case, Cases, StudyData, StudyFilm
from crossray.errors import InputError
from crossray.files import sha256

Row = dict[str, str]
_PROJECTIONS = {"1": "AP", "2": "LAT", "3": "OBL"}
_SPLITS = {
    "": "",
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_VIEWS = {
    "PA": "AP",
    "AP": "AP",
    "FRONTAL": "AP",
    "LAT": "LAT",
    "LATERAL": "LAT",
    "OBL": "OBL",
    "OBLIQUE": "OBL",
}


def read_cases(data: StudyData) -> tuple[Cases, StudyData]:
    """Read the studies of `data.source`, less those it leaves out.

    - `graz:TABLE.csv`: GRAZPEDWRI-DX, its published dataset.csv with the images anywhere below, or a table with `file`
      and `study_id`. A study is a patient, a number and a side; several films of one projection are kept. A flag that
      is blank is no.
    - `mura:FOLDER`: MURA v1.1 with its four tables without header. A study's label is "abnormal"; no view is named.
    - `fracatlas:FOLDER`: FracAtlas. It names no patients, so every picture counts as one of its own.
    - `csv:TABLE.csv`: columns file, study, patient, view, label (0 or 1, of the film), and optionally split and part.

    Returns:
        The studies, and `data` with the checksum of their tables.

    Raises:
        InputError: An unknown source, tables or images that are missing, or values that cannot be meant.
    """
    kind, colon, place = data.source.partition(":")
    if not colon or kind not in SOURCES:
        raise InputError(
            f"The data {data.source!r} is no source; write {', '.join(f'{name}:PATH' for name in SOURCES)}."
        )
    path = Path(place).expanduser()
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path behind {kind}:.")
    cases, tables = SOURCES[kind](path)
    chosen = [
        case
        for case in cases.cases
        if not case.flags & set(data.without)
        and (not data.parts or case.part in data.parts)
        and len(case.films) >= data.least
    ]
    if not chosen:
        raise InputError(
            f"{data.source} has no study that data.without, data.parts and data.least leave over."
        )
    checksum = "-".join(sha256(table)[:16] for table in tables)
    return Cases(tuple(chosen), cases.notes), replace(data, sha256=checksum)


def _read_graz(path: Path) -> tuple[Cases, list[Path]]:
    """GRAZPEDWRI-DX; Nagy et al., Sci Data 9, 222 (2022)."""
    rows = _rows(path, ("patient_id", "laterality", "fracture_visible", "cast", "metal"))
    published = "filestem" in rows[0]
    _need(
        path, rows[0], ("study_number", "projection") if published else ("file", "study_id", "view")
    )
    images = {file.stem: file for file in path.parent.rglob("*.png")} if published else {}
    groups: dict[str, list[tuple[Row, StudyFilm]]] = {}
    lost = 0
    for number, row in enumerate(rows, start=2):
        where = f"{path}, line {number}"
        if row["laterality"] not in ("L", "R"):
            raise InputError(f"{where}: laterality is {row['laterality']!r}; it must be L or R.")
        if published:
            file, study = images.get(row["filestem"]), f"{row['patient_id']}-{row['study_number']}"
            view = _PROJECTIONS.get(row["projection"])
        else:
            file, study, view = path.parent / row["file"], row["study_id"], row["view"]
        if view is None:
            raise InputError(f"{where}: projection is {row['projection']!r}; it must be 1, 2 or 3.")
        if file is None or not file.is_file():
            lost += 1
            continue
        film = StudyFilm(file, view, _flag(row["fracture_visible"], where))
        films = groups.setdefault(f"{study}-{row['laterality']}", [])
        films.append((row, film))
        _need_alike(films[0][0], row, "patient_id", f"{where}: study {study}")
    return _found(
        path, [_graz_case(study, films, path) for study, films in groups.items()], lost
    ), [path]


def _graz_case(study: str, films: Sequence[tuple[Row, StudyFilm]], path: Path) -> Case:
    columns = {
        "cast": "cast",
        "metal": "metal",
        "uncertain": "diagnosis_uncertain",
        "osteopenia": "osteopenia",
    }
    flags = {
        name for name, column in columns.items()
        if any(_flag(row.get(column, ""), f"{path}, study {study}") for row, _ in films)
    }  # fmt: skip
    if any(row.get("initial_exam") == "" for row, _ in films):
        flags.add("follow_up")
    own = tuple(film for _, film in films)
    patient, label = films[0][0]["patient_id"], any(film.label for film in own)
    return Case(study, patient, own, label, frozenset(flags), "wrist")


def _read_mura(folder: Path) -> tuple[Cases, list[Path]]:
    """MURA v1.1; Rajpurkar et al., 2018. Its two parts are `train` and `valid`."""
    if (folder / "MURA-v1.1").is_dir():
        folder = folder / "MURA-v1.1"
    tables = [
        folder / f"{part}_{what}.csv"
        for part in ("train", "valid") for what in ("labeled_studies", "image_paths")
    ]  # fmt: skip
    for table in tables:
        if not table.is_file():
            raise InputError(f"{table} is missing; name the folder MURA-v1.1 as it is published.")
    cases, lost = [], 0
    for part, labels, paths in (("train", *tables[:2]), ("val", *tables[2:])):
        films: dict[str, list[Path]] = {}
        for (line,) in _lines(paths, 1):
            film = folder / Path(line).relative_to(Path(line).parts[0])
            films.setdefault(Path(line).parent.as_posix(), []).append(film)
        for line, label in _lines(labels, 2):
            own = [file for file in films.get(line.rstrip("/"), []) if file.is_file()]
            lost += len(films.get(line.rstrip("/"), [])) - len(own)
            if not own:
                continue
            body, patient, study = Path(line).parts[-3:]
            found = _flag(label, str(labels))
            shown = tuple(StudyFilm(file, "", found) for file in own)
            cases.append(
                Case(f"{body}/{patient}/{study}", patient, shown, found, part=body, split=part)
            )
    return _found(folder, cases, lost), tables


def _read_fracatlas(folder: Path) -> tuple[Cases, list[Path]]:
    """FracAtlas; Abedeen et al., Sci Data 10, 521 (2023). Its split files list pictures with a fracture alone."""
    table = folder / "dataset.csv"
    rows = _rows(table, ("image_id", "fractured", "frontal", "lateral", "oblique"))
    split: dict[str, str] = {}
    for part in ("train", "valid", "test"):
        listed = folder / "Utilities" / "Fracture Split" / f"{part}.csv"
        if listed.is_file():
            split |= {row["image_id"]: _SPLITS[part] for row in _rows(listed, ("image_id",))}
    cases, lost = [], 0
    for number, row in enumerate(rows, start=2):
        said = {
            name: _flag(row.get(name, ""), f"{table}, line {number}")
            for name in row
            if name in _FRACATLAS
        }
        name, label = row["image_id"], said["fractured"]
        file = folder / "images" / ("Fractured" if label else "Non_fractured") / name
        if not file.is_file():
            lost += 1
            continue
        views = [
            view
            for view, column in zip(("AP", "LAT", "OBL"), _FRACATLAS[1:4], strict=True)
            if said[column]
        ]
        flags = {
            flag
            for flag, column in (("metal", "hardware"), ("several", "multiscan"))
            if said.get(column)
        }
        body = next((part for part in _FRACATLAS[6:] if said.get(part)), "")
        film = StudyFilm(file, views[0] if len(views) == 1 else "", label)
        cases.append(Case(name, name, (film,), label, frozenset(flags), body, split.get(name, "")))
    found = _found(folder, cases, lost)
    note = "FracAtlas names no patients: films of one person may be in two parts, and nothing here can tell."
    return Cases(found.cases, (*found.notes, note)), [table]


_FRACATLAS = (
    "fractured", "frontal", "lateral", "oblique", "hardware", "multiscan", "hand", "leg", "hip", "shoulder", "mixed",
)  # fmt: skip


def _read_table(path: Path) -> tuple[Cases, list[Path]]:
    rows = _rows(path, ("file", "study", "patient", "view", "label"))
    groups: dict[str, list[tuple[Row, StudyFilm]]] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path}, line {number}"
        file = path.parent / row["file"]
        if not file.is_file():
            raise InputError(
                f"{where}: {file} does not exist; files are named relative to the table."
            )
        if row.get("split", "") not in _SPLITS:
            raise InputError(f"{where}: split is {row['split']!r}; it must be train, val or test.")
        view = _VIEWS.get(row["view"].upper(), "")
        film = StudyFilm(file, view, _flag(row["label"], where))
        if not row["study"] or not row["patient"]:
            raise InputError(f"{where}: every film needs the names of its study and its patient.")
        films = groups.setdefault(row["study"], [])
        films.append((row, film))
        for column in ("patient", "split"):
            _need_alike(films[0][0], row, column, f"{where}: study {row['study']}")
    cases = [
        Case(
            study, films[0][0]["patient"], tuple(film for _, film in films), any(film.label for _, film in films),
            part=films[0][0].get("part", ""), split=_SPLITS[films[0][0].get("split", "")],
        )
        for study, films in groups.items()
    ]  # fmt: skip
    return Cases(tuple(cases)), [path]


SOURCES: dict[str, Callable[[Path], tuple[Cases, list[Path]]]] = {
    "graz": _read_graz,
    "mura": _read_mura,
    "fracatlas": _read_fracatlas,
    "csv": _read_table,
}


def _found(place: Path, cases: Iterable[Case], lost: int) -> Cases:
    """The studies of which something was found, and a note of what was not."""
    kept = tuple(cases)
    if not kept:
        raise InputError(f"None of the images that {place} lists was found; unpack them beside it.")
    return Cases(kept, (f"{lost} of the films that {place} lists are not there.",) if lost else ())


def _rows(path: Path, columns: Sequence[str]) -> list[Row]:
    """The rows of a table with a header, whether or not it begins with a byte order mark."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [
                {name: (value or "").strip() for name, value in row.items() if name}
                for row in csv.DictReader(file)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as a CSV table; give the table as it is published."
        ) from error
    if not rows:
        raise InputError(f"{path} has no rows; give the table as it is published.")
    _need(path, rows[0], columns)
    return rows


def _need(path: Path, row: Row, columns: Sequence[str]) -> None:
    lacking = [column for column in columns if column not in row]
    if lacking:
        raise InputError(f"{path} has no column {lacking[0]!r}; it needs {', '.join(columns)}.")


def _need_alike(first: Row, row: Row, column: str, where: str) -> None:
    before, here = (each.get(column, "") for each in (first, row))
    if before != here:
        raise InputError(f"{where} has {column} {here!r} here and {before!r} before.")


def _lines(path: Path, cells: int) -> list[list[str]]:
    """The rows of a table without a header."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if bad := next((row for row in rows if len(row) != cells), None):
        raise InputError(
            f"{path} has a line {','.join(bad)!r}; {cells} values a line are needed, without a header."
        )
    return rows


def _flag(value: str, where: str) -> bool:
    """1 or 0; blank is 0."""
    known = {"": False, "0": False, "0.0": False, "1": True, "1.0": True}
    if value not in known:
        raise InputError(f"{where}: {value!r} is no flag; 1, 0 or nothing is needed.")
    return known[value]
