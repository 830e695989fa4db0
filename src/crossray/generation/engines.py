"""Who makes the shards: processes of this machine, which may be killed at any moment."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

from crossray.errors import InputError

LIVES = 3
"""Workers a task may cost before it is given up."""

Task = TypeVar("Task", bound=Hashable)
Result = TypeVar("Result")
Engine = Callable[[Callable[[Task], Result], Iterable[Task]], Iterator[Result]]
"""Does tasks, in any order, and gives their results as they come; an error of a task ends it."""


def local(work: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Do tasks by processes of this machine; a killed one is replaced, and its task, no other, done again.

    The processes end with this one, however it ends, and when the caller stops listening.

    Args:
        work: What to do with a task; picklable, and without harm if done twice.
        tasks: Picklable; taken as workers come free.
        workers: Processes.

    Raises:
        InputError: A task cost three workers.
    """
    waiting, again, lost = iter(tasks), list[Task](), Counter[Task]()
    ours, theirs = get_context("spawn").Pipe()
    idle: list[ProcessPoolExecutor] = []
    running: dict[Future[Result], tuple[Task, ProcessPoolExecutor]] = {}
    try:
        while True:
            free = workers - len(running) - len(again)
            for task in [*again, *islice(waiting, free)]:
                future, pool = _begun(work, task, idle, theirs)
                running[future] = task, pool
            again = []
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, pool = running[future]
                if isinstance(future.exception(), BrokenProcessPool):
                    again.append(task)
                    _count(lost, task)
                else:
                    yield future.result()
                    idle.append(pool)
                del running[future]
    finally:
        if running:
            ours.close()
        for pool in [*idle, *(pool for _, pool in running.values())]:
            pool.shutdown(wait=True, cancel_futures=True)
        ours.close()
        theirs.close()


def _begun(
    work: Callable[[Task], Result], task: Task, idle: list[ProcessPoolExecutor], parent: Connection
) -> tuple[Future[Result], ProcessPoolExecutor]:
    """A task given to a worker: an idle one that lives, or a new pool of one, so that a death is its own task's."""
    while idle:
        pool = idle.pop()
        with suppress(BrokenProcessPool):
            return pool.submit(work, task), pool
    pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_end_with, initargs=(parent,))
    return pool.submit(work, task), pool


def _count(lost: Counter[Task], task: Task) -> None:
    lost[task] += 1
    if lost[task] >= LIVES:
        raise InputError(
            f"{LIVES} workers died over {task}; look for want of memory, or give fewer --workers."
        )


def _end_with(parent: Connection) -> None:
    """In a worker: end at once when the other end of a pipe is closed, as it is when the driver dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver alone answers the terminal

    def watch() -> None:
        try:
            parent.recv()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
