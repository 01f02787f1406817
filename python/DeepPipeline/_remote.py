"""The worker's side of a stage in a process: what it is given, what it runs, and what it sends to the pipeline."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import reduction, spawn
from multiprocessing.process import current_process
from typing import Any

from DeepPipeline import _engine
from DeepPipeline._seat import Given, Holder, called_of
from DeepPipeline._stage import Stage, method_of, options_of
from DeepPipeline._windows import with_windows
from DeepPipeline._worker import Running, work
from DeepPipeline._worker_logs import LogSettings
from DeepPipeline._worker_signals import leave_to_the_program
from DeepPipeline.errors import StartError

logger = logging.getLogger("DeepPipeline")

ENDS_WITHIN = 3.0
"""Seconds that a worker process has to end once its stage is torn down."""


class Job:
    """The job of a worker process. It is pickled while its process is being started, or inherited by a fork.

    It is small, since a process that hangs does not read it: the stage is in a file in memory.
    """

    def __init__(self, socket: int, stderr: int, stage: Stage, logs: LogSettings) -> None:
        self._descriptors = socket, stderr
        # What was said about the stage is named apart: a stage's own __getstate__ need not know it.
        options = options_of(stage)
        self._stage: Given = stage, options.intake, options.time_limit
        self._make: Callable[[], Given] = lambda: self._stage
        self._logs = logs
        self._pipeline = os.getpid()
        self._lifeline: _engine.Lifeline | None = None
        self._file: Any = None
        self.program: dict[str, str] = {}
        """The program's main module, to be imported before the stage can be made."""

    def __getstate__(self) -> tuple[Any, ...]:
        self._file = _file_with(reduction.ForkingPickler.dumps(self._stage))
        descriptors = [reduction.DupFd(fd) for fd in (*self._descriptors, self._file.fileno())]
        return descriptors, self._logs, self._pipeline, self.program

    def close(self) -> None:
        """Lets go of what was pickled, once the process has it."""
        if self._file is not None:
            self._file.close()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        descriptors, self._logs, self._pipeline, self.program = state
        socket, stderr, file = (descriptor.detach() for descriptor in descriptors)
        self._descriptors = socket, stderr
        self._make = lambda: _loaded(file)
        # Before anything of the program runs here.
        self._hold_on()

    def _hold_on(self) -> None:
        """Makes this process end when the pipeline's does, and by none of the signals that are the program's."""
        # Until `leave_to_the_program`, which is for a program that has been imported.
        signal.pthread_sigmask(signal.SIG_BLOCK, _engine.left_to_the_program())
        socket, stderr = self._descriptors
        for descriptor in (socket, stderr):
            os.set_inheritable(descriptor, False)
        os.register_at_fork(after_in_child=functools.partial(_let_go, socket))
        self._lifeline = _engine.Lifeline(socket, self._pipeline)

    def serve(self) -> None:
        """The whole life of a worker process."""
        if self._lifeline is None:
            self._hold_on()
        assert self._lifeline is not None
        _, stderr = self._descriptors
        os.dup2(stderr, 2)
        os.close(stderr)
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        # Where in Python a signal hit it, as the last lines that its pipeline will tell.
        faulthandler.enable()
        _import(self.program)
        leave_to_the_program()
        worker = self._lifeline.become_worker()
        self._logs.send_home(worker)
        replaced = worker.replaced
        make = self._make if replaced is None else functools.partial(pickle.loads, replaced)
        work(worker, _StageToBe(make, worker), Running())
        threading.Thread(target=_end_in_time, args=(worker.name,), name="DeepPipeline end", daemon=True).start()


def _file_with(content: Any) -> Any:
    """A file that has no name, with this in it."""
    if hasattr(os, "memfd_create"):
        file: Any = open(os.memfd_create("DeepPipeline stage"), "w+b", buffering=0)  # noqa: SIM115
    else:
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
    return file


def _let_go(socket: int) -> None:
    """Replaces the worker's socket in a process that the stage has forked: it is none of its own."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, socket, inheritable=False)
        os.close(nowhere)


def _import(program: dict[str, str]) -> None:
    """Imports the program's main module, as multiprocessing does."""
    process: Any = current_process()
    # Processes that are started meanwhile would import it in their turn, without end: this is how that is noticed.
    process._inheriting = True
    try:
        spawn.prepare(program)
    finally:
        del process._inheriting


def _end_in_time(stage: str) -> None:
    """Ends this process where the interpreter does not come to its end."""
    time.sleep(ENDS_WITHIN)
    threads = [f"thread {t.name!r}" for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
    children = [child for child in multiprocessing.active_children() if not child.daemon]
    left = ", ".join(threads + [f"process {child.name!r}" for child in children]) or "something"
    logger.warning(
        "stage %r left %s running, which kept its process for %g s after teardown: killed; end it in teardown()",
        stage,
        left,
        ENDS_WITHIN,
    )
    for child in children:
        child.kill()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(0)


def _loaded(file: int) -> Given:
    try:
        os.lseek(file, 0, os.SEEK_SET)
        with open(file, "rb") as pickled:
            stage, intake, time_limit = pickle.load(pickled)
    except Exception as error:
        advice = ""
        if isinstance(error, (AttributeError, ImportError)):
            advice = (
                ". A process imports the modules of what a stage is made of, without what is under "
                '`if __name__ == "__main__":` and without a __main__.py: define it at the top of a module'
            )
        raise StartError(f"the stage cannot be made again in its process: {error}{advice}") from error
    assert isinstance(stage, Stage)
    return stage, intake, time_limit


class _StageToBe(Holder):
    """A stage that is made on its worker, as the first part of its setup."""

    def __init__(self, make: Callable[[], Given], worker: _engine.Worker) -> None:
        self._make = make
        self._worker = worker

    def setup(self) -> None:
        given = self._make()
        stage = with_windows(called_of(given), given[1], self._worker)
        method_of(stage, "setup")()
        # Afterwards, since a setup may choose what is run.
        self._calls(stage)

    def _calls(self, stage: Any) -> None:
        self._stage = stage
        self.stage_run, self.finish, self.teardown = (
            method_of(stage, name) for name in ("stage_run", "finish", "teardown")
        )
        self.update = lambda **values: method_of(stage, "update")(**values)
        self._deeppipeline_run_again = getattr(stage, "_deeppipeline_run_again", None)

    def exchange(self, new: Any) -> Any:
        if isinstance(self._stage, Holder):
            return self._stage.exchange(new)
        old = self._stage
        self._calls(new)
        return old


def check_not_in_a_worker_that_starts() -> None:
    """Ends a worker that runs the program itself while it imports it: it would start workers without end."""
    if getattr(current_process(), "_inheriting", False):
        raise SystemExit(
            "DeepPipeline: a worker process imports the program to find its stages, and ran into its start(). "
            'Put what the program does under\n\n    if __name__ == "__main__":\n\nso that it does not run there.'
        )
