"""The signals of a worker process: what a terminal or a service manager sends to every process of a program is for the
pipeline's process to decide about, which may drain. The worker still has work to do then, and ends by its lifeline."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from DeepPipeline import _engine

_forking = threading.local()
"""The state of the thread that forks: its mask, and whether the fork is a worker."""


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Blocks signals while a worker is started: it inherits the mask, so none ends it before it leaves them to the
    program."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _engine.left_to_the_program())
    _forking.worker = True
    try:
        yield
    finally:
        _forking.worker = False
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def leave_to_the_program() -> None:
    """Makes those signals do nothing from now on; called in a worker process, first of all and on its main thread."""
    # A fork has the program's handlers, and wakes the program's event loop.
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    # By handlers in Rust: what is ignored, a program that a stage starts would ignore too; and Python's own handlers
    # would interrupt the system calls of a stage.
    _engine.leave_to_the_program()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _engine.left_to_the_program())
    os.register_at_fork(before=_hold_back, after_in_parent=_let_come, after_in_child=_as_in_a_program)


def _hold_back() -> None:
    # What is sent to the fork at once, as by `terminate()`, must not meet the handlers that do nothing.
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _engine.left_to_the_program())


def _let_come() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _as_in_a_program() -> None:
    """Lets a process that a stage has forked end by signals, unless it is a worker of an inner pipeline."""
    if not getattr(_forking, "worker", False):
        for number in _engine.left_to_the_program():
            # Python does not see the handlers in Rust; others are the stage's own.
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _let_come()
