"""`--init`: what a classifier begins with."""

from pathlib import Path

from torch import Tensor

from crossray.errors import InputError
from crossray.matching.matcher import weights_path
from crossray.models.backbone import TrunkConfig, grey_stem
from crossray.models.classifier import ClassifierConfig, ClassifierNetwork, carry_over
from crossray.models.storage import read_weights

IMAGENET = "imagenet"
_HUB: dict[tuple[str, tuple[int, ...]], str] = {
    ("basic", (2, 2, 2)): "timm/resnet18.a1_in1k",
    ("basic", (3, 4, 6)): "timm/resnet34.a1_in1k",
    ("bottleneck", (3, 4, 6)): "timm/resnet50.a1_in1k",
}


def starting_weights(init: str, form: ClassifierConfig) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights a classifier begins with, and the words kept with them; prints one line of what fits it.

    Args:
        init: A bundled matcher's name, the folder of a run, a safetensors file (a matcher, a classifier, or a ResNet
            with timm's names), or `imagenet` for a ResNet of a hub; '' for none.
        form: Of the classifier.

    Raises:
        InputError: Weights that are not there, or of which nothing fits.
    """
    if not init:
        return {}, {}
    weights, words = _read(_imagenet(form.trunk) if init == IMAGENET else _file(init))
    network = ClassifierNetwork(form)
    carried = carry_over(network, weights)
    if not carried:
        raise InputError(
            f"Nothing of {init} fits this classifier; give weights of this preset's trunk."
        )
    print(
        f"From {init}: {_counted(carried)}; new: {_counted(set(network.state_dict()) - set(carried))}."
    )
    return weights, words


def _file(init: str) -> Path:
    run = Path(init) / "classifier.safetensors"
    return run if run.is_file() else weights_path(init)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        weights, words = read_weights(path)
    except ValueError as error:
        raise InputError(str(error)) from error
    if "conv1.weight" in weights:
        weights = {f"trunk.{name}": value for name, value in grey_stem(weights).items()}
    return weights, words


def _imagenet(trunk: TrunkConfig) -> Path:
    """The weights of the ResNet that a trunk is cut from, by way of a hub or its cache."""
    name = _HUB.get((trunk.block, trunk.depths)) if trunk.widths == (64, 128, 256) else None
    if name is None:
        raise InputError(
            "This classifier's trunk is no published ResNet; --init imagenet fits the presets paper and cnn."
        )
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(name, "model.safetensors"))
    except ImportError as error:
        raise InputError(
            "--init imagenet needs huggingface_hub; install it, or give a file."
        ) from error
    except Exception as error:  # a hub that cannot be reached fails in many ways
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{name} cannot be fetched ({reason}); give its safetensors file with --init FILE."
        ) from error


def _counted(names: "set[str] | list[str]") -> str:
    """Tensors by the part of the network they belong to."""
    parts = [name.split(".")[0] for name in names]
    return ", ".join(f"{part} {parts.count(part)}" for part in sorted(set(parts))) or "nothing"
