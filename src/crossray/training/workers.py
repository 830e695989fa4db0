"""How the processes start that make samples; without heavy imports, as each of them imports this file anew."""

import signal

START = "spawn"
"""A forked worker dies in its first parallel kernel once its parent ran one: threads of numba do not survive a fork."""


def ignore_interrupt(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; the training process alone answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
