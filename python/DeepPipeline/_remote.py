"""The worker's side of a stage in a process: what it is given, what it runs, and what it sends home."""

from __future__ import annotations

import faulthandler
import logging
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from multiprocessing import reduction
from multiprocessing.process import current_process
from typing import Any

from DeepPipeline import _engine
from DeepPipeline._windows import with_windows
from DeepPipeline._worker import work
from DeepPipeline._worker_signals import leave_to_the_program
from DeepPipeline.errors import StartError
from DeepPipeline.stage import Stage, Window, method_of, options_of


class Job:
    """What a worker process is given. It is pickled while its process is being started, or inherited by a fork."""

    def __init__(self, socket: int, stderr: int, stage: Stage, log_level: int) -> None:
        self._descriptors = socket, stderr
        # The window is named apart: a stage's own __getstate__ need not know what was said about the stage.
        self._stage = stage, options_of(stage).window
        self._make: Callable[[], tuple[Stage, Window | None]] = lambda: self._stage
        self._log_level = log_level

    def __getstate__(self) -> tuple[list[Any], bytes, int]:
        descriptors = [reduction.DupFd(descriptor) for descriptor in self._descriptors]
        # In bytes of its own, so that a stage that cannot be made again fails where its stderr is seen.
        return descriptors, bytes(reduction.ForkingPickler.dumps(self._stage)), self._log_level

    def __setstate__(self, state: tuple[list[Any], bytes, int]) -> None:
        descriptors, pickled, self._log_level = state
        socket, stderr = (descriptor.detach() for descriptor in descriptors)
        self._descriptors = socket, stderr
        self._make = lambda: _loaded(pickled)

    def serve(self) -> None:
        """The whole life of a worker process."""
        leave_to_the_program()
        socket, stderr = self._descriptors
        os.dup2(stderr, 2)
        os.close(stderr)
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        # Where in Python a signal hit it, as the last lines that its pipeline will tell.
        faulthandler.enable()
        worker = _engine.become_worker(socket)
        _send_logs_home(worker, self._log_level)
        work(worker, _StageToBe(self._make, worker), None)


def _loaded(pickled: bytes) -> tuple[Stage, Window | None]:
    try:
        stage, window = pickle.loads(pickled)
    except Exception as error:
        advice = ""
        if isinstance(error, (AttributeError, ImportError)):
            advice = (
                ". A process imports the modules of what a stage is made of, without what is under "
                '`if __name__ == "__main__":` and without a __main__.py: define it at the top of a module'
            )
        raise StartError(f"the stage cannot be made again in its process: {error}{advice}") from error
    assert isinstance(stage, Stage)
    return stage, window


class _StageToBe:
    """A stage that is made on its worker, as the first part of its setup."""

    def __init__(self, make: Callable[[], tuple[Stage, Window | None]], worker: _engine.Worker) -> None:
        self._make = make
        self._worker = worker

    def setup(self) -> None:
        stage = with_windows(*self._make(), self._worker)
        method_of(stage, "setup")()
        # Afterwards, since a setup may choose what is run.
        self.stage_run, self.finish, self.teardown = (
            method_of(stage, name) for name in ("stage_run", "finish", "teardown")
        )
        self._deeppipeline_run_again = getattr(stage, "_deeppipeline_run_again", None)


class _SendHome(logging.Handler):
    """Sends log records to the pipeline's process, where logging is set up."""

    def __init__(self, worker: _engine.Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        try:
            shown = vars(record) | {"msg": record.getMessage(), "args": None, "exc_info": None}
            if record.exc_info:
                shown["exc_text"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            plain = {key: value for key, value in shown.items() if isinstance(value, (str, int, float, type(None)))}
            self._worker.send_note(pickle.dumps(plain))
        except Exception:
            self.handleError(record)


def _send_logs_home(worker: _engine.Worker, level: int) -> None:
    root = logging.getLogger()
    # A program that sets up logging when it is imported has done so here too.
    if not root.handlers:
        root.addHandler(_SendHome(worker))
        root.setLevel(level)


def log_from(stage: str, note: bytes) -> None:
    """In the pipeline's process: logs a record of a worker's."""
    record = logging.makeLogRecord(pickle.loads(note))
    record.processName = record.stage = stage
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def check_not_in_a_worker_that_starts() -> None:
    """Ends a worker that runs the program itself while it imports it: it would start workers without end."""
    if getattr(current_process(), "_inheriting", False):
        raise SystemExit(
            "DeepPipeline: a worker process imports the program to find its stages, and ran into its start(). "
            'Put what the program does under\n\n    if __name__ == "__main__":\n\nso that it does not run there.'
        )
