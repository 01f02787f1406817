"""The threads that drive a pipeline's workers: each owns what it is to run, until it runs it or the start fails."""

from __future__ import annotations

import functools
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from DeepPipeline._processes import Watch


class WorkerThread(threading.Thread):
    """A thread that drives a worker, or watches over its process."""

    def __init__(self, name: str, run: Callable[..., None], *arguments: Any, watch: Watch | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self.watch = watch
        self.drives: object = None
        """What it calls, where that is a source."""
        # Whoever takes it out has it: the thread, or a start that has failed.
        self._work = [functools.partial(run, *arguments)]

    def run(self) -> None:
        for work in self._taken():
            work()

    def give_up(self, error: BaseException) -> None:
        """Ends what the thread was to drive, unless it does so already."""
        if self._taken() and self.watch is not None:
            self.watch.give_up(error)

    def _taken(self) -> list[Callable[[], None]]:
        try:
            return [self._work.pop()]
        except IndexError:
            return []


def stack_of(thread: threading.Thread | None) -> str:
    """Returns the stack of a thread, to be shown below a message."""
    frame = None if thread is None or thread.ident is None else sys._current_frames().get(thread.ident)
    if frame is None:  # a native stage, or one that has gone on
        return ""
    return ". It is here:\n" + "".join(traceback.format_stack(frame)).rstrip()
