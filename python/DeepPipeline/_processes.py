"""The pipeline's side of stages in processes: they are started, watched, and started again."""

from __future__ import annotations

import contextlib
import multiprocessing
from multiprocessing import forkserver, resource_tracker
from typing import Any

from DeepPipeline import _aside, _engine, _launch
from DeepPipeline._aside import logger
from DeepPipeline._engine import FailureEvent
from DeepPipeline._reachable import StartMethod
from DeepPipeline._remote import Job
from DeepPipeline._stage import Stage
from DeepPipeline._worker_logs import LogSettings, log_from
from DeepPipeline._worker_signals import held_back


class Watch:
    """A stage in a process: `run`, on a thread, starts one process after the other and watches over it.

    A process that is forked from this one is started by `start` before there are threads.
    """

    def __init__(self, worker: _engine.WorkerProcess, stage: Stage, start_method: StartMethod) -> None:
        self.name = worker.name
        self._worker = worker
        self._stage = stage
        self._context: Any = multiprocessing.get_context(start_method)
        self._start_method: StartMethod = start_method
        self._launched: _launch.Launched | None = None
        self.failure: BaseException | None = None
        """The reason why no process could be started or watched."""
        if start_method == "fork":
            # By the time of a restart there are threads, and a fork beside threads may hang.
            worker.never_restart()

    def start(self) -> bool:
        """Starts the process; false when there is no need for one any longer."""
        socket, stderr = self._worker.open()
        with contextlib.closing(Job(socket, stderr, self._stage, LogSettings.now())) as job:
            return self._start(job)

    def _start(self, job: Job) -> bool:
        _start_helpers(self._start_method)
        process = self._context.Process(target=job.serve, name=f"DeepPipeline {self.name}", daemon=False)
        if self._start_method == "fork":
            with held_back():  # what could come before the worker knows of the process
                self._launched = _launch.forked(process)
                self._worker.started(self._launched.pid)
            return True
        if self._start_method == "spawn":
            self._launched = _launch.spawned(process, job)
        else:
            asked = _launch.asked_of_server(process, job)
            if not self._worker.wait_for(asked.status):
                asked.close()
                return False
            self._launched = asked.launched()
        self._worker.started(self._launched.pid)
        return True

    def run(self) -> None:
        """Watches over one process after the other until the stage has ended."""
        with _aside.held():
            self._run()

    def _run(self) -> None:
        try:
            if self._launched is None and not self.start():
                return
            while True:
                self._listen()
                pause, why = self._worker.ended(self._exit_code())
                if pause is None:
                    if why is not None:
                        logger.warning("stage %r: %s", self.name, why)
                    return
                logger.warning("stage %r: %s; starting it again", self.name, why)
                if not self._worker.rest(pause) or not self.start():
                    return
        except BaseException as error:  # whatever it is, nobody else would tell the pipeline
            self.give_up(error)

    def give_up(self, error: BaseException) -> None:
        """The process could not be started or watched: the pipeline stops."""
        self.failure = error
        self._worker.cannot_start(f"its process could not be started or watched: {type(error).__name__}: {error}")

    def _listen(self) -> None:
        # A worker that writes or logs faster than that is taken waits, but not for a reader that has stopped.
        while (news := self._worker.watch(_aside.lines.has_room(), _aside.records.has_room())) is not None:
            if isinstance(news, _engine.News.Wrote):
                assert self._launched is not None
                _aside.wrote(self._launched.pid, self.name, news.text, news.redraws, news.ends)
            elif isinstance(news, _engine.News.Note):
                _aside.records.put(len(news.note), log_from, self.name, news.note)
            elif isinstance(news, _engine.News.Told):
                logger.warning("stage %r: %s", self.name, news.text)
            elif isinstance(news, _engine.News.LaterFailure):
                logger.warning("stage %r %s", self.name, str(FailureEvent.Later), exc_info=news.exception)

    def _exit_code(self) -> int | None:
        """The exit code that the fork server tells; the worker learns it from the system otherwise."""
        launched, self._launched = self._launched, None
        assert launched is not None
        code = launched.exit_code()
        launched.close()
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
