"""A network's file: tensors, form and words in one safetensors file; no pickle is ever loaded."""

import os
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from crossray.models.classifier import ClassifierConfig, ClassifierNetwork
from crossray.models.matcher import MatcherConfig, MatcherNetwork

Network = TypeVar("Network", MatcherNetwork, ClassifierNetwork)
FORMATS: dict[type, str] = {
    MatcherNetwork: "crossray matcher 2",
    ClassifierNetwork: "crossray classifier 1",
}
_FORMS = {MatcherNetwork: MatcherConfig, ClassifierNetwork: ClassifierConfig}


def save_network(
    path: Path | str,
    network: MatcherNetwork | ClassifierNetwork,
    metadata: dict[str, str],
    *,
    half: bool = False,
) -> None:
    """Write a network to one safetensors file, whole or not at all.

    Args:
        path: The file to write; replaced if it exists.
        network: A matcher or a classifier.
        metadata: Words to keep in the file (data, recipe, scores).
        half: Store matrices and filters as float16, which halves the file; statistics stay float32.
    """
    tensors = {name: _stored(value, half) for name, value in network.state_dict().items()}
    about = {"config": network.config.to_json(), "format": FORMATS[type(network)]}
    _write(Path(path), tensors, metadata | about)


def add_metadata(path: Path | str, out: Path | str, words: dict[str, str]) -> None:
    """Write a network's file once more with more words in it; its tensors stay as they are, bit for bit.

    Args:
        path: The file to read.
        out: The file to write, whole or not at all; may be the same.
        words: Added to the metadata, or put in place of what stood there.

    Raises:
        ValueError: As `load_network` says.
    """
    tensors, metadata = read_weights(Path(path))
    kinds = {name: kind for kind, name in FORMATS.items()}
    _built(Path(path), tensors, metadata, kinds.get(metadata.get("format", ""), MatcherNetwork))
    _write(Path(out), tensors, metadata | words)


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(save(tensors, metadata))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_network(
    path: Path | str, kind: type[Network] = MatcherNetwork
) -> tuple[Network, dict[str, str]]:
    """Read a network written by `save_network`; float32, in evaluation mode, on the CPU.

    Args:
        path: The safetensors file.
        kind: What it must hold, a matcher or a classifier.

    Returns:
        The network, and the metadata kept with it.

    Raises:
        ValueError: No such file, no safetensors file (a pickle is never loaded), another kind of network, or weights
            whose shapes are not those of the form they name.
    """
    tensors, metadata = read_weights(Path(path))
    network = _built(Path(path), tensors, metadata, kind)
    return network.eval(), {
        name: words for name, words in metadata.items() if name not in ("format", "config")
    }


def _built(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str], kind: Any) -> Any:
    """The network of a file that was read."""
    name = _FORMS[kind].KIND
    if metadata.get("format") != FORMATS[kind] or "config" not in metadata:
        raise ValueError(
            f"{path} is a safetensors file but holds no crossray {name}; give one made by `crossray train {name}`."
        )
    try:
        network = kind(_FORMS[kind].from_json(metadata["config"]))
        network.load_state_dict(
            {n: v.float() if v.is_floating_point() else v for n, v in tensors.items()}
        )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{path} holds weights of another shape than its {name} has; train or fetch it again ({reason})."
        ) from error
    return network


def _stored(value: Tensor, half: bool) -> Tensor:
    matrix = value.is_floating_point() and value.ndim >= 2
    return value.detach().to("cpu", torch.float16 if half and matrix else value.dtype).contiguous()


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and words of any safetensors file.

    Raises:
        ValueError: No such file, or no safetensors file.
    """
    if not path.is_file():
        raise ValueError(
            f"There is no weights file {path}; give the .safetensors file that training wrote."
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        kind = (
            "a pickle, which can run code and is never loaded"
            if _is_pickle(path)
            else "no safetensors file"
        )
        raise ValueError(
            f"{path} is {kind}; give the .safetensors file that training wrote."
        ) from error
    return tensors, metadata


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
