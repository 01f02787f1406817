"""The events that are logged when they happen, unasked: dropped samples, a stage that fails, a stage that hangs."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from DeepPipeline import _engine
from DeepPipeline._engine import Notice
from DeepPipeline._threads import stack_of
from DeepPipeline._worker import Running

logger = logging.getLogger("DeepPipeline")

Told = Notice.Dropped | Notice.Failed | Notice.Hangs | Notice.SourceLost | Notice.SourceBack | Notice.SourceStalled
"""The notices that are logged."""


class Freed:
    """Whether a pipeline was freed while it was open: set in its `__del__`, where no lock may be taken."""

    is_true = False


class Notices:
    """A thread that logs what the engine has to tell. No other thread waits for a handler of the log."""

    def __init__(self, engine: _engine.Engine, sources: Running, when_failed: Callable[[], object]) -> None:
        self.threads: dict[int, threading.Thread] = {}
        """The threads of workers, by their place among all."""
        self.freed = Freed()
        # It must not keep the pipeline alive, only what it needs of it.
        arguments = (engine, self.threads, sources, when_failed, self.freed)
        self._thread = threading.Thread(target=_log_all, args=arguments, name="DeepPipeline log", daemon=True)

    def start(self) -> None:
        """Starts the thread; it ends when every worker has ended."""
        self._thread.start()

    def wait(self, patience: float) -> None:
        """Waits until everything is logged, `patience` seconds at most: a handler may hang."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(patience)


def _log_all(
    engine: _engine.Engine,
    threads: dict[int, threading.Thread],
    sources: Running,
    when_failed: Callable[[], object],
    freed: Freed,
) -> None:
    while (notice := engine.next_notice()) is not None:
        if isinstance(notice, Notice.Failed):
            when_failed()
        # A handler that fails, or an exception that cannot be shown, must not silence the rest.
        with contextlib.suppress(Exception):
            if isinstance(notice, Notice.CloseSource):
                sources[notice.source].wake()
            else:
                _log(engine, threads, notice)
    if freed.is_true and engine.failure() is None:
        lost = sum(stage.buffer.discarded for stage in engine.report().stages)
        with contextlib.suppress(Exception):
            logger.warning(
                "a pipeline was freed while it was open, and is aborted: %d samples were discarded; use `with`, or "
                "call setstop()",
                lost,
            )


def _log(engine: _engine.Engine, threads: dict[int, threading.Thread], notice: Told) -> None:
    if isinstance(notice, Notice.Failed):
        found = engine.failure()
        if found is not None:
            message, _, _, _, cause = found
            logger.error("%s; the pipeline stops", message, exc_info=cause)
    elif isinstance(notice, Notice.Hangs):
        logger.warning("%s%s", notice.text, stack_of(threads.get(notice.worker)))
    else:
        is_good = isinstance(notice, Notice.SourceBack)
        logger.log(logging.INFO if is_good else logging.WARNING, "%s", notice.text)
