"""The workers of stages: the threads that drive them, and more or fewer of them while a pipeline runs."""

from __future__ import annotations

import threading
import traceback as tracebacks
from dataclasses import replace
from typing import SupportsIndex

from DeepPipeline import _engine
from DeepPipeline._aside import logger
from DeepPipeline._checks import checked_number, checked_wait, what
from DeepPipeline._intake import Batch
from DeepPipeline._notices import Notices
from DeepPipeline._processes import Watch
from DeepPipeline._reachable import StartMethod
from DeepPipeline._replace import Place, bodies_of
from DeepPipeline._stage import Options, Retry, Stage
from DeepPipeline._threads import WorkerThread
from DeepPipeline._windows import with_windows
from DeepPipeline._worker import Running, SourceStage, work
from DeepPipeline.errors import GraphError, ScaleError, ScaleTimeout

Refused = tuple[str, str, int | None, BaseException | None]
"""The reason why nothing came of it: its kind, its text, the worker and the exception."""


def thread_for(
    driver: _engine.Worker | _engine.WorkerProcess,
    body: object,
    options: Options,
    sources: Running,
    start_method: StartMethod,
) -> WorkerThread:
    """Makes the thread that drives a worker of a place with these options, or watches over its process."""
    if not isinstance(driver, _engine.Worker):
        assert isinstance(body, Stage)
        watch = Watch(driver, body, start_method)
        return WorkerThread(driver.name, watch.run, watch=watch)
    running = with_windows(body, options.intake, driver) if isinstance(body, Stage) else body
    keeps_arguments = isinstance(body, Stage) and _may_run_again(options)
    # A stage that fails ends all sources with the pipeline, a named source only itself.
    wakes = body if isinstance(body, SourceStage) else sources
    thread = WorkerThread(driver.name, work, driver, running, wakes, keeps_arguments)
    thread.drives = body if isinstance(body, SourceStage) else None
    return thread


def _may_run_again(options: Options) -> bool:
    """Returns true if a stage may be run again on what it got: after an error, or on each of a batch alone."""
    is_batch = isinstance(options.intake, Batch) and not options.intake.fold
    return isinstance(options.on_error, Retry) or (is_batch and options.on_error != "stop")


_keeps_threads = threading.Lock()


class Scales:
    """The part of a pipeline that gives its stages more or fewer workers."""

    _running: Running
    _start_method: StartMethod
    _threads: list[WorkerThread]
    _notices: Notices | None

    def scale(self, stage: str, workers: SupportsIndex, timeout: float | None = None) -> None:
        """Gives the stage of that name so many workers while it runs: 1 to its `max_workers`.

        Those that join it are set up, and only then take samples; those with the highest indexes leave it before their
        next sample: what they give in `finish` goes on, and then comes their `teardown`. Nothing is lost, and the order
        is kept. It returns when all that has happened, or raises `ScaleTimeout` after `timeout` seconds; they join and
        leave afterwards, unless it says that nothing had begun. Where a `setup` fails, a `ScaleError` has its exception
        as the cause, and the stage goes on with the workers that it had.
        """
        timeout = checked_wait("timeout", timeout)
        engine = self._started("scale")
        if not isinstance(stage, str):
            raise GraphError(f"stage is {what(stage)}, but must be the name of a stage")
        most = _engine.MAX_WORKERS
        count = checked_number("workers", workers, 0, most, f"1 to {most}")
        scaling = _engine.scale(engine, stage, count, timeout, _note)
        if isinstance(scaling, tuple):
            raise _refusal(stage, scaling)
        joining, failure = scaling.joining(engine), None
        while joining:
            try:
                self._join_stage(stage, *joining.pop(0))
            except BaseException as error:
                failure = error
                # A worker without a thread fails to join once nobody has it, and that is waited for.
                for raised in (error, error.__cause__):
                    tracebacks.clear_frames(None if raised is None else raised.__traceback__)
                joining.clear()
        refused = scaling.wait(_note)
        if failure is not None:
            raise failure
        if refused is not None:
            raise _refusal(stage, refused)

    def _join_stage(self, name: str, index: int, place: int, driver: _engine.Worker | _engine.WorkerProcess) -> None:
        """Starts the thread of one more worker."""
        there, present = self._place(index)
        executor, options = there.executor, there.options()
        # A process learns what the stage was replaced with when it begins.
        stage = there.stage if executor == "process" else present[index]
        if executor == "process" and self._start_method == "fork":
            text = f"stage {name!r} cannot get more workers: a process that is forked beside threads may hang"
            raise ScaleError(f"{text}; use start_method='spawn'", stage=name, worker=None)
        try:
            (body,) = bodies_of(stage, replace(options, workers=1), executor, there.loops)
            thread = thread_for(driver, body, options, self._running, self._start_method)
            thread.start()
        except Exception as error:
            text = f"stage {name!r} cannot get one more worker: {error}"
            raise ScaleError(text, stage=name, worker=None) from error
        with _keeps_threads:
            self._threads = [*(other for other in self._threads if other.is_alive() or not other.ident), thread]
        if self._notices is not None:
            self._notices.threads[place] = thread

    def _place(self, index: int) -> tuple[Place, dict[int, Stage]]:
        raise NotImplementedError

    def _started(self, what: str) -> _engine.Engine:
        raise NotImplementedError


def _note(busy: str) -> None:
    logger.info("the change of workers waits for %s", busy)


def _refusal(stage: str, refused: Refused) -> Exception:
    kind, text, worker, cause = refused
    if kind == "bad":
        return GraphError(text)
    error = (ScaleTimeout if kind == "timeout" else ScaleError)(text, stage=stage, worker=worker)
    error.__cause__ = cause
    return error
