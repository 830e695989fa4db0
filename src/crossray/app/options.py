"""Options that several commands share; imports nothing heavy, as help must come at once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Limb(StrEnum):
    """Limbs the phantom knows."""

    hand = "hand"
    knee = "knee"
    ankle = "ankle"


class Side(StrEnum):
    """Which limb of the two."""

    left = "left"
    right = "right"


class Preset(StrEnum):
    """Sizes of the matcher."""

    tiny = "tiny"
    small = "small"
    paper = "paper"


class ClassifierPreset(StrEnum):
    """Sizes of the classifier."""

    tiny = "tiny"
    small = "small"
    paper = "paper"
    cnn = "cnn"


class Fusion(StrEnum):
    """Where a classifier's views meet."""

    single = "single"
    late = "late"
    early = "early"


class Budget(StrEnum):
    """What each row of a table may spend."""

    quick = "quick"
    cpu = "cpu"
    long = "long"
    paper = "paper"


class Look(StrEnum):
    """How rendered radiographs look."""

    plain = "plain"
    pacs = "pacs"
    film = "film"


class EngineName(StrEnum):
    """Who makes the shards of a set."""

    local = "local"
    ray = "ray"


class Definition(StrEnum):
    """What counts as the true correspondence."""

    exact = "exact"
    paper = "paper"


class Protocol(StrEnum):
    """How test views are drawn."""

    clinical = "clinical"
    inside = "inside"
    uniform = "uniform"


Out = Annotated[Path, typer.Option(help="Folder to write to; made if it is missing.")]
SeriesName = Annotated[
    str | None, typer.Option(help="Which series of a DICOM folder: its UID or description.")
]
Weights = Annotated[str, typer.Option(help="Bundled name or .safetensors file.")]
CtFolder = Annotated[Path | None, typer.Option(help="Folder of CT volumes; without it, phantoms.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
Options = Annotated[
    list[str] | None, typer.Argument(help="section.option=value, as in the run's config.yaml.")
]
StudySource = Annotated[
    str, typer.Option(help="graz:TABLE.csv, mura:FOLDER, fracatlas:FOLDER or csv:TABLE.csv.")
]
ReadingWeights = Annotated[str, typer.Option(help="Bundled name, .safetensors file or run.")]
CtFile = Annotated[Path | None, typer.Argument(help="CT: NIfTI, NRRD, MHA file or DICOM folder.")]
Phantom = Annotated[Limb | None, typer.Option(help="A phantom instead of a CT.")]
Primary = Annotated[
    list[float] | None, typer.Option(help="Primary angle in degrees, LAO +; once a view.")
]
Secondary = Annotated[
    list[float] | None, typer.Option(help="Secondary angle in degrees, cranial +.")
]
Labels = Annotated[Path, typer.Option(help="File of labels across views: docs/labels.md.")]
Scores = Annotated[Path | None, typer.Option(help="File for the scores.")]
