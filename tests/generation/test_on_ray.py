"""Ray on this machine, and several nodes as processes of it, one of which is killed."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from crossray.errors import InputError
from crossray.files import sha256
from crossray.generation.driver import generate
from crossray.generation.on_ray import on_ray
from crossray.generation.verify import verify

ray = pytest.importorskip("ray", reason="needs pip install 'crossray[ray]'")
pytestmark = pytest.mark.filterwarnings("ignore")


def cautious(task: int) -> int:
    if task == 3:
        raise OSError("the disk is full")
    return task * task


def deadly(task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return task


def test_ray_on_this_machine():
    assert sorted(on_ray(cautious, [0, 1, 2, 4])) == [0, 1, 4, 16]
    with pytest.raises(OSError, match=r"^the disk is full$"):
        list(on_ray(cautious, range(6)))
    with pytest.raises(InputError, match="Ray lost 3 workers"):
        list(on_ray(deadly, [0]))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere"])
def test_no_cluster_there(address):
    with pytest.raises(InputError, match=f"No Ray cluster answers at {address} "):
        list(on_ray(cautious, [0], address=address))


def contents(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): sha256(file) for file in files}


def test_a_killed_node_costs_nothing(config, tmp_path):
    from ray.cluster_utils import Cluster

    generate(config, tmp_path / "calm", tmp_path / "cache", map)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()
        done = []

        def engine(work, tasks):
            for result in on_ray(partial(slow, work), tasks, address=cluster.address):
                done.append(result)
                if len(done) == 5:  # three CTs looked at, two shards made
                    cluster.remove_node(nodes[0], allow_graceful=False)
                yield result

        generate(config, tmp_path / "set", tmp_path / "cache", engine)
    finally:
        cluster.shutdown()
    assert verify(tmp_path / "set") == []
    assert contents(tmp_path / "set") == contents(tmp_path / "calm")


def slow(work, task):
    """A task that a killed node leaves unfinished."""
    time.sleep(0.3)
    return work(task)
