"""Stages that are `async`: their calls are awaited on an event loop of the stage's own."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from DeepPipeline import _engine
from DeepPipeline._called import inside
from DeepPipeline._give import SKIP, check_finished
from DeepPipeline._intake import Window
from DeepPipeline._stage import CALLED, WORK, Options, Stage, Work, method_of, name_of, options_of
from DeepPipeline._threads import stack_of
from DeepPipeline.errors import GraphError

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger("DeepPipeline")

PATIENCE: Final = 0.5
"""The time that a call has to end once it is to be cancelled, in seconds, before it is told that it does not."""


def is_async(stage: Stage) -> bool:
    """Returns true if one of the methods that a worker calls is to be awaited."""
    return any(_is_async(method_of(stage, name)) for name in CALLED)


def _is_async(function: Any) -> bool:
    function = inside(function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def check_concurrency(stage: Stage) -> None:
    """Refuses a `concurrency` that would have no effect, or cannot be."""
    options = options_of(stage)
    if options.concurrency == 1:
        return
    said = f"{name_of(stage)} has concurrency={options.concurrency}"
    if not is_async(stage):
        raise GraphError(f"{said}, but is not async: write `async def stage_run`, or give it workers")
    for option, number in (("workers", options.workers), ("max_workers", options.most_workers)):
        if number > 1:
            raise GraphError(f"{said} and {option}={number}: leave one of the two out")
    if options.executor == "process":
        raise GraphError(
            f"{said}, which is awaited in the pipeline's own process: leave out executor='process', or the "
            "concurrency, and give it workers"
        )
    if isinstance(options.intake, Window):
        raise GraphError(f"{said}, but a window is kept by one call after the other: leave out concurrency")


def as_the_engine_sees(stage: Stage) -> Options:
    """Returns the options of a stage for the engine, to which the calls that an async stage awaits are workers."""
    options = options_of(stage)
    if not is_async(stage):
        return options
    # What is late is cancelled on the loop.
    return replace(options, workers=max(options.workers, options.concurrency), time_limit=None)


NOT_RUN: Final = object()
"""The result of a `setup` that was cancelled before it has begun."""


class LoopStage(Stage):
    """An async stage as its workers see it: a call returns once its coroutine has, on the stage's one loop.

    All workers of the stage share it. The first sets it up, and the last finishes it and tears it down.
    """

    def __init__(self, stage: Stage, workers: int, time_limit: float | None) -> None:
        self._stage = stage
        self._workers = workers
        self._time_limit = time_limit
        self._counting = threading.Lock()
        self._up: Future[bool] | None = None
        """Becomes true once the stage is set up, and false if that fails."""
        self._users = 0
        self._is_down = False
        """True once the last of those that use it has torn it down; a worker that is late for that finds it so."""
        self._finished = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_cancelled = False
        vars(self)["_deeppipeline_options"] = options_of(stage)

    def setup(self) -> None:
        with self._counting:
            self._users += 1
            is_first = self._up is None
            up = self._up = self._up or Future()
        if not is_first:
            up.result()  # what went wrong is told by the first
            return
        has_run = False
        try:
            self._start_loop()
            result = self._wait_for("setup", None)
            check_finished("setup", result)
            has_run = result is not NOT_RUN
        finally:
            if not has_run:
                self._end_loop()
            up.set_result(has_run)

    def stage_run(self, x: Any) -> Any:
        return self._wait_for("stage_run", self._time_limit, x)

    def update(self, *_: Any, **values: Any) -> None:
        # Every worker is told, and the stage is one.
        if _engine.worker_index() == 0 or self._workers == 1:
            self._wait_for("update", None, **values)
            if self._is_cancelled:
                raise RuntimeError("the pipeline is aborted, and what was awaited is cancelled")

    def finish(self) -> Any:
        with self._counting:
            self._finished += 1
            is_last = self._finished == self._workers
        return self._wait_for("finish", None) if is_last else None

    def teardown(self) -> None:
        with self._counting:
            self._users -= 1
            is_last = self._users == 0 and not self._is_down
            self._is_down |= is_last
        assert self._up is not None
        if is_last and self._up.result():
            try:
                check_finished("teardown", self._wait_for("teardown", None))
            finally:
                self._end_loop()

    def cancel(self) -> None:
        """Cancels what is awaited, since the pipeline gives up what comes of it. Called from other threads."""
        self._is_cancelled = True
        self._tell(self._cancel_all)

    def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _start_loop(self) -> None:
        import asyncio  # it takes a while, and whoever has a coroutine has it

        self._loop = asyncio.new_event_loop()
        job = _engine.Job()
        name = f"loop of {name_of(self._stage)}"
        self._thread = threading.Thread(target=self._run_loop, args=(self._loop, job), name=name, daemon=True)
        self._thread.start()

    def _run_loop(self, loop: asyncio.AbstractEventLoop, job: _engine.Job) -> None:
        import asyncio

        job.adopt()  # what the coroutines ask of their pipeline, one of its own stages asks
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    def _end_loop(self) -> None:
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            self._tell(loop.stop)
            thread.join()  # until the stage's own tasks, which are cancelled, have ended

    def _tell(self, call: Callable[[], object]) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(call)

    def _wait_for(self, method: str, time_limit: float | None, *arguments: Any, **values: Any) -> Any:
        """Lets the loop make a call of the stage, and waits for what comes of it."""
        outcome: Future[Any] = Future()
        context, job = copy_context(), _engine.Job()
        # Concurrent calls are one worker's to the stage.
        context.run(WORK.set, Work(job, 0 if self._workers > 1 else None))
        loop = self._loop
        assert loop is not None

        begun = None if time_limit is None else threading.Event()

        def begin() -> None:
            run = functools.partial(method_of(self._stage, method), *arguments, **values)
            call = self._call(run, time_limit, begun, outcome)
            task = loop.create_task(call, context=context)
            if method != "teardown":
                self._tasks.add(task)
                task.add_done_callback(over)
                if self._is_cancelled:
                    task.cancel()

        def over(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if begun is not None:
                begun.set()
            if not outcome.done():  # cancelled before it has begun
                outcome.set_result(NOT_RUN if method == "setup" else SKIP)

        loop.call_soon_threadsafe(begin)
        if begun is not None and time_limit is not None:
            # What waits for the loop is not late: another keeps it from there.
            begun.wait()
            if not wait([outcome], time_limit + PATIENCE).done:
                self._tell_stuck(job, time_limit)
        return outcome.result()

    def _tell_stuck(self, job: _engine.Job, time_limit: float) -> None:
        """Says that a call is late and has not been cancelled, as its coroutine blocks the loop or will not end."""
        # A log handler that fails is no failure of the sample.
        with contextlib.suppress(Exception):
            logger.warning(
                "stage %r hangs: sample %s has taken longer than its time_limit of %g s, and its loop has not "
                "cancelled it%s",
                name_of(self._stage),
                None if job.sample is None else job.sample[0],
                time_limit,
                stack_of(self._thread),
            )

    async def _call(
        self, run: Callable[[], Any], limit: float | None, begun: threading.Event | None, outcome: Future[Any]
    ) -> None:
        import asyncio

        if begun is not None:
            begun.set()

        timeout = asyncio.timeout(limit)
        try:
            async with timeout:
                result = run()
                if inspect.iscoroutine(result):
                    result = await result
            outcome.set_result(result)
        except asyncio.CancelledError as error:
            if self._is_cancelled:
                outcome.set_result(SKIP)
            else:
                outcome.set_exception(error)
        except BaseException as error:  # whatever it is, the worker tells
            if timeout.expired() and isinstance(error, TimeoutError):
                error = TimeoutError(f"it took longer than its time_limit of {limit:g} s, and was cancelled")
            outcome.set_exception(error)


class Loops:
    """The async stages of a pipeline on threads."""

    def __init__(self) -> None:
        self._stages = weakref.WeakSet[LoopStage]()
        """Those that workers have; one that another stage has replaced is gone with what it has loaded."""

    def workers(self, stage: Stage, options: Options) -> list[Stage]:
        """Returns what the workers of an async stage run, one entry per worker."""
        if options.most_workers > 1:
            return [self.worker(stage, options) for _ in range(options.workers)]
        shared = LoopStage(stage, options.concurrency, options.time_limit)
        self._stages.add(shared)
        return [shared] * options.concurrency

    def worker(self, stage: Stage, options: Options) -> Stage:
        """Returns what one of several workers of an async stage runs."""
        own = LoopStage(copy.copy(stage), 1, options.time_limit)
        self._stages.add(own)
        return own

    def cancel(self) -> None:
        """Cancels what they await, since the pipeline gives up what comes of it."""
        for stage in [*self._stages]:
            stage.cancel()
