"""The stage, which users write."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, NamedTuple, Self, SupportsIndex, TypeVar, get_args, overload

from DeepPipeline import _engine
from DeepPipeline._checks import (
    checked_count,
    checked_flag,
    checked_name,
    checked_number,
    checked_seconds,
    one_of,
)
from DeepPipeline._give import SKIP
from DeepPipeline._intake import All, Batch, Intake, Latest, Single, Window, checked_intake
from DeepPipeline.errors import GraphError

T = TypeVar("T")

Overflow = Literal["drop_oldest", "drop_newest", "block"]
OnCrash = Literal["skip", "retry", "stop"]
Executor = Literal["thread", "process"]

AfterAnError = Literal["stop", "skip"]

OVERFLOWS: tuple[Overflow, ...] = get_args(Overflow)
ON_CRASHES: tuple[OnCrash, ...] = get_args(OnCrash)
EXECUTORS: tuple[Executor, ...] = get_args(Executor)
AFTER_AN_ERROR: tuple[AfterAnError, ...] = get_args(AfterAnError)

MAX_RETRIES = (1 << 32) - 1


@dataclass(frozen=True)
class Retry:
    """The value that `retry` gives: for `options(on_error=...)`."""

    times: int
    then: AfterAnError


OnError = AfterAnError | Retry


def retry(times: SupportsIndex, then: AfterAnError = "stop") -> Retry:
    """Tells a stage that fails on a sample to try it again, `times` times at most: `options(on_error=retry(3))`.

    `then` is what happens when it has failed every time: "stop" stops the pipeline, "skip" counts the sample as failed
    and goes on. `stage_run` gets the same arguments once more; of what came from another process, fresh copies (so the
    arrays of a first try are read-only there). Parts of a `Many` that went on before it failed are left out.
    """
    number = checked_count("times", times, "tries")
    if number > MAX_RETRIES:
        raise GraphError(f"times is {number}, but must be a whole number of tries, at most {MAX_RETRIES}")
    return Retry(number, one_of("then", then, AFTER_AN_ERROR))


class Sample(NamedTuple):
    """The sample that a stage works on, as far as the stage may know it."""

    number: int
    """The number of its put, from 1."""
    part: int
    """Its part, from 1 for what came out of a Many or of `finish`; 0 for a sample that was never split."""
    birth: float
    """The time at which it was put, or at which the source handed it over, in seconds of `time.monotonic()`."""
    source: str | None = None
    """The name of the source or entrance that it came from; None where the pipeline has one without a name."""

    def age(self) -> float:
        """The seconds since its birth."""
        return time.monotonic() - self.birth


SINGLE = Single()
"""The intake of stages that do not say."""


@dataclass(frozen=True)
class Options:
    """The options of one stage."""

    name: str | None = None
    buffer_size: int | None = None
    buffer_bytes: int | None = None
    overflow: Overflow | None = None
    intake: Intake = SINGLE
    max_age: float | None = None
    workers: int = 1
    max_workers: int | None = None
    concurrency: int = 1
    ordered: bool = True
    executor: Executor | None = None
    on_error: OnError = "stop"
    on_crash: OnCrash | None = None
    max_restarts: int | None = None
    time_limit: float | None = None

    @property
    def most_workers(self) -> int:
        """The number of workers that there may be at the same time."""
        return self.workers if self.max_workers is None else self.max_workers


def options_of(stage: Stage) -> Options:
    """Returns the options of the stage, even where its `__init__` did not call `super().__init__()`."""
    found = vars(stage).get("_deeppipeline_options")
    return found if isinstance(found, Options) else Options()


def name_of(stage: Stage) -> str:
    """The stage's name in reports and errors: the option, else its class's name."""
    return options_of(stage).name or type(stage).__name__


CALLED = ("setup", "stage_run", "finish", "teardown")
"""The methods that a worker calls."""


def method_of(stage: Any, name: str) -> Callable[..., Any]:
    """The method of that name, also where the stage keeps something else in an attribute of that name."""
    found = getattr(stage, name)
    return found if callable(found) else getattr(type(stage), name).__get__(stage)  # type: ignore[no-any-return]


class Work:
    """What a coroutine of a stage works on, told by a worker that waits for it on another thread."""

    def __init__(self, job: _engine.Job, worker: int | None) -> None:
        self.job = job
        self.worker = job.worker if worker is None else worker


WORK: ContextVar[Work | None] = ContextVar("WORK", default=None)
"""The work of a coroutine; None on the thread of a worker, which the engine knows."""


class GivesWay(Generic[T]):
    """A property that gives way to an attribute of the same name that a user's stage has."""

    def __init__(self, ask: Callable[[Any], T]) -> None:
        self._ask = ask
        self.__doc__ = ask.__doc__

    @overload
    def __get__(self, stage: None, owner: type) -> Self: ...
    @overload
    def __get__(self, stage: object, owner: type) -> T: ...
    def __get__(self, stage: object, owner: type) -> Self | T:
        return self if stage is None else self._ask(stage)


