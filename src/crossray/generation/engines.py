"""Who makes the shards: processes of this machine, which may be killed at any moment."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

from crossray.errors import InputError

LIVES = 3
"""Workers a task may cost before it is given up; a task that kills its worker would kill them all."""

Task = TypeVar("Task", bound=Hashable)
Result = TypeVar("Result")
Engine = Callable[[Callable[[Task], Result], Iterable[Task]], Iterator[Result]]
"""Does tasks, in any order, and gives their results as they come; an error of a task ends it."""


def local(work: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Do tasks by processes of this machine, one thread each; a killed one is replaced and its task done again.

    The processes end with this one, however it ends, and when the caller stops listening.

    Args:
        work: What to do with a task; picklable, and without harm if done twice.
        tasks: Picklable; at most two a worker are taken ahead.
        workers: Processes.

    Raises:
        InputError: A task cost three workers.
    """
    waiting, lost = iter(tasks), Counter[Task]()
    again: list[Task] = []
    while again or (again := list(islice(waiting, 1))):
        ours, theirs = get_context("spawn").Pipe()
        pool = ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=_end_with, initargs=(theirs,)
        )
        running: dict[Future[Result], Task] = {}
        try:
            while True:
                free = max(0, 2 * workers - len(running) - len(again))
                running |= {
                    pool.submit(work, task): task for task in [*again, *islice(waiting, free)]
                }
                again = []
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield future.result()
                    del running[future]
        except BrokenProcessPool:
            again = list(running.values())
            lost.update(again)
            worst, deaths = lost.most_common(1)[0]
            if deaths >= LIVES:
                raise InputError(
                    f"{LIVES} workers died over {worst}; look for want of memory, or give fewer --workers."
                ) from None
        finally:
            if running:
                ours.close()
            pool.shutdown(wait=True, cancel_futures=True)
            ours.close()
            theirs.close()


def _end_with(parent: Connection) -> None:
    """In a worker: end at once when the other end of a pipe is closed, as it is when the driver dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver alone answers the terminal

    def watch() -> None:
        try:
            parent.recv()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
