from pathlib import Path

import pytest

from crossray.data.store import Store
from crossray.errors import InputError


@pytest.fixture(params=["here", "memory"])
def store(request, tmp_path: Path) -> Store:
    return Store(tmp_path / "set" if request.param == "here" else f"memory://{tmp_path}/set")


def test_write_read_list(store):
    assert store.read("a.txt") is None
    assert store.sizes("deep") == {}
    store.write("a.txt", b"one")
    store.write("deep/b.txt", b"four")
    store.write("a.txt", b"other")
    assert store.read("a.txt") == b"other"
    assert store.sizes("deep") == {"b.txt": 4}


def test_a_failed_write_leaves_nothing(store):
    store.write("a.txt", b"old")

    def fail():
        with store.written("a.txt") as partial:
            partial.write_bytes(b"half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert store.read("a.txt") == b"old"
    assert store.sizes("") == {"a.txt": 3}


def test_an_object_store_keeps_what_came_first(tmp_path):
    store = Store(f"memory://{tmp_path}")

    def put(content):
        with store.written("a.tar", once=True) as partial:
            partial.write_bytes(content)

    put(b"first")
    with pytest.raises(FileExistsError):
        put(b"second")
    assert store.read("a.tar") == b"first"
    store.delete("a.tar")
    assert store.read("a.tar") is None


def test_fetching(store, tmp_path):
    store.write("deep/a.tar", b"one")
    for _ in range(2):
        assert store.fetched("deep/a.tar", tmp_path / "cache").read_bytes() == b"one"
    if store.local is None:
        with pytest.raises(InputError, match="name a folder to keep its shards"):
            store.fetched("deep/a.tar", None)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(InputError, match="carrier://pigeon cannot be reached"):
        Store("carrier://pigeon")
