"""A thread that frees what a stop discards: its `__del__` is the user's and may wait, which the caller that stops a
pipeline must not."""

from __future__ import annotations

import threading

from DeepPipeline import _engine


class Discarded:
    """A thread that frees discarded values. It is there from the start: an interpreter that exits may start none."""

    def __init__(self, engine: _engine.Engine) -> None:
        # It must not keep the pipeline alive, only what it needs of it.
        self._thread = threading.Thread(target=_free_all, args=(engine,), name="discarded", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Waits for its end, which comes once every worker has ended and everything is freed."""
        if self._thread is not threading.current_thread():
            self._thread.join()


def _free_all(engine: _engine.Engine) -> None:
    while (discarded := engine.next_discarded()) is not None:
        objects = discarded.take()
        objects.reverse()
        while objects:
            objects.pop()
        discarded.freed()
