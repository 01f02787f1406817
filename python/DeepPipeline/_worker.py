"""The Python side of a worker: a loop over the engine's two calls, and what a source looks like to it."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import logging
import os
import pickle
import queue
import sys
import threading
import traceback
import types
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from DeepPipeline import _engine
from DeepPipeline._checks import checked_flag
from DeepPipeline._give import SKIP, UNFINISHED, Failed, Many, Skip, results_of, unfinished, was_given
from DeepPipeline._seat import Seat
from DeepPipeline._sources import Restart, Source, iterate
from DeepPipeline._stage import method_of
from DeepPipeline._windows import KEPT

logger = logging.getLogger("DeepPipeline")

_forks = 0
"""The number of forks between the process that was started and this one."""


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def work(worker: _engine.Worker, stage: Any, sources: Running | SourceStage, keeps_arguments: bool = False) -> None:
    """Makes the calls that the engine asks for. The engine decides; the user's code runs here, in Python.

    What a stage got is kept for another try only where that may come, and not at all in a worker process, where the
    engine makes it anew.
    """
    arguments: tuple[Any, ...] | None
    kept: tuple[Any, ...] = ()
    results: deque[Any] = deque()
    forks = _forks
    seat = Seat(worker.name, stage)
    takes_batches = worker.takes_batches
    # Who hears of fates is told what of a batch has failed.
    tells_values = takes_batches and worker.tells_fates
    while (method := worker.next()) is not None:
        arguments = x = result = None
        late = False
        if results and method != "run_alone":
            results.clear()  # those of a batch that was given up before its next sample was tried again
        try:
            arguments = worker.arguments()
            if method == "run_again":
                arguments = arguments or kept
                run = getattr(stage, "_deeppipeline_run_again", None) or method_of(stage, "stage_run")
            elif method == "run_alone":
                arguments = arguments or ([kept[0][worker.alone()]],)
                run = method_of(stage, "stage_run")
            elif method == "update":
                run = functools.partial(method_of(stage, method), **values_of(worker.update_values()))
            elif method == "prepare":
                run = functools.partial(seat.prepare, worker.update_values())
            elif method in ("exchange", "discard", "teardown"):
                run = getattr(seat, method)
            else:
                run = method_of(stage, method)
                if keeps_arguments or tells_values:
                    # The list is the stage's, which may empty it.
                    kept = ([*arguments[0]],) if takes_batches and method == "stage_run" else arguments
            result = run(*arguments)
            if _forks != forks:
                _end_fork(worker.name, None)
            if method == "stage_run" and not keeps_arguments and not takes_batches and callable(stage.stage_run):
                # The shortest way from one sample to the next, as long as nothing else is to be done.
                while type(result) not in NO_VALUE:
                    arguments = x = None  # a sample that has gone on is not kept alive here while waiting for room
                    if worker.done(result):
                        _warn_late(worker)
                    result = None  # nor is it while waiting for the next
                    x = worker.next_input(END)
                    if x is END:
                        break
                    result = stage.stage_run(x)
                    if _forks != forks:
                        _end_fork(worker.name, None)
                if x is END:
                    continue
                arguments = arguments or (x,)
            # A generator that the source gave is a sample like any other.
            not_run = type(result) in UNFINISHED and method != "source_next" and not was_given(result, arguments)
            are_results = takes_batches and method in ("stage_run", "run_alone") and not not_run
            if are_results and (type(result) in (Skip, Failed) or (worker.is_end_stage() and not has_failed(result))):
                are_results = False  # one for all of them
            if are_results:
                each = results_of(result, arguments)
                worker.expect_results(len(each))
                if tells_values and has_failed(each):
                    tell_failed(worker, each, kept, worker.alone() if method == "run_alone" else 0)
                results.extendleft(reversed(each))
                del each
                result = None
            arguments = None  # a sample that has gone on is not kept alive here while waiting for room
            if are_results:
                pass  # each is handed on below
            elif result is END:
                worker.exhausted()
            elif result is KEPT:
                late = worker.keep()
            elif not_run:
                raise TypeError(unfinished(method, result))
            elif method in GIVE_NOTHING or (method == "finish" and result is None):
                worker.done(SKIP)
            elif type(result) is Many:
                late = give_many(worker, result)
            elif type(result) is Failed and method != "source_next":
                raise result.error
            else:
                late = worker.done(result)
            if late:
                _warn_late(worker)
        except BaseException as error:  # whatever user code raises must reach the caller, SystemExit included
            if _forks != forks:
                _end_fork(worker.name, error)
            if method in ("update", "prepare"):
                worker.fail(error)  # whoever asked for it is told, and the stage goes on
            else:
                _fail(worker, sources, error, *samples_of(method, takes_batches, arguments, x, kept))
        if method == "exchange":
            stage = seat.stage
        if results:
            arguments = x = result = None
            give_each(worker, sources, results)
        if not (keeps_arguments and worker.tries_again()):
            kept = ()
        if results and not worker.tries_again():
            results.clear()
        arguments = x = result = None  # nor is it while waiting for the next


GIVE_NOTHING: Final = ("setup", "source_open", "update", "prepare", "exchange", "discard", "teardown")
"""The calls of which nothing comes but their end."""


def values_of(told: Any) -> dict[str, Any]:
    """Returns the values of an update, which come as a pickle where they come from another process."""
    values: dict[str, Any] = pickle.loads(told) if isinstance(told, bytes) else told
    return values


def give_each(worker: _engine.Worker, sources: Running | SourceStage, results: deque[Any]) -> None:
    """Hands on the results of a batch, up to the next sample on which the stage is to be run again.

    One that cannot go on fails its own sample.
    """
    while results and worker.expects_result():
        result = results.popleft()
        try:
            if type(result) is Failed:
                raise result.error
            late = give_many(worker, result) if type(result) is Many else worker.done(result)
            if late:
                _warn_late(worker)
        except BaseException as error:
            _fail(worker, sources, error)
        result = None  # one that has gone on is not kept alive while the next waits for room


def has_failed(results: object) -> bool:
    """Returns true if there is an error among the results of an end stage, which are ignored otherwise."""
    return isinstance(results, (list, tuple)) and any(type(result) is Failed for result in results)


def tell_failed(worker: _engine.Worker, results: Sequence[Any], kept: tuple[Any, ...], first: int) -> None:
    """Hands in the values of those samples of a batch, from that index on, whose result is an error."""
    if kept:
        for index, result in enumerate(results, first):
            if type(result) is Failed:
                worker.fails_on(index, kept[0][index])


def samples_of(
    method: str, takes_batches: bool, arguments: tuple[Any, ...] | None, x: Any, kept: tuple[Any, ...]
) -> Sequence[Any]:
    """Returns what a call that failed had got, one value for each sample, as far as it is still here."""
    if arguments is None:
        return () if x is None else (x,)
    if arguments and method == "run_alone":
        return arguments[0][:1]  # type: ignore[no-any-return]
    if takes_batches and method == "stage_run":
        return kept[0] if kept else ()
    return arguments


def _fail(worker: _engine.Worker, sources: Running | SourceStage, error: BaseException, *on: Any) -> None:
    event = worker.fail(error, *on)
    if event is not None:
        # Neither an exception that cannot be shown nor a log handler that fails may end the worker.
        with contextlib.suppress(Exception):
            logger.warning("stage %r %s", worker.name, str(event), exc_info=error)
    else:
        sources.wake()


def _warn_late(worker: _engine.Worker) -> None:
    logger.warning("stage %r took longer than its time_limit on a sample", worker.name)


def _end_fork(stage: str, error: BaseException | None) -> None:
    """Ends a process that a stage has forked, and that comes back from the stage's code: it is no worker."""
    code = 1
    try:
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            traceback.print_exception(error)
        else:
            text = f"a process that stage {stage!r} forked came back from the stage's code: end it there, by os._exit()"
            print(text, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def give_many(worker: _engine.Worker, many: Many) -> bool:
    """Hands on one value at a time, asking for the next only when there was room for the last; true if it was late.

    Once the pipeline gives up what comes of the call, it is asked for no more.
    """
    given = worker.is_end_stage()  # whose values nobody asks for
    if not given:
        for value in many.values:
            if type(value) is Failed:
                raise value.error
            given = True
            if not worker.give_part(value):
                break
    return worker.done_many(given)


class _End:
    """The type of END."""


END = _End()
"""The value that a source gives when it has no more samples."""


NO_VALUE: Final = UNFINISHED | {_End, Failed, Many, type(KEPT)}
"""The types of results that are not simply handed on."""


class SourceStage:
    """An iterable as the source's worker sees it."""

    def __init__(self, source: Source) -> None:
        self.given = source
        """The source as it was given."""
        native = getattr(source, "_native", None)
        self._deeppipeline_native = native if isinstance(native, _engine.NativeCapture) else None
        """A source that runs in the engine instead of in Python."""
        self.is_live = checked_flag("source.is_live", getattr(source, "is_live", False))
        """True if samples come at their own pace, whether or not the consumer keeps up."""
        self.restart: Restart | None = None
        """When it is opened again."""
        self._thread: threading.Thread | None = None
        self._wanted = threading.Lock()
        """A lock taken by the first caller that wakes the source, or by its end; it is never released."""
        close = getattr(source, "close", None)
        # A generator can be closed only by the thread that runs it.
        self._close = close if callable(close) and not isinstance(source, types.GeneratorType) else None
        self._closer: Closer | None = None

    def setup(self) -> None:
        self._thread = threading.current_thread()
        if self._close is not None:
            self._closer = Closer(self._close)
            if self._wanted.locked():  # already, before it could be told
                self._closer.close()
        try:
            self._iterator = iterate(self.given)
        except BaseException:
            self._no_longer_wanted()
            raise

    def source_next(self) -> Any:
        try:
            return next(self._iterator, END)
        except Exception:
            if not self._wanted.locked():
                raise
            # Closed under its hands, as a file or a socket is: that is how such a source ends.
            logger.debug("the source raised after it was closed", exc_info=True)
            return END

    def teardown(self) -> None:
        self._no_longer_wanted()
        if isinstance(self._iterator, types.GeneratorType):
            self._iterator.close()

    def leave(self) -> None:
        """Ends a source that another is opened for, on its own thread: closes it, unless that was done before."""
        closes = self._wanted.acquire(blocking=False)
        if closes and self._closer is not None:
            self._closer.let_go()
        iterator = getattr(self, "_iterator", None)
        try:
            if isinstance(iterator, types.GeneratorType):
                iterator.close()
            if closes and self._close is not None:
                self._close()
        except Exception:
            logger.warning("close() of the source raised", exc_info=True)

    @property
    def is_used_up_by_one(self) -> bool:
        """True if what one takes from the source, another does not get: an iterator, or a camera."""
        return isinstance(self.given, Iterator) or self.is_live

    def wake(self) -> None:
        """Makes a waiting source return soon, if it knows how. Called from other threads, any number of times."""
        if self._close is None or threading.current_thread() is self._thread:
            return
        if self._wanted.acquire(blocking=False) and self._closer is not None:
            self._closer.close()

    def keep(self) -> None:
        """Keeps what a thread that is left behind reads from: closing it would abort the interpreter that exits."""
        streams = [owner for owner in gc.get_referrers(self.given) if isinstance(owner, io.IOBase)]
        _engine.keep_for_ever([self.given, *streams, sys.stdin, sys.__stdin__])

    def still_closes(self, patience: float) -> bool:
        """Returns true if `close()` of the source has been called, and does not return within `patience` seconds."""
        return self._closer is not None and not self._closer.has_ended(patience)

    def _no_longer_wanted(self) -> None:
        if self._wanted.acquire(blocking=False) and self._closer is not None:
            self._closer.let_go()


class Running(dict[int, SourceStage]):
    """The sources of a pipeline by the numbers of their workers."""

    def wake(self) -> None:
        """Makes all that wait return soon, as far as they know how."""
        for source in [*self.values()]:
            source.wake()


class Closer:
    """A thread that closes a source when it is told to.

    `close()` may wait itself, as that of a file does for the thread that reads from it; a caller that stops a pipeline
    must not. The thread is there from the start, since an interpreter that exits may start none.
    """

    def __init__(self, close: Callable[[], object]) -> None:
        self._told: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(close,), name="close of the source", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Closes the source; does not wait for it."""
        self._told.put(True)

    def let_go(self) -> None:
        """Ends the thread without closing anything."""
        self._told.put(False)

    def has_ended(self, patience: float) -> bool:
        """Waits for the end of the thread, `patience` seconds at most. Returns true if it has ended."""
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self, close: Callable[[], object]) -> None:
        if self._told.get():
            try:
                close()
            except Exception:
                logger.warning("close() of the source raised", exc_info=True)
