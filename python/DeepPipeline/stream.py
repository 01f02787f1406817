"""The last stage's values, for a caller that asks for them one by one instead of writing an end stage."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
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


NOTHING = _Over()
"""Stands for a value that has not come yet."""


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
        self._wakes: list[Callable[[], None]] = []
        """Called when a value has come: what wakes the coroutines that wait for one."""
        self.options(name="results" if flows_out else "stream", overflow="block", executor="thread")

    def stage_run(self, x: Any) -> Any:
        if self._given_up:
            return None
        self._hand_over((self.sample, x) if self._with_sample else x)
        answer = x if self._flows_out else None
        del x
        while self._waits and not self._asked.get():
            if self.cancelled and self._takes_back():
                break
        return answer

    def teardown(self) -> None:
        self._hand_over(OVER)

    def _hand_over(self, value: Any) -> None:
        self._values.put(value)
        for wake in [*self._wakes]:
            wake()

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
        self._has_taken(value)
        return value

    def _has_taken(self, value: Any) -> None:
        if value is OVER:
            self._values.put(OVER)  # for whoever else asks
        else:
            self._asked.put(True)

    async def atake(self) -> Any:
        """Waits for the next value, as `take` does, while the loop goes on. A coroutine that is cancelled took none."""
        import asyncio  # it takes a while, and whoever awaits has it

        from DeepPipeline import _loops

        while (value := self._take_now()) is NOTHING:
            came = asyncio.get_running_loop().create_future()
            wake = _loops.waker(came)
            self._wakes.append(wake)
            try:
                # One may have come before it was said whom to wake.
                if (value := self._take_now()) is not NOTHING:
                    break
                await came
            finally:
                self._wakes.remove(wake)
        return value

    def _take_now(self) -> Any:
        try:
            value = self._values.get_nowait()
        except queue.Empty:
            return NOTHING
        self._has_taken(value)
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


class Stream(Iterator[Any], AsyncIterator[Any]):
    """The results that come out of a pipeline, in order; made by `Pipeline.stream`.

    A caller that stops early ends the pipeline: what is inside is discarded, and every `teardown` runs. `close` waits
    for that, as does the end of a `with`; where the iterator is just forgotten, as after a `break`, it happens in the
    background.
    """

    def __init__(self, pipeline: Pipeline, hand_over: HandOver) -> None:
        self._pipeline = pipeline
        self._hand_over = hand_over
        self._over = False
        self._end: Future[Report] | None = None
        """The end of the pipeline, which a coroutine waits for."""

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

    async def __anext__(self) -> Any:
        """Waits for the next value as `next` does, while the loop goes on. One that is cancelled loses no value."""
        if self._over:
            raise StopAsyncIteration
        self._pipeline._started("anext")
        value = await self._hand_over.atake()
        if value is not OVER:
            return value
        from DeepPipeline import _loops

        if self._end is None:
            self._end = _loops.on_a_thread("join", self._pipeline.join)
        await _loops.until_done(self._end)
        self._over = True
        self._end.result()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Ends the pipeline as `close` does, while the loop goes on."""
        from DeepPipeline import _loops

        await _loops.result_of(_loops.on_a_thread("abort", self.close))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

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
