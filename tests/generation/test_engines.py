"""Workers that are really killed."""

import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from crossray.errors import InputError
from crossray.generation.engines import local


def square(task: int) -> int:
    return task * task


def dying_once(task: int, marks: Path) -> int:
    """The worker that takes task 3 is killed, the first time."""
    if task == 3 and not (marks / "died").exists():
        (marks / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def deadly(task: int) -> int:
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def failing(task: int) -> int:
    if task == 3:
        raise OSError("the disk is full")
    return task


def test_every_task_is_done_once():
    assert sorted(local(square, range(20), workers=2)) == [i * i for i in range(20)]
    assert list(local(square, [], workers=2)) == []


def test_a_killed_worker_is_replaced_and_its_task_done_again(tmp_path):
    results = list(local(partial(dying_once, marks=tmp_path), range(12), workers=2))
    assert sorted(results) == list(range(12))
    assert (tmp_path / "died").exists()


def test_a_worker_killed_between_tasks_loses_none():
    results = []
    for result in local(square, range(6), workers=1):
        results.append(result)
        if len(results) == 2:
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGKILL)
    assert sorted(results) == [i * i for i in range(6)]


def test_a_deadly_task_is_given_up_and_named():
    with pytest.raises(InputError, match="3 workers died over 3; look for want of memory"):
        list(local(deadly, range(8), workers=2))


def test_an_error_ends_it():
    with pytest.raises(OSError, match="the disk is full"):
        list(local(failing, range(6), workers=1))
