"""Studies to classify: readers of published sets and of any table, splits by patient, and samples of their films."""

from crossray.data.studies.cases import Case, Cases, StudyData, StudyFilm, split_cases
from crossray.data.studies.films import StudyFilms, whole_study
from crossray.data.studies.simulated import SimulatedStudies, fracture_sampling
from crossray.data.studies.sources import read_cases

__all__ = [
    "Case",
    "Cases",
    "SimulatedStudies",
    "StudyData",
    "StudyFilm",
    "StudyFilms",
    "fracture_sampling",
    "read_cases",
    "split_cases",
    "whole_study",
]
