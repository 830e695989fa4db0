"""A folder for data sets, on this machine or in an object store: names to bytes, each written whole."""

import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from crossray.errors import InputError
from crossray.files import written_whole


class Store:
    """A folder that fsspec can reach.

    Args:
        url: A path, or a URL such as `s3://bucket/folder`.

    Raises:
        InputError: A URL whose protocol is unknown or whose library is not installed.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url).rstrip("/")
        try:
            self.fs, self.root = fsspec.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"{self.url} cannot be reached ({error}); give a folder or an fsspec URL."
            ) from error
        self.local = Path(self.root) if isinstance(self.fs, LocalFileSystem) else None

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every file in a folder; empty where there is none."""
        self.fs.invalidate_cache()
        try:
            with _reaching():
                found = self.fs.ls(self._path(folder), detail=True)
        except FileNotFoundError:
            return {}
        files = (each for each in found if each["type"] == "file")
        return {posixpath.basename(each["name"]): int(each["size"]) for each in files}

    def read(self, name: str) -> bytes | None:
        """What a file holds; None where there is none."""
        try:
            with _reaching():
                return self.fs.cat_file(self._path(name))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, whole or not at all; one that stands there is replaced."""
        with self.written(name) as partial:
            partial.write_bytes(content)

    @contextmanager
    def written(self, name: str, *, once: bool = False) -> Iterator[Path]:
        """A local file to write to, which becomes `name` when the block ends and vanishes when it fails.

        In a folder of this machine it is renamed from a name beside its own, to an object store sent as one object.

        Args:
            name: What to call it.
            once: An object store keeps the object that came first.

        Raises:
            FileExistsError: An object came first.
        """
        if self.local is not None:
            with written_whole(self.local / name) as partial:
                yield partial
            return
        with tempfile.TemporaryDirectory() as scratch:
            partial = Path(scratch) / posixpath.basename(name)
            yield partial
            with _reaching():
                self.fs.put_file(
                    str(partial), self._path(name), mode="create" if once else "overwrite"
                )

    def delete(self, name: str) -> None:
        """Take a file away."""
        with _reaching():
            self.fs.rm_file(self._path(name))

    def fetched(self, name: str, cache: Path | None) -> Path:
        """A local copy of a file, kept in `cache`; the file itself where the store is local.

        Raises:
            InputError: A remote store and no cache, or no such file.
        """
        if self.local is not None:
            return self.local / name
        if cache is None:
            raise InputError(
                f"{self.url} is not on this machine; name a folder to keep its shards."
            )
        kept = cache / name
        if not kept.exists():
            with written_whole(kept) as partial, _reaching():
                self.fs.get_file(self._path(name), str(partial))
        return kept

    def _path(self, name: str) -> str:
        return posixpath.join(self.root, name)


@contextmanager
def _reaching() -> Iterator[None]:
    """Within, whatever a store's library raises is an OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
