"""Stored samples and samples made on the fly in one stream, in a fixed ratio."""

from fractions import Fraction
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from crossray.data.sample import SampleConfig
from crossray.data.shards import Shards
from crossray.data.synthetic import SyntheticConfig, SyntheticPairs
from crossray.errors import InputError


class MixedPairs(Dataset[dict[str, Tensor]]):
    """Either kind in its own order, none left out: of any n samples in a row, n times `share` are stored.

    Args:
        stored: A generated set.
        fresh: What is made on the fly.
        share: Of stored samples.
    """

    def __init__(
        self, stored: Dataset[dict[str, Tensor]], fresh: Dataset[dict[str, Tensor]], share: float
    ) -> None:
        self.stored, self.fresh, self.share = stored, fresh, Fraction(str(share))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        before, after = int(index * self.share), int((index + 1) * self.share)
        return self.stored[before] if after > before else self.fresh[index - before]


def training_samples(config: SyntheticConfig, cache: Path) -> Dataset[dict[str, Tensor]]:
    """The samples of a configuration: made on the fly, stored, or both.

    Args:
        config: Where they come from.
        cache: Folder that keeps what is costly to make or fetch.

    Raises:
        InputError: What `SyntheticPairs` or `Shards` refuse, a share out of [0, 1], or a set whose samples are of
            another form than asked for.
    """
    if not config.shards:
        return SyntheticPairs(config, cache)
    if not 0 <= config.shards_share <= 1:
        raise InputError(
            f"data.shards_share={config.shards_share} is no share; give a number from 0 to 1."
        )
    stored = Shards(config.shards, config.split, config.seed, cache)
    alone = config.shards_share == 1
    _check_form(stored, config.sample, None if alone else config.shown)
    if alone:
        return stored
    return MixedPairs(stored, SyntheticPairs(config, cache), config.shards_share)


def _check_form(stored: Shards, sample: SampleConfig, shown: int | None) -> None:
    """Refuse a set whose views are not those the network, or the samples beside it, have."""
    form = stored.form["views"]
    have = {"views": form["views"], "size": tuple(form["size"]), "patch": stored.form["patch"]}
    want = {"views": shown or form["views"], "size": sample.views.size, "patch": sample.patch}
    if shown is not None:
        have["definition"], want["definition"] = stored.form["definition"], sample.definition
    for name, value in want.items():
        if have[name] != value:
            raise InputError(
                f"The samples of {stored.store.url} have {name}={have[name]} and those wanted {name}={value}; "
                "choose another preset or data.shown, or make a set that fits."
            )