class Stage:
    """One step of a pipeline: it gets a sample, works on it, and gives something back.

    Only `stage_run` has to be written. Everything runs on the stage's own worker, so a model is loaded in `setup`.
    Each method may be `async`: then all run on an event loop of the stage's own.
    An `__init__` of your own need not call `super().__init__()`, and attributes may have any names: one that is called
    `sample` or `options`, say, hides only what is here, and `Stage.options(stage, ...)` still reaches it.
    """

    _deeppipeline_native: _engine.NativeStage | None = None
    """The native stage, where the stage runs in the engine instead of in Python."""

    def setup(self) -> Awaitable[None] | None:
        """Called once on the worker before the first sample: open, load, connect."""

    def stage_run(self, x: Any, /) -> Any:
        """Works on one sample. What it gives back goes on, lists and None included.

        `SKIP` ends the sample, `Many(iterable)` gives many. What the last stage gives back is ignored. A stage that
        takes batches gives back a list with a result for each sample.
        """
        raise NotImplementedError

    def update(self, *_: Any, **values: Any) -> Awaitable[None] | None:
        """Takes new values while the pipeline runs, between two samples: `pipeline.update(stage, **values)`.

        Here it sets attributes that exist, but for the methods that the worker calls; one of your own names its values,
        as `update(self, threshold)`. What it raises is raised to the caller; the stage goes on.
        """
        from DeepPipeline._attributes import set_attributes  # which knows stages

        set_attributes(self, values)
        return None

    def finish(self) -> Any:
        """Called once while draining, after the last sample: gives out what the stage still holds.

        As `stage_run`, except that None is nothing.
        """
        return SKIP

    def teardown(self) -> Awaitable[None] | None:
        """Called once at the end, however the pipeline ends, if `setup` succeeded.

        A `setup` that is awaited counts as one that did where an abort cancels it.
        """

    @GivesWay
    def sample(self) -> Sample | None:
        """The sample that the stage works on; None outside of `stage_run`. For a list, its newest."""
        work = WORK.get()
        found = _engine.current_sample() if work is None else work.job.sample
        return None if found is None else Sample(*found)

    @GivesWay
    def worker(self) -> int | None:
        """The index of the worker among those of the stage, from 0, the same after a restart; None before it runs.

        So each worker can have a GPU, a port or a file of its own.
        """
        work = WORK.get()
        return _engine.worker_index() if work is None else work.worker

    @GivesWay
    def cancelled(self) -> bool:
        """True if the sample that the stage works on had entered the pipeline before a `flush`.

        What comes of it goes nowhere, so a stage that takes long may stop. Always False outside of `stage_run`.
        """
        work = WORK.get()
        return _engine.cancelled() if work is None else work.job.cancelled()

    @GivesWay
    def restarted(self) -> bool:
        """True if the stage is in a process that was started again after a crash: an earlier one had been set up.

        A `setup` that opens a file asks, so as to append to it. Always False on a thread.
        """
        work = WORK.get()
        return _engine.restarted() if work is None else work.job.restarted

    def set_get_single(self) -> Self:
        """Takes the oldest waiting sample (the default): `options(intake=Single())`."""
        return _with(self, intake=Single())

    def set_get_latest(self) -> Self:
        """Takes the newest waiting sample, as `options(intake=Latest())`."""
        return _with(self, intake=Latest())

    def set_get_all(self) -> Self:
        """Takes a list of `buffer_size` samples as soon as the buffer is full, as `options(intake=All())`."""
        return _with(self, intake=All())

    def set_get_batch(self, max_size: SupportsIndex, timeout: float, *, fold: bool = False) -> Self:
        """Takes a list of 1 to `max_size` samples, as `options(intake=Batch(max_size, max_wait=timeout, ...))`."""
        max_wait = checked_seconds("timeout", timeout, zero=True)
        return _with(self, intake=Batch(max_size, max_wait=max_wait, fold=fold))

    def set_get_window(
        self,
        size: SupportsIndex,
        stride: SupportsIndex = 1,
        *,
        key: Callable[[Any], Hashable | dict[Any, Any]] | None = None,
        max_keys: SupportsIndex = 1024,
        idle: SupportsIndex | None = None,
        partial: bool = False,
    ) -> Self:
        """Takes a list of the last `size` samples, as `options(intake=Window(size, stride, ...))`."""
        window = Window(size, stride, key=key, max_keys=max_keys, idle=idle, partial=partial)
        return _with(self, intake=window)

    def options(
        self,
        *,
        name: str | None = None,
        buffer_size: SupportsIndex | None = None,
        buffer_bytes: SupportsIndex | None = None,
        overflow: Overflow | None = None,
        intake: Intake | None = None,
        max_age: float | None = None,
        workers: SupportsIndex | None = None,
        max_workers: SupportsIndex | None = None,
        concurrency: SupportsIndex | None = None,
        ordered: bool | None = None,
        executor: Executor | None = None,
        on_error: OnError | None = None,
        on_crash: OnCrash | None = None,
        max_restarts: SupportsIndex | None = None,
        time_limit: float | None = None,
    ) -> Self:
        """Says more about the stage; what is left out stays as it is. Returns the stage.

        - `name`: in reports, errors and of the worker's thread (default: the class's name; one that comes again gets a
          number).
        - `buffer_size`: how many samples wait in front of it at most (default: the pipeline's).
        - `buffer_bytes`: how many bytes wait in front of it at most, where samples cross from one process to another
          (default: the pipeline's). Refused between threads.
        - `overflow`: what happens when the buffer in front of the stage is full: "drop_oldest", "drop_newest" or
          "block" (default: the pipeline's).
        - `intake`: how it takes from its buffer: `Single()` (default), `Latest()`, `All()`, `Batch(...)` or
          `Window(...)`.
        - `max_age`: how many seconds old a sample may be when it is taken; an older one is dropped and counted as
          expired (default: the pipeline's).
        - `workers`: how many workers work on its samples at the same time, 1 (default) to 1024, each on its own
          `copy.copy` of the stage; a single one on a thread has the stage itself.
        - `max_workers`: how many workers `Pipeline.scale` may give it while the pipeline runs (default: `workers`).
          With more than one, each has a copy of its own.
        - `concurrency`: of an async stage, how many samples are awaited at the same time, 1 (default) to 1024, all on
          one thread and by the same object. It stands instead of `workers`.
        - `ordered`: whether samples leave it in the order in which its workers took them (default True).
        - `executor`: where it runs: "thread" or "process" (default: the pipeline's `multiprocess`).
        - `on_error`: what happens when it raises on a sample: "stop" (default) stops the pipeline, "skip" counts the
          sample as failed and goes on, `retry(times)` runs the stage on it again.
        - `on_crash`: what happens to the sample in flight when its process dies: "skip" (default) counts it as lost,
          "retry" gives it to the restarted process, once, "stop" stops the pipeline. Refused for a stage on a thread.
        - `max_restarts`: how often its process is started again within 60 s (default 3); after one death more the
          pipeline stops. Refused for a stage on a thread.
        - `time_limit`: how many seconds `stage_run` may take for one sample: a process is killed then and counts as
          crashed, on a thread it is only logged (default: as long as it takes); but where that thread is one of
          several workers and keeps the results of the others waiting, they go on, and the sample is lost. What an
          async stage awaits is cancelled then, which is a TimeoutError of the stage.
        """
        changes: dict[str, Any] = {}
        if name is not None:
            changes["name"] = checked_name(name)
        if buffer_size is not None:
            changes["buffer_size"] = checked_count("buffer_size", buffer_size)
        if buffer_bytes is not None:
            changes["buffer_bytes"] = checked_count("buffer_bytes", buffer_bytes, "bytes")
        if overflow is not None:
            changes["overflow"] = one_of("overflow", overflow, OVERFLOWS)
        if intake is not None:
            changes["intake"] = checked_intake(intake)
        if max_age is not None:
            changes["max_age"] = checked_seconds("max_age", max_age)
        if workers is not None:
            changes["workers"] = checked_number(
                "workers", workers, 1, _engine.MAX_WORKERS, f"1 to {_engine.MAX_WORKERS}"
            )
        if max_workers is not None:
            changes["max_workers"] = checked_number(
                "max_workers", max_workers, 1, _engine.MAX_WORKERS, f"1 to {_engine.MAX_WORKERS}"
            )
        if concurrency is not None:
            most = _engine.MAX_WORKERS
            changes["concurrency"] = checked_number("concurrency", concurrency, 1, most, f"1 to {most}")
        if ordered is not None:
            changes["ordered"] = checked_flag("ordered", ordered)
        if executor is not None:
            changes["executor"] = one_of("executor", executor, EXECUTORS)
        if on_error is not None:
            changes["on_error"] = (
                on_error
                if isinstance(on_error, Retry)
                else one_of("on_error", on_error, AFTER_AN_ERROR, " or retry(times)")
            )
        if on_crash is not None:
            changes["on_crash"] = one_of("on_crash", on_crash, ON_CRASHES)
        if max_restarts is not None:
            changes["max_restarts"] = checked_number("max_restarts", max_restarts, 0, (1 << 32) - 1, "at least 0")
        if time_limit is not None:
            changes["time_limit"] = checked_seconds("time_limit", time_limit)
        return _with(self, **changes)


S = TypeVar("S", bound=Stage)


def _with(stage: S, **changes: Any) -> S:
    vars(stage)["_deeppipeline_options"] = replace(options_of(stage), **changes)
    return stage
