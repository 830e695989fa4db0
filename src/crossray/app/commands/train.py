"""`crossray train matcher`: samples on the fly into a run folder that resumes."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from crossray.data.mixed import training_samples
from crossray.data.sample import SampleConfig
from crossray.data.studies import StudyData
from crossray.data.synthetic import SyntheticConfig
from crossray.errors import InputError
from crossray.geometry.views import ViewSampling
from crossray.recipes import train_matcher_recipe
from crossray.training.config import TrainConfig
from crossray.training.fit import fit_matcher

Data = TypeVar("Data", SyntheticConfig, StudyData)


def train_matcher(
    out: Path, ct: Path | None, preset: str, phantoms: int | None, words: list[str]
) -> None:
    """Train, or go on training, and say where the weights are."""
    config, data = resolved(ct, preset, phantoms, words)
    print(f"Preparing {data.shards or data.ct or 'phantoms'} ...", flush=True)
    samples = training_samples(data, out / "cache")
    print(f"{config.steps} steps of {config.batch} samples.", flush=True)
    print(fit_matcher(config, samples, out))


def resolved(
    ct: Path | None, preset: str, phantoms: int | None, words: list[str]
) -> tuple[TrainConfig, SyntheticConfig]:
    """The whole configuration of a run; its data stands in it too, so that a run resumes only with the same.

    Args:
        ct: Folder of CTs.
        preset: Size of the network.
        phantoms: Phantoms among the volumes; None leaves the preset's number.
        words: `section.option=value`; the sections are those of `TrainConfig`, and `data` those of `SyntheticConfig`.
            Size, patch and rays of the samples follow the matcher's form.

    Raises:
        InputError: An option that does not exist, a value it cannot take, or samples of another form than the matcher.
    """
    recipe = train_matcher_recipe(preset)
    of_data = [word for word in words if word.startswith(("data.", "data="))]
    config = recipe.changed([word for word in words if word not in of_data])
    form = config.matcher
    sample = SampleConfig(
        views=ViewSampling(size=form.image_size), patch=form.patch, thin=form.input_stride
    )
    default = SyntheticConfig(ct=str(ct) if ct else "", sample=sample)
    tree = _updated(plain(asdict(default)), recipe.data) | {"seed": config.seed}
    if phantoms is not None:
        tree["phantoms"] = phantoms
    config = config.model_copy(update={"data": tree}).changed(of_data)
    data = data_config(config.data, default)
    if (data.sample.views.size, data.sample.patch) != (form.image_size, form.patch):
        raise InputError(
            f"The samples (images of {data.sample.views.size}, patches of {data.sample.patch} pixels) are not what the "
            f"matcher takes ({form.image_size}, {form.patch}); set matcher.image_size and matcher.patch alone."
        )
    return config, data


def data_config(tree: dict[str, Any], default: Data) -> Data:
    """The configuration of the data from plain values.

    Raises:
        InputError: An option that does not exist, or a value it cannot take.
    """
    if unknown := _names(tree) - _names(plain(asdict(default))):
        raise InputError(
            f"data.{min(unknown)} is no option of the data; see the run's config.yaml."
        )
    try:
        return TypeAdapter(type(default)).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(["data", *map(str, first["loc"])])
        raise InputError(f"{option} is unfit: {first['msg'].rstrip('.')}.") from error


def _updated(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A nested dictionary with some of its leaves changed."""
    inner = {
        name: _updated(tree[name], value) if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    return {**tree, **inner}


def _names(tree: dict[str, Any], prefix: str = "") -> set[str]:
    """Dotted names of all options of a nested dictionary."""
    names: set[str] = set()
    for name, value in tree.items():
        names |= _names(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
    return names


def plain(value: Any) -> Any:
    """The same nested value with lists for tuples, as YAML writes it."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value
