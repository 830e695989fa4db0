"""Samples in tar files: the layout of WebDataset, the same bytes for the same samples, any sample by its number.

A sample `KEY` has the members `KEY.0.png`, `KEY.1.png`, ... (views, 16 bits), `KEY.matrix.npz` (for every two views
k < l the pairs of patches that match at all: `start` says where those of each two views begin in
`index` = p * patches + q and `value`, half precision) and `KEY.json` (cameras, where it came from, and what reproduces
it).
"""

import io
import json
import tarfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from crossray.data.sample import Sample
from crossray.data.store import Store
from crossray.errors import InputError
from crossray.files import sha256

GREYS = 65535
MANIFEST = "manifest.json"


def encode(sample: Sample, about: dict[str, Any]) -> dict[str, bytes]:
    """A sample as members of a shard; `about` joins the cameras in its json."""
    pixels = (sample.images * GREYS).round().to(torch.int32).numpy().astype(np.uint16)
    members = {f"{view}.png": _png(image) for view, image in enumerate(pixels)}
    views, _, patches, _ = sample.correspondence.shape
    first, second = np.triu_indices(views, 1)
    matrix = sample.correspondence.numpy()[first, second].reshape(len(first), -1).astype(np.float16)
    pair, index = np.nonzero(matrix)
    members["matrix.npz"] = _npz(
        start=np.searchsorted(pair, np.arange(len(first))).astype(np.uint32),
        index=index.astype(np.uint16 if patches**2 <= 2**16 else np.uint32),
        value=matrix[pair, index],
    )
    cameras = {
        name: getattr(sample.cameras, name).tolist()
        for name in ("source", "first_pixel", "column_step", "row_step")
    }
    words = {**about, "patches": patches, "cameras": {**cameras, "size": sample.cameras.size}}
    members["json"] = json.dumps(words, sort_keys=True).encode()
    return members


def decode(members: dict[str, bytes]) -> dict[str, Tensor]:
    """`images` (view, row, column) in [0, 1] and `correspondence` (view, view, patch, patch) of a sample's members.

    Raises:
        ValueError: Members that are missing or damaged.
    """
    try:
        return _decoded(members)
    except Exception as error:  # whatever a damaged byte provokes in four decoders
        raise ValueError(f"a sample is damaged ({type(error).__name__}: {error})") from error


def _decoded(members: dict[str, bytes]) -> dict[str, Tensor]:
    about = json.loads(members["json"])
    views, patches = len(about["cameras"]["source"]), about["patches"]
    films = [Image.open(io.BytesIO(members[f"{view}.png"])) for view in range(views)]
    with np.load(io.BytesIO(members["matrix.npz"])) as kept:
        start, index, value = kept["start"], kept["index"], kept["value"]
    first, second = np.triu_indices(views, 1)
    matrix = np.zeros((len(first), patches * patches), np.float32)
    matrix[np.repeat(np.arange(len(first)), np.diff(start, append=len(index))), index] = value
    blocks = torch.from_numpy(matrix).unflatten(1, (patches, patches))
    correspondence = torch.zeros(views, views, patches, patches)
    correspondence[first, second], correspondence[second, first] = blocks, blocks.mT
    images = np.stack([np.asarray(film, np.float32) for film in films])
    return {"images": torch.from_numpy(images) / GREYS, "correspondence": correspondence}


def write_shard(path: Path, samples: Iterable[tuple[str, dict[str, bytes]]]) -> str:
    """Write samples, each a key and its members, to a tar file that depends on nothing else.

    Returns:
        The file's SHA-256.
    """
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples:
            for name, content in members.items():
                header = tarfile.TarInfo(f"{key}.{name}")
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))
    return sha256(path)


def members_of(path: Path) -> tuple[dict[str, tuple[int, int]], ...]:
    """Where each sample's members stand in a shard: name to offset and size in bytes.

    Raises:
        ValueError: A file that is no whole tar.
    """
    try:
        return _members_of(path, path.stat().st_mtime_ns)
    except (tarfile.TarError, OSError) as error:
        raise ValueError(f"it is no whole tar file: {error}") from error


@lru_cache(maxsize=64)
def _members_of(path: Path, _written: int) -> tuple[dict[str, tuple[int, int]], ...]:
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    with tarfile.open(path, "r:") as tar:
        for header in tar:
            key, _, name = header.name.partition(".")
            samples.setdefault(key, {})[name] = (header.offset_data, header.size)
    return tuple(samples.values())


