"""The end of pipelines that are still open when the interpreter exits: they are drained."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from DeepPipeline import _aside, _end_of_main

if TYPE_CHECKING:
    from DeepPipeline.pipeline import Pipeline

PATIENCE = 5.0
"""Seconds in which no stage was done with anything, after which a pipeline is aborted."""

_open: weakref.WeakSet[Pipeline] = weakref.WeakSet()

_main_file: str | None = None
"""The file of the program, by which a worker process that is started again finds its stages."""


def watch(pipeline: Pipeline) -> None:
    """Remembers a pipeline without keeping it alive."""
    global _main_file
    _main_file = getattr(sys.modules.get("__main__"), "__file__", _main_file)
    _open.add(pipeline)
    _end_of_main.before_exit(_drain_all)


def _drain_all() -> None:
    main = sys.modules.get("__main__")
    if main is not None and _main_file is not None and not hasattr(main, "__file__"):
        main.__file__ = _main_file  # the interpreter takes it away when the program's last line has run
    lost = [pipeline for pipeline in list(_open) if not pipeline._drain_at_exit(PATIENCE)]
    if lost:
        _end_with_an_error()


class _Failing:
    """A stream of which the interpreter believes that it cannot be flushed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def flush(self) -> None:
        self._stream.flush()
        try:
            sys._getframe(1)
        except ValueError:  # called by the interpreter itself, not by a handler of a log or by the program
            raise OSError("samples were lost at the end of the program, as was said before") from None


def _end_with_an_error() -> None:
    """Makes the exit code 120, the only one that an interpreter which exits already still takes: for "cannot flush".

    A program that an exception ends has an exit code that says so.
    """
    if sys.stderr is not None and not hasattr(sys, "last_value") and not isinstance(sys.stderr, _Failing):
        sys.stderr = _Failing(sys.stderr)


def _forget_all() -> None:
    for pipeline in list(_open):
        pipeline._forget()
    _open.clear()


_shutdown = threading._shutdown  # type: ignore[attr-defined]


def _drain_and_shut_down() -> None:
    try:
        _drain_all()
    finally:
        _shutdown()


# The first that an interpreter does when it exits, while daemon threads still run. What is registered with `threading`
# runs within it, the last one first: thread pools that a stage or one of its libraries made would be shut before.
threading._shutdown = _drain_and_shut_down  # type: ignore[attr-defined]
# What the drain says is said before `logging` ends.
atexit.register(_aside.end)
# Once more, for what threads that are not daemons have started since.
atexit.register(_drain_all)
# A forked child has the pipelines but none of their threads: it must not wait for them.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
