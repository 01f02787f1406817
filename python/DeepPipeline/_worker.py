"""The Python side of a worker: a loop over the engine's two calls, and what a source looks like to it."""

from __future__ import annotations

import logging
import types
from collections.abc import Iterable
from typing import Any

from DeepPipeline import _engine
from DeepPipeline._give import SKIP
from DeepPipeline.stage import Stage

logger = logging.getLogger("DeepPipeline")


def work(worker: _engine.Worker, stage: Stage | SourceStage) -> None:
    """Makes the calls that the engine asks for. The engine decides; the user's code runs here, in Python's own thread."""
    while (call := worker.next()) is not None:
        method, arguments = call
        try:
            result = getattr(stage, method)(*arguments)
            if result is None and method != "stage_run" and method != "source_next":
                result = SKIP
            del call, arguments  # a sample that has gone on is not kept alive here while waiting for the next
            if result is END:
                worker.exhausted()
            else:
                worker.done(result)
            del result
        except BaseException as error:  # whatever user code raises must reach the caller, SystemExit included
            if worker.fail(error):
                logger.warning("stage %r skipped a sample after an error", worker.name, exc_info=error)


class _End:
    """The type of END."""


END = _End()
"""What a source gives when it has no more samples."""


class SourceStage:
    """An iterable as the source's worker sees it."""

    def __init__(self, source: Iterable[Any]) -> None:
        self._source = source
        self._closed = False

    def setup(self) -> None:
        self._iterator = iter(self._source)

    def source_next(self) -> Any:
        return next(self._iterator, END)

    def teardown(self) -> None:
        # A generator can be closed only by the thread that runs it.
        if isinstance(self._iterator, types.GeneratorType):
            self._iterator.close()

    def wake(self) -> None:
        """Called from another thread: makes a waiting source return soon, if it knows how."""
        close = getattr(self._source, "close", None)
        if not self._closed and callable(close) and not isinstance(self._source, types.GeneratorType):
            self._closed = True
            close()