def read_sample(path: Path, number: int) -> dict[str, Tensor]:
    """A sample of a shard, as `decode` gives it.

    Raises:
        ValueError: A file that is no whole tar, has no such sample, or holds a damaged one.
    """
    samples = members_of(path)
    if number >= len(samples):
        raise ValueError(f"it has {len(samples)} samples, none of number {number}")
    members = {}
    with path.open("rb") as file:
        for name, (offset, size) in samples[number].items():
            file.seek(offset)
            members[name] = file.read(size)
    return decode(members)


class Shards(Dataset[dict[str, Tensor]]):
    """A generated set, endlessly: index i is one sample, the same whoever asks and whenever.

    Each pass over the set takes the shards in a new order, and shuffles the samples of `together` shards at a time, so
    that a reader streams: it needs that many shards at once, and each but once a pass. Ranks and workers that share
    the indices share the samples, none of them twice.

    `form` is the `SampleConfig` of its samples, as plain values.

    Args:
        url: Folder of the set.
        split: Samples of this split alone, where the set has splits; None takes all.
        seed: Of the order.
        cache: Folder for the shards of a set that is not on this machine.
        together: Shards whose samples are shuffled together.

    Raises:
        InputError: No manifest there, or no sample of the split.
    """

    def __init__(
        self, url: str | Path, split: str | None = None, seed: int = 0, cache: Path | None = None,
        together: int = 16,
    ) -> None:  # fmt: skip
        self.store, self.seed, self.cache, self.together = Store(url), seed, cache, together
        manifest = read_manifest(self.store)
        splits = {each["split"] for each in manifest["shards"]} - {None}
        chosen = split if splits else None
        self.shards = [each for each in manifest["shards"] if chosen in (None, each["split"])]
        self.form = manifest["config"]["sample"]
        self._samples = np.array([each["samples"] for each in self.shards], int)
        if not self._samples.sum():
            raise InputError(
                f"{url} has no samples of split {split!r}; it has {', '.join(sorted(splits)) or 'none at all'}."
            )
        self._order = (-1, -1), np.empty(0)

    def __len__(self) -> int:
        return int(self._samples.sum())

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        visit, place = divmod(index, len(self))
        shards = np.random.default_rng([self.seed, visit]).permutation(len(self.shards))
        ends = np.cumsum(self._samples[shards])[self.together - 1 :: self.together]
        group = int(np.searchsorted(ends, place, side="right"))
        if self._order[0] != (visit, group):
            chosen = shards[group * self.together : (group + 1) * self.together]
            places = np.array([(k, i) for k in chosen for i in range(self._samples[k])])
            shuffled = np.random.default_rng([self.seed, visit, group]).permutation(places)
            self._order = (visit, group), shuffled
        start = int(ends[group - 1]) if group else 0
        shard, sample = self._order[1][place - start].tolist()
        name, checksum = self.shards[shard]["name"], self.shards[shard]["sha256"]
        # By checksum: sets share a cache, and may be made anew.
        cache = None if self.cache is None else self.cache / checksum[:16]
        try:
            return read_sample(self.store.fetched(name, cache), sample)
        except (ValueError, OSError) as error:
            raise InputError(
                f"{name} of {self.store.url} cannot be read ({error}); crossray verify says which shards are sound."
            ) from error


def read_manifest(store: Store) -> dict[str, Any]:
    """What a generated set says of itself.

    Raises:
        InputError: No manifest, or none of ours.
    """
    try:
        content = store.read(MANIFEST)
    except OSError as error:
        raise InputError(
            f"{store.url} cannot be read ({error}); give the folder or URL of a set."
        ) from error
    if content is None:
        raise InputError(
            f"{store.url} holds no {MANIFEST}; give the folder of a set that crossray generate finished."
        )
    try:
        manifest = json.loads(content)
        for shard in manifest["shards"]:
            _ = shard["name"], shard["samples"], shard["split"], shard["sha256"], shard["bytes"]
        _ = manifest["config"]["sample"]["views"]["views"], manifest["config"]["sample"]["patch"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{store.url}/{MANIFEST} is no manifest of crossray generate; take it from the set's source again."
        ) from error
    return manifest


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=6)
    return out.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # pyright: ignore[reportArgumentType]: no array is called allow_pickle
    return out.getvalue()
