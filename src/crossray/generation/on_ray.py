"""Shards made by a Ray cluster, or by Ray on this machine; the only file that knows Ray."""

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from crossray.errors import InputError
from crossray.generation.engines import LIVES, Result, Task


def on_ray(
    work: Callable[[Task], Result], tasks: Iterable[Task], address: str | None = None
) -> Iterator[Result]:
    """Do tasks by Ray, one core each; those of a lost worker or node are done again elsewhere.

    Args:
        work: What to do with a task; picklable, and without harm if done twice.
        tasks: Picklable; at most two a core are taken ahead.
        address: Of a running cluster; None starts Ray on this machine and ends it.

    Raises:
        InputError: Ray is not installed, no cluster answers, or a task cost three workers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from ray.exceptions import RayError, RayTaskError
    except ImportError as error:
        raise InputError("Ray is not installed; run pip install 'crossray[ray]'.") from error
    try:
        if address not in (None, "auto"):
            _knock(address)
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"No Ray cluster answers at {address} ({error}); give the HOST:PORT that ray start printed."
        ) from error
    try:
        waiting, remote = iter(tasks), ray.remote(num_cpus=1, max_retries=LIVES - 1)(_done)
        kept = ray.put(work)
        running: list[ray.ObjectRef] = []
        while True:
            ahead = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
            running += [
                remote.remote(kept, task) for task in islice(waiting, max(0, ahead - len(running)))
            ]
            if not running:
                return
            done, running = ray.wait(running)
            yield ray.get(done[0])
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise InputError(
            f"Ray lost {LIVES} workers over a task ({type(error).__name__}); look for want of memory."
        ) from error
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Fail at once where nobody listens; Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    socket.create_connection((host, int(port)), timeout=10).close()


def _done(work: Callable[[Task], Result], task: Task) -> Result:
    return work(task)
