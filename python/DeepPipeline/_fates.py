"""The samples that did not come through, told to the program as they end, on a thread of their own."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from DeepPipeline import _engine
from DeepPipeline._called import must_be_awaited
from DeepPipeline._checks import what
from DeepPipeline.errors import GraphError

logger = logging.getLogger("DeepPipeline")

Fate = Literal[
    "dropped_oldest",
    "dropped_newest",
    "superseded",
    "expired",
    "discarded",
    "flushed",
    "absorbed",
    "windowed",
    "skipped",
    "failed",
    "lost",
]

LOG_EVERY = 60.0
"""The shortest time between two records about a function that raises, in seconds."""


class Told:
    """A record about something that goes wrong again and again, once in `LOG_EVERY` at most."""

    def __init__(self) -> None:
        self._untold = 0
        self._told_at: float | None = None

    def tell(self, message: str, *arguments: object, error: BaseException | None = None) -> None:
        """Logs the message, whose first number is how often it went wrong since it was logged last."""
        self._untold += 1
        now = time.monotonic()
        if self._told_at is not None and now - self._told_at < LOG_EVERY:
            return
        untold, self._untold, self._told_at = self._untold, 0, now
        # Neither a handler that fails nor an exception that cannot be shown may end the thread, whatever they raise.
        with contextlib.suppress(BaseException):
            logger.error(message, untold, *arguments, exc_info=error)


@dataclass(frozen=True, slots=True)
class FateEvent:
    """One sample that did not come through."""

    number: int
    """The number of its `put`, from 1."""
    part: int
    """Its part where a stage made many of one sample, else 0."""
    source: str | None
    """The source or entrance that it came from, if that has a name."""
    stage: str
    """The stage in front of which, or in which, it ended. A buffer between a branch and its join, as there is where the
    branch ends in several workers, is named "join of branch 1": the report counts what ends there as unjoined."""
    fate: Fate
    """The way in which it ended, by the counter of the report that has counted it. A "windowed" one is kept for a later
    list, and counted once it is known what became of it."""
    error: BaseException | None
    """The exception of the stage that failed on it."""
    value: Any
    """The value, where it is still there: that of a sample which waited between threads. Otherwise None."""


OnFate = Callable[[FateEvent], object]


def checked_on_fate(on_fate: object) -> OnFate | None:
    """Returns it if it can be called."""
    if on_fate is not None and not callable(on_fate):
        raise GraphError(f"on_fate is {what(on_fate)}, but must be a function that gets a FateEvent")
    if must_be_awaited(on_fate):
        raise GraphError(
            "on_fate is async, but is called and not awaited: write a function that calls "
            "asyncio.run_coroutine_threadsafe(..., loop)"
        )
    return on_fate


class Fates:
    """A thread that calls the program's function, from the start: an interpreter that exits may start none.

    Before it, it hands each event to who keeps dead letters.
    """

    def __init__(self, engine: _engine.Engine, on_fate: OnFate | None, keep: OnFate | None) -> None:
        # It must not keep the pipeline alive, only what it needs of it.
        arguments = (engine, on_fate, keep)
        self._thread = threading.Thread(target=_tell_all, args=arguments, name="on_fate", daemon=True)
        self._thread.start()
        engine.keep_fates(only_failures=on_fate is None)

    def wait(self) -> None:
        """Waits for its end, which comes once every worker has ended and the function has had all events."""
        if self._thread is not threading.current_thread():
            self._thread.join()


def _tell_all(engine: _engine.Engine, on_fate: OnFate | None, keep: OnFate | None) -> None:
    raised = Told()
    while (facts := engine.next_fate()) is not None:
        event = FateEvent(*facts)  # type: ignore[arg-type]
        if keep is not None:
            keep(event)
        try:
            if on_fate is not None:
                on_fate(event)
        except BaseException as error:
            raised.tell("on_fate raised (%d times since this was logged last)", error=error)
        del facts, event  # a value is not kept alive while nothing comes
