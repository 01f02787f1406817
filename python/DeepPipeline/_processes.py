"""The pipeline's side of stages in processes: they are started, watched, and started again."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import sys
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from DeepPipeline import _engine
from DeepPipeline._reachable import StartMethod
from DeepPipeline._remote import Job, log_from
from DeepPipeline._worker_signals import held_back
from DeepPipeline.stage import Stage

logger = logging.getLogger("DeepPipeline")


class Watch:
    """A stage in a process: `start` starts the first one, and `run`, on a thread, sees to everything after that."""

    def __init__(self, station: _engine.Station, stage: Stage, start_method: StartMethod) -> None:
        self.name = station.name
        self._station = station
        self._stage = stage
        self._start_method: StartMethod = start_method
        self._context: Any = multiprocessing.get_context(start_method)
        self._process: BaseProcess | None = None
        if start_method == "fork":
            # By the time of a restart there are threads, and a fork beside threads may hang.
            station.never_restart()

    def start(self) -> None:
        """Starts the process."""
        socket, stderr = self._station.open()
        _start_helpers(self._start_method)
        job = Job(socket, stderr, self._stage, logging.getLogger().getEffectiveLevel())
        process = self._context.Process(target=job.serve, name=f"DeepPipeline {self.name}", daemon=False)
        with held_back():
            process.start()
        self._process = process
        self._station.started(process.pid)

    def run(self) -> None:
        """Watches over one process after the other until the stage has ended."""
        try:
            while True:
                self._listen()
                again = self._station.ended(self._exit_code())
                if again is None:
                    return
                pause, why = again
                logger.warning("stage %r: %s; starting it again", self.name, why)
                if not self._station.rest(pause):
                    return
                self.start()
        except BaseException as error:  # whatever it is, nobody else would tell the pipeline
            self.give_up(error)

    def give_up(self, error: BaseException) -> None:
        """The process could not be started or watched: the pipeline stops."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._station.cannot_start(f"its process could not be started or watched: {type(error).__name__}: {error}")

    def _listen(self) -> None:
        while (news := self._station.watch()) is not None:
            if news[0] == "line":
                # Nobody may be there to read it, and that must not end the watch.
                with contextlib.suppress(Exception):
                    print(f"[{self.name}] {news[1]}", file=sys.stderr, flush=True)
            elif news[0] == "note":
                log_from(self.name, news[1])
            elif news[0] == "told":
                logger.warning("stage %r: %s", self.name, news[1])
            else:
                text = "failed too, after the failure that stopped the pipeline"
                logger.warning("stage %r %s", self.name, text, exc_info=news[1])

    def _exit_code(self) -> int:
        process, self._process = self._process, None
        assert process is not None
        process.join()
        # None only where somebody else has waited for it.
        code = 1 if process.exitcode is None else process.exitcode
        process.close()
        return code


def _start_helpers(start_method: StartMethod) -> None:
    """Starts what `multiprocessing` starts beside the first process.

    Not with the first worker: the tracker unblocks the signals that are held back for that one. It may hold them back
    itself; the fork server must not, since the program's own processes come from it as well.
    """
    if start_method != "fork":
        with held_back():
            resource_tracker.ensure_running()
    if start_method == "forkserver":
        forkserver.ensure_running()
