"""Studies with simulated fractures as training samples, on the fly."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from crossray.data.fractures import FracturePairs, FractureSampling
from crossray.data.sample import SampleConfig
from crossray.data.studies.cases import Case, StudyData
from crossray.errors import InputError

SHOWN = 0.1
"""A film shows a fracture whose visibility is above this; its label is whether it does."""


def fracture_sampling(
    ct: str, split: str, size: tuple[int, int], data: StudyData
) -> FractureSampling:
    """Studies in the look of a picture archive, of the people of one split.

    Args:
        ct: Folder of CTs.
        split: Which people.
        size: Rows and columns of a film; even.
        data: Films of a study, different twins, and the seed.
    """
    sample = SampleConfig(look="pacs", thin=2)
    sample = replace(sample, views=replace(sample.views, size=size, views=data.views))
    return FractureSampling(ct, split, distinct=data.twins, seed=data.seed, sample=sample)


class SimulatedStudies(Dataset[dict[str, Tensor]]):
    """Endless training samples of the form of `StudyFilms`; sample i depends on i and the seeds alone.

    Args:
        pairs: The studies; the odd ones are broken.
        data: How often a view is taken away, and the seed.
        tested: Studies that calibrate or test; they may show nobody of `pairs`.

    Raises:
        InputError: They do.
    """

    def __init__(self, pairs: FracturePairs, data: StudyData, tested: Iterable[Case] = ()) -> None:
        self.pairs, self.data = pairs, data
        shared = set(pairs.persons.values()) & {case.patient for case in tested}
        if shared:
            raise InputError(
                f"{min(shared)} of {data.simulated} is a patient of {data.source} too; calibrate and test on others "
                "(data.val_share=0 calibrates on none)."
            )

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Sample `index`."""
        study, rng = self.pairs[index], np.random.default_rng([self.data.seed, 7, index])
        images, labels = study["images"], (study["visibility"] > SHOWN).float()
        empty = int(len(images) > 1 and rng.random() < self.data.missing)
        shown = rng.permutation(len(images))[empty:]
        return {
            "images": functional.pad(images[shown], (0, 0, 0, 0, 0, empty)),
            "present": torch.arange(len(images)) < len(shown),
            "film_labels": functional.pad(labels[shown], (0, empty)),
            "label": labels[shown].max(),
        }
