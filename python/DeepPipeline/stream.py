"""The last stage's values, for a caller that asks for them one by one instead of writing an end stage."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from DeepPipeline._checks import checked_wait
from DeepPipeline._engine import Report
from DeepPipeline._stage import Stage
from DeepPipeline.errors import ResultTimeout

if TYPE_CHECKING:
    from DeepPipeline.pipeline import Pipeline


class _Over:
    """The type of OVER."""


OVER = _Over()
"""The value handed over after the last one."""


LOOK_EVERY = 1.0
"""Seconds after which a caller that waits for a value looks whether Ctrl-C was pressed meanwhile."""


class HandOver(Stage):
    """The end stage of a stream: it has a value in flight until the consumer has asked for it."""

    def __init__(self, with_sample: bool = False, flows_out: bool = False) -> None:
        self._with_sample = with_sample
        self._flows_out = flows_out
        """True if a stop lets what is inside flow out, for the consumer to ask for later; else it is given up."""
        # Both are waited for in a way that Ctrl-C interrupts.
        self._values: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._given_up = False
        self._waits = True
        self.options(name="results" if flows_out else "stream", overflow="block", executor="thread")

    def stage_run(self, x: Any) -> Any:
        if self._given_up:
            return None
        self._values.put((self.sample, x) if self._with_sample else x)
        answer = x if self._flows_out else None
        del x
        while self._waits and not self._asked.get():
            if self.cancelled and self._takes_back():
                break
        return answer

    def teardown(self) -> None:
        self._values.put(OVER)

    def take(self, timeout: float | None = None) -> Any:
        """Waits for the next value; OVER after the last."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            # A signal that comes just before the wait begins is seen only when it ends.
            left = deadline - time.monotonic()
            try:
                value = self._values.get(timeout=max(0.0, min(LOOK_EVERY, left)))
                break
            except queue.Empty:
                if left <= 0:
                    raise ResultTimeout(f"no result within {timeout} s") from None
        if value is OVER:
            self._values.put(OVER)  # for whoever else asks
        else:
            self._asked.put(True)
        return value

    def close(self) -> None:
        """Ends the waiting for a consumer, which may be the one that stops the pipeline."""
        if self._flows_out:
            self._waits = False
            self._asked.put(True)
        else:
            self.give_up()

    def give_up(self) -> None:
        """Ends the asking: no value will be taken any longer."""
        self._given_up = True
        self._asked.put(True)

    def look(self) -> None:
        """Makes it look whether the value that it waits with was flushed."""
        self._asked.put(False)

    def _takes_back(self) -> bool:
        """Returns true if nobody gets the value that was handed over; false if somebody has it already."""
        try:
            self._values.get_nowait()
        except queue.Empty:
            return False
        return True


class Stream(Iterator[Any]):
    """The results that come out of a pipeline, in order; made by `Pipeline.stream`.

    A caller that stops early ends the pipeline: what is inside is discarded, and every `teardown` runs. `close` waits
    for that, as does the end of a `with`; where the iterator is just forgotten, as after a `break`, it happens in the
    background.
    """

    def __init__(self, pipeline: Pipeline, hand_over: HandOver) -> None:
        self._pipeline = pipeline
        self._hand_over = hand_over
        self._over = False

    def __next__(self) -> Any:
        """Waits for the next value. Raises `StageError` if a stage failed, after everything that came out before."""
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """Waits for the next value, at most `timeout` seconds: then it raises `ResultTimeout`, and may be asked again.

        After the last one it raises `StopIteration`, or the `StageError` that stopped the pipeline.
        """
        timeout = checked_wait("timeout", timeout)
        if self._over:
            raise StopIteration
        self._pipeline._started("next")  # in a forked child there is nobody to wait for
        try:
            value = self._hand_over.take(timeout)
            if value is not OVER:
                return value
            self._over = True
            self._pipeline.join()
        except ResultTimeout:
            raise
        except BaseException:  # Ctrl-C: a value may have got lost, so this is the end
            self.close()
            raise
        raise StopIteration

    def close(self) -> None:
        """Ends the pipeline, unless everything has come out: discards what is inside, as `abort` does."""
        if not self._over:
            self._over = True
            if self._pipeline._engine is not None:  # it is in a forked child
                self._pipeline.abort()

    def report(self) -> Report:
        """Returns a report of what happened to every sample up to now."""
        return self._pipeline.report()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_over", True):
            self._pipeline._request_abort()


class Results(Stream):
    """The results that come out of a pipeline while samples are put, in order; made by `Pipeline.results`."""
